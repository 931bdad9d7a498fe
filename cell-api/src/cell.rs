//! What the agent asks of one cell: VMs of one namespace.
//!
//! | request | answer |
//! | --- | --- |
//! | `PUT /v1/vms/{uid}` with a [`VmSpec`] | 201 [`VmStatus`] where it was started, 200 where it was there and its live limits and files were updated, 409 where another epoch or attempt holds the uid, 422 where its mounts can't be made |
//! | `DELETE /v1/vms/{uid}?graceMs=N&reason=Stopped` | 202 [`VmStatus`] while it is stopping, 200 [`VmStatus`] where it had ended and is now forgotten, 404 where nothing is there |
//! | `GET /v1/vms?since=V&waitMs=N` | [`VmList`]: what changed after version `V`, at once if something did, else after at most `N` ms |
//! | `GET /v1/vms/{uid}` | [`VmStatus`] |
//! | `GET /v1/vms/{uid}/log` | the bounded file of that VM, one [`crate::log::Line`] of JSON a line |
//! | `PUT /v1/archives/{name}` with a tar archive | 204; it waits for the `PUT` of the VM whose `emptyDir.archive` names it |
//! | `GET /v1/vms/{uid}/archive?path=P` | a tar archive of what a VM with `keepFiles` left below `P`; 409 while it runs |
//! | `GET /v1/stats` | [`Stats`] |

use std::collections::{BTreeMap, BTreeSet};

use agentvm_policy::{EndReason, Grants, LimitField};
use serde::{Deserialize, Serialize};

use crate::mounts::Mount;
use crate::warden::ModuleKind;

/// Everything a cell needs to run one VM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VmSpec {
    /// Name of the object, for logs.
    pub name: String,
    /// Counts assignments of the object to a node; a lower one than the cell holds is refused.
    pub epoch: u64,
    /// Counts runs within one assignment, from 0.
    pub attempt: u32,
    /// When the VM must have stopped, alive agent or not: `CLOCK_BOOTTIME` milliseconds.
    /// A later `PUT` moves it. `None` is no deadline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fence_deadline_boottime_ms: Option<u64>,
    /// The compiled module to run, by the SHA-256 of its wasm bytes (lower-case hex).
    pub module: String,
    /// Its shape.
    pub kind: ModuleKind,
    /// The guest's arguments, `argv[0]` first.
    pub args: Vec<String>,
    /// The guest's whole environment.
    pub env: BTreeMap<String, String>,
    /// What it may do.
    pub grants: Grants,
    /// Its files: everything that it can see. Echoed without the files' content.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    /// Whether its files are kept after its end, until the `DELETE`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keep_files: bool,
}

impl VmSpec {
    /// The specification as a cell keeps and echoes it.
    #[must_use]
    pub fn without_files(&self) -> Self {
        let Self {
            name,
            epoch,
            attempt,
            fence_deadline_boottime_ms,
            module,
            kind,
            args,
            env,
            grants,
            mounts,
            keep_files,
        } = self;
        Self {
            name: name.clone(),
            epoch: *epoch,
            attempt: *attempt,
            fence_deadline_boottime_ms: *fence_deadline_boottime_ms,
            module: module.clone(),
            kind: *kind,
            args: args.clone(),
            env: env.clone(),
            grants: *grants,
            mounts: mounts.iter().map(Mount::without_files).collect(),
            keep_files: *keep_files,
        }
    }
}

/// Where a VM is in its life. A state is never left backwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum VmState {
    /// Its code is being loaded; no guest instruction has run.
    Starting,
    /// The guest runs.
    Running,
    /// Its stdin is closed; it is stopped when its grace is over.
    Stopping,
    /// It has ended: [`VmStatus::end`] says how.
    Ended,
}

/// One VM as its cell sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VmStatus {
    /// UID of the object.
    pub uid: String,
    /// The specification it was started with, live limits as last set.
    pub spec: VmSpec,
    /// Where it is in its life.
    pub state: VmState,
    /// The list version at which this last changed.
    pub version: u64,
    /// When the guest's first instruction ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_unix_ms: Option<u64>,
    /// True while its files may not grow, since the node is short of memory; false after the end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub storage_pressure: bool,
    /// Limits that it has nearly used up, or is delayed by; none after the end.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub limits_pressure: BTreeSet<LimitField>,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<End>,
}

/// How one run ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct End {
    /// The reason, from a closed list.
    pub reason: EndReason,
    /// The guest's exit code, where it exited by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// One sentence for a person, at most 1 KiB, without control characters.
    pub message: String,
    /// When it ended.
    pub finished_unix_ms: u64,
    /// What it had used.
    pub usage: Usage,
}

/// What one run has used so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// Thread CPU time, nanoseconds.
    pub cpu_ns: u64,
    /// Time for which it was ready to run but out of CPU quota, nanoseconds.
    pub throttled_ns: u64,
    /// Units of fuel.
    pub fuel: u64,
    /// Bytes held now; 0 after the end.
    pub memory_bytes: u64,
    /// The most bytes it ever held.
    pub memory_peak_bytes: u64,
    /// Bytes written to stdout and stderr.
    pub log_bytes: u64,
    /// Of those, bytes that were dropped.
    pub log_dropped_bytes: u64,
    /// Calls of closed interfaces, by interface (`sockets`, `filesystem`, ...): a closed set.
    pub denials: BTreeMap<String, u64>,
    /// Nanoseconds from `PUT` to the guest's first instruction.
    pub start_latency_ns: u64,
    /// Bytes that its files hold now; 0 after the end, unless they are kept.
    #[serde(default)]
    pub storage_bytes: u64,
    /// The most bytes that its files ever held.
    #[serde(default)]
    pub storage_peak_bytes: u64,
    /// Inodes that it holds now; 0 after the end, unless its files are kept.
    #[serde(default)]
    pub inodes: u64,
    /// What it asked of its files.
    #[serde(default)]
    pub filesystem: FilesystemOperations,
}

/// Calls of the filesystem by what came of them: a closed set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilesystemOperations {
    /// Carried out.
    pub ok: u64,
    /// Refused, since a limit of the VM or a mount's size limit is used up.
    pub quota: u64,
    /// Refused, since the host has no memory, or too little to let files grow.
    pub host: u64,
    /// Refused for any other reason, such as a name that is not there.
    pub other: u64,
}

/// VMs that changed after the version asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VmList {
    /// Pass it as `since` next time.
    pub version: u64,
    /// Sorted by uid.
    pub vms: Vec<VmStatus>,
}

/// Usage of every VM and of the cell itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stats {
    /// Keyed by uid.
    pub vms: BTreeMap<String, Usage>,
    /// Resident bytes of the cell's process.
    pub resident_bytes: u64,
    /// Bytes of the cell's process that its allocator has handed out; the rest of what is resident
    /// is free, code, or the memories of guests. 0 where the allocator can't say.
    #[serde(default)]
    pub heap_bytes: u64,
    /// CPU time of the cell's process, nanoseconds.
    pub cpu_ns: u64,
    /// Threads of the cell's process.
    pub threads: u32,
    /// Panics in host code made for a guest; anything but 0 is a bug of ours.
    pub host_panics: u64,
}
