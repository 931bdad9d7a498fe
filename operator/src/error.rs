//! What can go wrong with one VM, whose fault it is and when to try again.

use std::time::Duration;

use agentvm_crds::answer::sentence;

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
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut parts = Vec::new();
    let mut next = Some(error);
    while let Some(cause) = next {
        // What the API server says has a form of its own, causes included.
        let answer = cause.downcast_ref::<kube::Error>().map(sentence);
        next = if answer.is_some() {
            None
        } else {
            cause.source()
        };
        parts.push(answer.unwrap_or_else(|| cause.to_string()));
    }
    parts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::{Class, Error};

    #[test]
    fn a_chain_ends_with_what_the_api_server_said() {
        let status = kube::core::Status {
            code: 422,
            message: "no such quill".to_owned(),
            ..kube::core::Status::default()
        };
        let error = Error::Api(kube::Error::Api(Box::new(status)));
        assert_eq!(
            super::chain(&error),
            "the API server did not do what was asked: no such quill (HTTP 422)"
        );
    }

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
