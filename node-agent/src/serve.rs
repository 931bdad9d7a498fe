//! `/metrics`, `/healthz` and `/readyz`.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::metrics::{self, Metrics};

/// The address can't be served.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}; give another address, or stop what uses it")]
pub struct ListenError {
    address: SocketAddr,
    source: std::io::Error,
}

/// Listens on `address`, so that an error is known before anything else happens.
pub async fn listen(address: SocketAddr) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| ListenError { address, source })
}

/// Serves until dropped.
pub async fn serve(listener: TcpListener, metrics: Metrics) {
    let router = Router::new()
        .route("/metrics", get(scrape))
        .route("/healthz", get(alive))
        .route("/readyz", get(ready))
        .with_state(metrics);
    if let Err(error) = axum::serve(listener, router).await {
        tracing::error!(%error, "metrics are no longer served");
    }
}

async fn scrape(State(metrics): State<Metrics>) -> impl IntoResponse {
    (
        [(CONTENT_TYPE, metrics::CONTENT_TYPE)],
        metrics.render().await,
    )
}

/// 200 while the agent's loop answers.
async fn alive(State(metrics): State<Metrics>) -> (StatusCode, &'static str) {
    if metrics.is_alive().await {
        (StatusCode::OK, "the agent works\n")
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "the agent's loop does not answer\n",
        )
    }
}

/// 200 once the agent holds its Lease and knows every VM of the node.
async fn ready(State(metrics): State<Metrics>) -> (StatusCode, &'static str) {
    if metrics.is_surveyed().await {
        (StatusCode::OK, "every VM of the node is known\n")
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "waiting for the node's Lease, the warden or its cells\n",
        )
    }
}
