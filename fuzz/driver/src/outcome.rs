//! What an operation comes to, whoever carried it out.

use agentvm_vfs::{Error, Kind};

/// What an operation comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is done.
    Done,
    /// It failed.
    Failed(Error),
    /// It failed by what only the interface knows: the node was not opened for that.
    Refused,
    /// Something is open.
    Opened(Kind),
    /// What it is, its size and its links.
    Stat(Kind, u64, u64),
    /// What was read.
    Bytes(Vec<u8>),
    /// How much was written.
    Count(u64),
    /// So much was written, and then it failed.
    Partly(u64, Error),
    /// What a directory holds, sorted.
    Names(Vec<(Kind, String)>),
    /// Where a link leads.
    Text(String),
}

impl Outcome {
    /// Whether a guest that was told `told` was told this.
    pub fn agrees(&self, told: &Self) -> bool {
        match (self, told) {
            // preview1 tells how much, preview2 why no more.
            (Self::Partly(_, error), Self::Failed(told)) => error == told,
            (Self::Partly(count, _), Self::Count(told)) => count == told,
            (expected, told) => expected == told,
        }
    }
}

impl<T> From<Result<T, Error>> for Outcome {
    /// For what answers with nothing but how it went.
    fn from(result: Result<T, Error>) -> Self {
        match result {
            Ok(_) => Self::Done,
            Err(error) => Self::Failed(error),
        }
    }
}
