//! `/metrics`, `/healthz` and `/readyz`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// How far this process is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// The API server was not reached yet.
    #[default]
    Starting,
    /// Another leads; this one would take over.
    Standby,
    /// It leads and reads its caches.
    Syncing,
    /// It leads and works.
    Leading,
}

/// What the three routes need.
#[derive(Clone, Debug)]
pub struct Status {
    /// The metrics.
    pub registry: Arc<Registry>,
    /// How far this process is.
    pub stage_rx: watch::Receiver<Stage>,
    /// Called before metrics are read, to set the gauges.
    pub refresh: Refresh,
}

/// Sets the gauges.
#[derive(Clone)]
pub struct Refresh(pub Arc<dyn Fn() + Send + Sync>);

impl std::fmt::Debug for Refresh {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Refresh")
    }
}

/// Serves until it is dropped.
pub async fn serve(listener: TcpListener, status: Status) {
    let routes = Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(status);
    if let Err(error) = axum::serve(listener, routes).await {
        tracing::error!(
            error = crate::error::chain(&error),
            "the status server ended"
        );
    }
}

async fn ready(State(status): State<Status>) -> (StatusCode, &'static str) {
    match *status.stage_rx.borrow() {
        Stage::Starting => (
            StatusCode::SERVICE_UNAVAILABLE,
            "the API server was not reached yet\n",
        ),
        Stage::Syncing => (
            StatusCode::SERVICE_UNAVAILABLE,
            "leading, caches are not complete yet\n",
        ),
        Stage::Standby => (StatusCode::OK, "standby\n"),
        Stage::Leading => (StatusCode::OK, "leading\n"),
    }
}

async fn metrics(State(status): State<Status>) -> Response {
    (status.refresh.0)();
    let mut text = String::new();
    match encode(&mut text, &status.registry) {
        Ok(()) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
