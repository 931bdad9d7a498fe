//! The agent of a cluster's node: wires the core to the API server and runs it.

use std::sync::Arc;
use std::time::Duration;

use agentvm_cell_api::client::{CellClient, ClientError, WardenClient};
use agentvm_policy::EndReason;
use tokio::task::JoinSet;

use crate::agent::Agent;
use crate::execute::Executor;
use crate::flags::Flags;
use crate::identity::{Identity, IdentityError};
use crate::kubernetes::lease::{NodeLease, TakenOver};
use crate::kubernetes::node::NodeReporter;
use crate::kubernetes::objects::LiveObjects;
use crate::kubernetes::status::LiveStatus;
use crate::kubernetes::{self, ConnectError, watch};
use crate::metrics::Metrics;
use crate::registry::Registry;
use crate::serve::{self, ListenError};

/// Why the agent ended.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The API server's address is not known.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Another agent works in the run directory, or it can't be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The metrics' address is taken.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// Another agent runs as this node.
    #[error(transparent)]
    TakenOver(#[from] TakenOver),
}

/// Runs the agent until another one takes its node over. Dropping the future leaves cells
/// running: the next agent adopts them.
pub async fn run(flags: Flags) -> Result<(), ClusterError> {
    let identity = Identity::of(&flags.run_dir)?;
    let client = kubernetes::connect().await?;
    let listener = serve::listen(flags.listen).await?;
    let node = flags.node_name.as_str();
    let warden = WardenClient::new(flags.run_dir.join("warden.sock"));
    let objects = Arc::new(LiveObjects::new(client.clone(), node));
    let registry = Arc::new(Registry::new(
        flags.insecure_registries.clone(),
        objects.clone(),
    ));
    let sink = Arc::new(LiveStatus::new(client.clone(), node));
    let agent = Agent::new(node, Executor::new(warden.clone(), objects, registry, sink));
    let inputs = agent.inputs();

    let mut tasks = JoinSet::new();
    tasks.spawn(serve::serve(
        listener,
        Metrics::new(warden.clone(), inputs.clone()),
    ));
    let mut lease = NodeLease::new(
        client.clone(),
        &flags.lease_namespace,
        node,
        identity.holder.clone(),
    );
    lease.acquire().await;
    tracing::info!(%node, holder = %identity.holder, "Lease is held");

    tasks.spawn(NodeReporter::new(client.clone(), warden.clone(), node, flags.capacity()).run());
    tasks.spawn(watch::policies(client.clone(), inputs.clone()));
    tasks.spawn(watch::namespaces(client.clone(), inputs.clone()));
    tasks.spawn(watch::agent_vms(client, node.to_owned(), flags.namespaces.clone(), inputs));
    tasks.spawn(agent.run());
    let taken_over = lease.keep().await;
    // Whoever took the node over runs its VMs now: this agent's must not run as well.
    tasks.shutdown().await;
    if let Err(error) = evict_all(&warden).await {
        tracing::error!(%error, "VMs of a lost node could not be stopped");
    }
    Err(taken_over.into())
}

/// Stops every VM of the node at once.
async fn evict_all(warden: &WardenClient) -> Result<(), ClientError> {
    for cell in warden.cells().await?.cells {
        let cell = CellClient::new(&cell.socket);
        for vm in cell.list_vms(0, Duration::ZERO).await?.vms {
            cell.delete_vm(&vm.uid, Duration::ZERO, EndReason::Evicted)
                .await?;
        }
    }
    Ok(())
}
