//! What can go wrong with one VM, whose fault it is and when to try again.

use std::time::Duration;

/// A reconcile that did not get through.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refused, or was not reached.
    #[error("the API server did not do what was asked")]
    Api(#[from] kube::Error),
    /// The API server did not answer in time.
    #[error("the API server did not answer within {} s", .0.as_secs())]
    Deadline(Duration),
    /// A status could not be put into JSON.
    #[error("the status can't be serialized")]
    Serialize(#[from] serde_json::Error),
    /// A bug: the reconcile panicked.
    #[error("the reconcile panicked: {0}")]
    Panic(String),
}

/// What an error means for the next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The object has changed since: the watch brings the new one.
    Conflict,
    /// The object is gone.
    Gone,
    /// The API server will not have this, however often it is asked.
    Rejected,
    /// The API server can't be reached or is overloaded.
    Unavailable,
    /// A bug of ours.
    Internal,
}

impl Class {
    /// The class as a metric's label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Conflict => "conflict",
            Self::Gone => "gone",
            Self::Rejected => "rejected",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
        }
    }
}

impl Error {
    /// What it means for the next attempt.
    pub fn class(&self) -> Class {
        match self {
            Self::Api(kube::Error::Api(status)) => match status.code {
                404 => Class::Gone,
                409 => Class::Conflict,
                408 | 429 | 500..=599 => Class::Unavailable,
                _ => Class::Rejected,
            },
            Self::Api(_) | Self::Deadline(_) => Class::Unavailable,
            Self::Serialize(_) | Self::Panic(_) => Class::Internal,
        }
    }
}

/// An error and its causes in one line, for the log.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Class, Error};

    #[test]
    fn an_answer_says_when_to_try_again() {
        let cases = [
            (404, Class::Gone),
            (409, Class::Conflict),
            (422, Class::Rejected),
            (403, Class::Rejected),
            (429, Class::Unavailable),
            (500, Class::Unavailable),
            (503, Class::Unavailable),
        ];
        for (code, class) in cases {
            let status = kube::core::Status {
                code,
                ..kube::core::Status::default()
            };
            assert_eq!(
                Error::Api(kube::Error::Api(Box::new(status))).class(),
                class,
                "{code}"
            );
        }
    }
}
