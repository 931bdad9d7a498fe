//! Problems as HTTP answers, for the warden's and the cells' routes alike.

use agentvm_cell_api::problem::{Problem, Reason};
use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

/// A [`Problem`] on its way to the asker.
#[derive(Debug)]
pub(crate) struct Refusal(pub(crate) Problem);

impl Refusal {
    /// A refusal with one sentence for a person.
    pub(crate) fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self(Problem {
            reason,
            message: message.into(),
        })
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0.reason.status(), Json(self.0)).into_response()
    }
}

/// The answer where no route has the path.
pub(crate) async fn no_such_route() -> Refusal {
    Refusal::new(
        Reason::NotFound,
        "no such route: docs/socket-api.md lists them all",
    )
}

/// The answer where the path is known and the method is not.
pub(crate) async fn no_such_method() -> (StatusCode, Json<Problem>) {
    let message = "this route does not have that method: docs/socket-api.md lists them all";
    let problem = Problem {
        reason: Reason::BadRequest,
        message: message.to_owned(),
    };
    (StatusCode::METHOD_NOT_ALLOWED, Json(problem))
}
