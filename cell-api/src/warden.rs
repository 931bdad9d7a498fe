//! What the agent asks of the warden: facts, modules and cells.
//!
//! | request | answer |
//! | --- | --- |
//! | `GET /v1/info` | [`Info`] |
//! | `GET /v1/modules/{sha256}` | [`Module`], or 404 where it is not compiled |
//! | `PUT /v1/modules/{sha256}?namespace=N` with the module's bytes | [`Module`]; 422 where the bytes are bad, 503 where N has too many waiting |
//! | `PUT /v1/cells/{namespace}` | [`Cell`], started if it was not there |
//! | `GET /v1/cells` | [`Cells`] |
//! | `DELETE /v1/cells/{namespace}` | 204; every VM in it ends |

use serde::{Deserialize, Serialize};

/// How much of the jail the kernel lets the warden build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum JailLevel {
    /// Neither seccomp nor Landlock.
    None,
    /// seccomp, but Landlock is missing or older than ABI 1.
    Partial,
    /// seccomp and Landlock.
    Full,
}

/// Facts about the node's runtime, for `AgentNode` and placement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Info {
    /// The version of the warden's binary.
    pub version: String,
    /// Hash of the engine's settings: modules compiled under another are not loaded.
    pub engine: String,
    /// The jail that cells and compilers get.
    pub jail: JailLevel,
    /// One sentence on what the jail lacks; empty where it lacks nothing.
    pub jail_message: String,
    /// VMs that one cell can hold at once.
    pub max_vms_per_cell: u32,
    /// Cells, and so namespaces, that can run at once; 0 from a warden that does not say.
    #[serde(default)]
    pub max_cells: u32,
    /// `vm.max_map_count` of the node.
    pub max_map_count: u64,
    /// One sentence on why that is less than the warden was asked for; empty where it is not.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub shortage: String,
    /// True once the warden was told to end: every VM ends too, and no cell is started.
    #[serde(default)]
    pub stopping: bool,
    /// The warden's process id.
    pub pid: u32,
    /// Resident bytes of the warden itself.
    pub resident_bytes: u64,
    /// Compilations since the warden started, and those that are under way.
    pub compiles: Compiles,
}

/// Compilations by outcome since the warden started, and those that have none yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Compiles {
    /// Compiled and cached.
    pub succeeded: u64,
    /// Refused as bad input, or over the compiler's limits.
    pub refused: u64,
    /// Cache entries that were altered or foreign, and thrown away.
    pub rejected_entries: u64,
    /// Compilers that run now.
    #[serde(default)]
    pub running: u64,
    /// Modules that wait for a compiler now.
    #[serde(default)]
    pub waiting: u64,
}

/// The two shapes of guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ModuleKind {
    /// A WASI preview1 core module with `_start`.
    Core,
    /// A WASI preview2 component that exports `wasi:cli/run`.
    Component,
}

/// A module in the compiled-code cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Module {
    /// Lower-case hex SHA-256 of the module's bytes.
    pub sha256: String,
    /// Core module or component.
    pub kind: ModuleKind,
    /// Bytes of compiled code.
    pub compiled_bytes: u64,
    /// Milliseconds that the compiler process took; 0 where it was in the cache.
    pub compile_ms: u64,
}

/// One running cell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cell {
    /// The namespace whose VMs it holds, and no other's.
    pub namespace: String,
    /// Path of the Unix socket on which it serves [`crate::cell`].
    pub socket: String,
    /// Its process id.
    pub pid: u32,
    /// A random id: another id is another process, whose VMs are not the old one's.
    pub instance: String,
    /// When it was started.
    pub started_unix_ms: u64,
}

/// Why a cell has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum CellEnd {
    /// The node ran out of memory, and it was the one most over what it was promised.
    MemoryPressure,
    /// Its process ended without being told to.
    Exited,
    /// It was told to.
    Stopped,
}

/// A cell that has ended, with every VM in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndedCell {
    /// The namespace whose VMs it held.
    pub namespace: String,
    /// Which process of that namespace it was, as in [`Cell::instance`].
    pub instance: String,
    /// Why.
    pub reason: CellEnd,
    /// One sentence for a person.
    pub message: String,
    /// When its process was gone.
    pub finished_unix_ms: u64,
}

/// Every running cell, and the last that have ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cells {
    /// Sorted by namespace.
    pub cells: Vec<Cell>,
    /// The last that ended, oldest first. A cell is in it as soon as it is not in `cells`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ended: Vec<EndedCell>,
}
