//! A VM's UID in a path.

use agentvm_cell_api::problem::Reason;
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;

use super::refusal::Refusal;

/// The longest UID: those of Kubernetes have 36 characters.
const MAX_CHARS: usize = 128;

/// A UID that a header can hold.
#[derive(Debug)]
pub(super) struct Uid(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Uid {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        let uid = path.map(|Path(uid)| uid).unwrap_or_default();
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if uid.is_empty() || uid.len() > MAX_CHARS || !uid.bytes().all(is_name) {
            let message =
                format!("a UID has 1 to {MAX_CHARS} letters, digits, '-', '.' and '_', no others");
            return Err(Refusal::new(Reason::BadRequest, message));
        }
        Ok(Self(uid))
    }
}
