//! Problems as HTTP answers.

use agentvm_cell_api::problem::{Problem, Reason};
use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

/// A [`Problem`] on its way to the agent.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    problem: Problem,
}

impl Refusal {
    /// A refusal with one sentence for a person.
    pub(super) fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self::with_status(reason.status(), reason, message)
    }

    /// A refusal of rules or headers that can't be read.
    pub(super) fn unprocessable(message: impl Into<String>) -> Self {
        Self::with_status(
            StatusCode::UNPROCESSABLE_ENTITY,
            Reason::BadRequest,
            message,
        )
    }

    fn with_status(status: StatusCode, reason: Reason, message: impl Into<String>) -> Self {
        let problem = Problem {
            reason,
            message: message.into(),
        };
        Self { status, problem }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, Json(self.problem)).into_response()
    }
}

/// The answer where no route has the path.
pub(super) async fn no_such_route() -> Refusal {
    let message = "no such route: docs/socket-api.md lists them all";
    Refusal::new(Reason::NotFound, message)
}

/// The answer where the path is known and the method is not.
pub(super) async fn no_such_method() -> Refusal {
    let message = "this route does not have that method: docs/socket-api.md lists them all";
    Refusal::with_status(StatusCode::METHOD_NOT_ALLOWED, Reason::BadRequest, message)
}
