//! The cluster's half: objects come from the API server, and status goes there.

pub mod events;
pub mod facts;
pub mod lease;
pub mod node;
pub mod objects;
mod secret;
pub mod status;
pub mod watch;

use std::time::Duration;

use kube::{Client, Config};

/// How long the API server may send nothing, on a watch or in answer to a request: longer than
/// any watch that it keeps open, so that only a dead connection is cut.
const SILENCE: Duration = Duration::from_secs(295);

/// The field manager of everything that the agent applies.
pub const FIELD_MANAGER: &str = "agentvm-node-agent";

/// The API server could not be reached at all.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Neither a kubeconfig nor a Pod's token is there.
    #[error("no way to the API server: set KUBECONFIG, or run in a Pod with a service account")]
    Config(#[source] kube::config::InferConfigError),
    /// What is there can't be used.
    #[error("the API server's address or certificates can't be used")]
    Client(#[source] kube::Error),
}

/// A client of the cluster that `KUBECONFIG`, `~/.kube/config` or the Pod's token names.
pub async fn connect() -> Result<Client, ConnectError> {
    let mut config = Config::infer().await.map_err(ConnectError::Config)?;
    config.read_timeout = Some(SILENCE);
    Client::try_from(config).map_err(ConnectError::Client)
}
