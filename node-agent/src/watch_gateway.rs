//! Follows the gateway: tells it of its node, hears what it refuses by long poll, and notices when
//! its process ends or another one has taken its place.

use std::time::Duration;

use agentvm_cell_api::client::{ClientError, GatewayClient};
use agentvm_cell_api::gateway::{Node, Reports, Vms};
use tokio::sync::watch;

use crate::agent::{Input, Inputs};
use crate::backoff::{Backoff, Schedule};
use crate::observed::Notice;

/// How long the gateway may hold a poll open.
const POLL: Duration = Duration::from_secs(25);
/// How often it is asked what its VMs use.
const USAGE_EVERY: Duration = Duration::from_secs(10);
/// Between attempts to reach it: its VMs wait for their rules.
const RETRY: Schedule = Schedule {
    first: Duration::from_millis(50),
    longest: Duration::from_secs(1),
};

/// Follows the gateway until nobody listens. `node` is what it is told of its node, as soon as
/// that is known and whenever it changes; before that it takes no rules.
pub async fn follow(
    gateway: GatewayClient,
    mut node: watch::Receiver<Option<Node>>,
    inputs: Inputs,
) {
    let mut failures = Backoff::default();
    loop {
        let answered = meet(&gateway, &mut node).await;
        match answered {
            Ok(vms) => {
                failures = Backoff::default();
                let instance = vms.instance.clone();
                tracing::info!(%instance, "the gateway answers");
                if !up(&inputs, vms).await {
                    return;
                }
                let error = attend(&gateway, &instance, &mut node, &inputs).await;
                tracing::warn!(%instance, %error, "the gateway is gone");
                if !tell(&inputs, Notice::GatewayAway).await {
                    return;
                }
            }
            Err(error) => tracing::debug!(%error, "the gateway does not answer"),
        }
        failures = failures.failed();
        tokio::time::sleep(failures.delay(RETRY)).await;
    }
}

/// Tells a gateway of its node; yields what it has.
async fn meet(
    gateway: &GatewayClient,
    node: &mut watch::Receiver<Option<Node>>,
) -> Result<Vms, Gone> {
    gateway.info().await?;
    let facts = match node.wait_for(Option::is_some).await {
        Ok(facts) => facts.clone(),
        Err(_nobody_says) => return Err(Gone::NodeUnknown),
    };
    node.mark_unchanged();
    gateway.put_node(&facts.unwrap_or_default()).await?;
    Ok(gateway.vms().await?)
}

/// Attends one process until it is gone.
async fn attend(
    gateway: &GatewayClient,
    instance: &str,
    node: &mut watch::Receiver<Option<Node>>,
    inputs: &Inputs,
) -> Gone {
    let ended = tokio::select! {
        ended = hear(gateway, instance, inputs) => ended,
        ended = measure(gateway, instance, inputs) => ended,
        ended = keep_told(gateway, node) => ended,
    };
    match ended {
        Err(gone) => gone,
        Ok(never) => match never {},
    }
}

/// Hears what is refused. The poll ends with the process, so its death is known at once.
async fn hear(gateway: &GatewayClient, instance: &str, inputs: &Inputs) -> Result<Never, Gone> {
    let mut since = 0;
    loop {
        let Reports {
            instance: said,
            number,
            denials,
        } = gateway.reports(since, POLL).await?;
        is_same(instance, said)?;
        since = number;
        if !denials.is_empty() {
            tell(inputs, Notice::Denied(denials)).await;
        }
    }
}

async fn measure(gateway: &GatewayClient, instance: &str, inputs: &Inputs) -> Result<Never, Gone> {
    loop {
        tokio::time::sleep(USAGE_EVERY).await;
        let Vms {
            instance: said,
            vms,
        } = gateway.vms().await?;
        is_same(instance, said)?;
        let instance = instance.to_owned();
        tell(inputs, Notice::NetworkUsed { instance, vms }).await;
    }
}

async fn keep_told(
    gateway: &GatewayClient,
    node: &mut watch::Receiver<Option<Node>>,
) -> Result<Never, Gone> {
    loop {
        if node.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        let facts = node.borrow_and_update().clone();
        if let Some(facts) = facts {
            gateway.put_node(&facts).await?;
        }
    }
}

async fn up(inputs: &Inputs, vms: Vms) -> bool {
    let Vms { instance, vms } = vms;
    tell(inputs, Notice::GatewayUp { instance, vms }).await
}

/// False where nobody listens any more.
async fn tell(inputs: &Inputs, notice: Notice) -> bool {
    inputs.send(Input::Notice(notice)).await.is_ok()
}

fn is_same(instance: &str, said: String) -> Result<(), Gone> {
    if said == instance {
        return Ok(());
    }
    Err(Gone::Another(said))
}

/// Why a process is not attended any more.
#[derive(Debug, thiserror::Error)]
enum Gone {
    #[error(transparent)]
    Silent(#[from] ClientError),
    #[error("another process has taken its place: {0}")]
    Another(String),
    #[error("nobody says what it must know of its node")]
    NodeUnknown,
}

/// What attending yields: nothing.
enum Never {}
