//! The body of every refusal.

use http::StatusCode;
use serde::{Deserialize, Serialize};

/// Why a request was refused; the HTTP status says whose fault it is (4xx asker, 5xx host).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{reason:?}: {message}")]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// Stable, from a closed list.
    pub reason: Reason,
    /// One sentence for a person.
    pub message: String,
}

/// The closed list of refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Reason {
    /// The request itself is malformed.
    BadRequest,
    /// No such VM, module or cell.
    NotFound,
    /// Another epoch or attempt holds the uid.
    Conflict,
    /// The bytes are not a module that this engine runs.
    InvalidModule,
    /// The module imports what is not granted.
    MissingImports,
    /// Compiling it would exceed the compiler's time, memory or size limit.
    CompileLimit,
    /// The mounts can't be made: a path is bad or taken twice, or content and digest differ.
    InvalidMounts,
    /// The files of a mount need more than the VM's limits leave.
    NoSpace,
    /// No free slot, or too little memory: try again later.
    Exhausted,
    /// The host failed.
    Internal,
}

impl Reason {
    /// The HTTP status of an answer with this reason.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Conflict => StatusCode::CONFLICT,
            Self::InvalidModule
            | Self::MissingImports
            | Self::CompileLimit
            | Self::InvalidMounts
            | Self::NoSpace => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Exhausted => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}
