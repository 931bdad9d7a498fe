//! A mistake in one field of a manifest: where it is and what is allowed there.

use thiserror::Error;

/// A field whose value is not what the API allows.
///
/// `Display` is the line a user reads: `spec.limits.memory: "64MB" is not a quantity, ...`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Error)]
#[error("{field}: {message}")]
pub struct FieldError {
    /// Path of the field, such as `spec.limits.memory` or `spec.env[2].name`.
    pub field: String,
    /// One sentence: what was written, what is allowed.
    pub message: String,
}

impl FieldError {
    pub(crate) fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            message: message.into(),
        }
    }
}
