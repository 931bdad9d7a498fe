//! Guest output as it stands on the cells container's stdout and in each VM's file.

use serde::{Deserialize, Serialize};

/// The longest line, newline included: what Linux writes to a pipe in one piece (`PIPE_BUF`).
pub const MAX_LINE_BYTES: usize = agentvm_policy::budget::LOG_LINE_BYTES.usize();

/// One line of guest output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// RFC 3339, UTC, milliseconds.
    pub time: String,
    /// Namespace of the object.
    pub namespace: String,
    /// Name of the object.
    pub vm: String,
    /// UID of the object.
    pub uid: String,
    /// Which stream it was written to.
    pub stream: Stream,
    /// The text without its newline; bytes that are not UTF-8 make it `base64` instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The bytes, in standard base64, where they are not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
    /// True where the guest has not written the newline (yet): the next line goes on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
}

/// A guest's two output streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}
