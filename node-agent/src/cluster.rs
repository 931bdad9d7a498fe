//! The agent of a cluster's node: wires the core to the API server and runs it.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use agentvm_cell_api::client::{CellClient, ClientError, GatewayClient, WardenClient};
use agentvm_policy::EndReason;
use tokio::sync::watch as channel;
use tokio::task::JoinSet;

use crate::agent::{Agent, Input, Inputs};
use crate::catalogue::Change;
use crate::execute::Executor;
use crate::flags::Flags;
use crate::identity::{Identity, IdentityError};
use crate::kubernetes::facts::{self, Given};
use crate::kubernetes::lease::{NodeLease, TakenOver};
use crate::kubernetes::node::NodeReporter;
use crate::kubernetes::objects::LiveObjects;
use crate::kubernetes::status::LiveStatus;
use crate::kubernetes::{self, ConnectError, watch};
use crate::metrics::Metrics;
use crate::registry::Registry;
use crate::serve::{self, ListenError};
use crate::watch_gateway;

/// Between the words to the agent and to the warden, where both are told to end.
const TOLD_TOGETHER: Duration = Duration::from_secs(2);
/// How long ends may take to be told once nothing runs any more.
const TELL_WITHIN: Duration = Duration::from_secs(10);
/// How often the warden is asked meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(100);

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

/// Runs the agent until it is `told` to end, or another one takes its node over.
///
/// Cells go on and the next agent adopts them, unless the warden was told to end as well: then
/// the pod ends, and the agent stays until every VM has left and that is reported.
pub async fn run(flags: Flags, told: impl Future<Output = ()>) -> Result<(), ClusterError> {
    let mut told = pin!(told);
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
    let gateway = flags.gateway_dir.as_deref().map(GatewayClient::of_dir);
    let executor = Executor::new(warden.clone(), objects, registry, sink);
    let agent = Agent::new(node, executor.with_gateway(gateway.clone()));
    let inputs = agent.inputs();

    let mut tasks = JoinSet::new();
    tasks.spawn(serve::serve(
        listener,
        Metrics::new(warden.clone(), inputs.clone()).with_gateway(gateway.clone()),
    ));
    let mut lease = NodeLease::new(
        client.clone(),
        &flags.lease_namespace,
        node,
        identity.holder.clone(),
    );
    tokio::select! {
        () = lease.acquire() => {}
        () = &mut told => return Ok(()),
    }
    tracing::info!(%node, holder = %identity.holder, "Lease is held");

    let reporter = NodeReporter::new(
        client.clone(),
        warden.clone(),
        inputs.clone(),
        node,
        flags.capacity(),
    )
    .with_gateway(gateway.clone());
    if let Some(gateway) = gateway {
        let (facts_tx, facts_rx) = channel::channel(None);
        let given = Given::new(&flags.cluster_cidrs, flags.listen);
        tasks.spawn(facts::keep(
            client.clone(),
            node.to_owned(),
            given,
            facts_tx,
        ));
        tasks.spawn(watch_gateway::follow(gateway, facts_rx, inputs.clone()));
    }
    tasks.spawn(reporter.clone().run());
    tasks.spawn(watch::policies(client.clone(), inputs.clone()));
    tasks.spawn(watch::namespaces(client.clone(), inputs.clone()));
    tasks.spawn(watch::agent_vms(
        client,
        node.to_owned(),
        flags.namespaces.clone(),
        inputs.clone(),
    ));
    let mut core = JoinSet::new();
    core.spawn(agent.run());
    let end = tokio::select! {
        taken_over = lease.keep() => End::TakenOver(taken_over),
        end = leave(told, &warden, &reporter, &inputs, &mut core) => end,
    };
    core.shutdown().await;
    tasks.shutdown().await;
    match end {
        End::Alone => Ok(()),
        End::WithItsPod => {
            lease.release().await;
            Ok(())
        }
        End::TakenOver(taken_over) => {
            // Whoever took the node over runs its VMs now: this agent's must not run as well.
            if let Err(error) = evict_all(&warden).await {
                tracing::error!(%error, "VMs of a lost node could not be stopped");
            }
            Err(taken_over.into())
        }
    }
}

/// How the agent ends.
enum End {
    /// Its VMs go on.
    Alone,
    /// Every VM has left.
    WithItsPod,
    /// Another agent runs as this node.
    TakenOver(TakenOver),
}

/// Waits until the agent is told to end, and where its pod ends, until every VM has left.
async fn leave(
    told: Pin<&mut impl Future<Output = ()>>,
    warden: &WardenClient,
    reporter: &NodeReporter,
    inputs: &Inputs,
    core: &mut JoinSet<()>,
) -> End {
    told.await;
    if !ends(warden).await {
        tracing::info!("the agent ends alone: VMs go on");
        return End::Alone;
    }
    tracing::info!("the pod ends: every VM must leave");
    reporter.report_now().await;
    let leaving = Change::Leaving("its node's agentvm pod ends".to_owned());
    let _agent_has_ended = inputs.send(Input::Change(Box::new(leaving))).await;
    tokio::select! {
        _ended = core.join_next() => {}
        () = silence(warden) => tracing::warn!("not every end could be told"),
    }
    End::WithItsPod
}

/// Ends some time after the warden has: an agent whose rights went first, as they do when a
/// release is uninstalled, tells nobody.
async fn silence(warden: &WardenClient) {
    while warden.info().await.is_ok() {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    tokio::time::sleep(TELL_WITHIN).await;
}

/// Whether the warden was told to end, too: a pod's containers are told at the same time.
async fn ends(warden: &WardenClient) -> bool {
    let give_up = tokio::time::Instant::now() + TOLD_TOGETHER;
    while tokio::time::Instant::now() < give_up {
        match warden.info().await {
            Ok(info) if !info.stopping => tokio::time::sleep(LOOK_EVERY).await,
            // One that does not answer has ended, and its cells with it.
            Ok(_) | Err(_) => return true,
        }
    }
    false
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
