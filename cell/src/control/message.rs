//! The messages themselves.

use agentvm_cell_api::problem::Problem;
use agentvm_cell_api::warden::{JailLevel, ModuleKind};
use serde::{Deserialize, Serialize};

/// What the warden tells a cell.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum ToCell {
    /// Serve on the listener that comes along. Always the first message.
    Listen,
    /// The answer to [`FromCell::Request`] of the same id.
    Answer(Answer),
    /// Stop every VM as `Evicted`, then end.
    Stop {
        /// How long the guests get.
        grace_ms: u64,
    },
    /// Files may grow from now on, or may not, since the node is short of memory.
    Growth {
        /// Whether they may not.
        refused: bool,
    },
}

/// What a cell tells the warden.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum FromCell {
    /// It is jailed and serves.
    Ready,
    /// It can't run, and ends.
    Failed {
        /// One sentence.
        message: String,
    },
    /// What its live VMs were promised has changed.
    Promised {
        /// Memory and files together.
        bytes: u64,
    },
    /// It needs a descriptor.
    Request {
        /// Chosen by the cell; the answer carries it.
        id: u64,
        /// Which one.
        request: Request,
    },
}

/// The descriptors that a cell may ask for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Request {
    /// The compiled code of a module.
    Code {
        /// The module's digest.
        sha256: String,
    },
    /// A nameless file for one VM's log.
    LogFile,
    /// A channel to the gateway, for the VMs of the cell's namespace.
    Gateway,
}

/// One answer of the warden.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Answer {
    /// The id of the request.
    pub(crate) id: u64,
    /// The answer itself.
    pub(crate) outcome: Outcome,
}

/// How a request of a cell went.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Outcome {
    /// The code comes along, verified and sealed.
    Code {
        /// What was compiled.
        kind: ModuleKind,
    },
    /// The file comes along.
    LogFile,
    /// The channel comes along; the gateway knows whose it is.
    Gateway,
    /// There is nothing to give.
    Refused(Problem),
}

/// What the warden tells a compiler.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum ToCompiler {
    /// The module's bytes and an empty file for its code come along.
    Compile,
}

/// What a compiler tells the warden.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum FromCompiler {
    /// It is jailed: from here on a failure is the module's fault.
    Jailed,
    /// It has compiled the module.
    Compiled {
        /// What the module is.
        kind: ModuleKind,
    },
    /// The module is bad.
    Refused(Problem),
    /// It can't run, and ends.
    Failed {
        /// One sentence.
        message: String,
    },
}

/// What a probing cell found out, as one JSON line on its stdout.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Verdict {
    /// The jail that it could enter.
    pub(crate) level: JailLevel,
    /// What the jail lacks; empty where it lacks nothing.
    pub(crate) message: String,
    /// The engine's hash.
    pub(crate) engine: String,
}
