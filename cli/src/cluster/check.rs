//! Waits until an `AgentVM` has run to its end, then reads its metrics where they are served.

use std::net::IpAddr;
use std::time::Duration;

use agentvm_crds::AgentVM;
use agentvm_crds::agentvm::Phase;
use anyhow::{Context as _, bail};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, Client};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::print;

/// Where node agents serve their metrics.
const METRICS_PORT: u16 = 9810;
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Flags of `agentvm cluster check`.
#[derive(Debug, clap::Args)]
pub(super) struct CheckArgs {
    /// Namespace of the AgentVM.
    #[arg(long, env = "AGENTVM_CHECK_NAMESPACE", value_name = "NAMESPACE")]
    namespace: String,
    /// Name of the AgentVM.
    #[arg(long, env = "AGENTVM_CHECK_NAME", value_name = "NAME")]
    name: String,
    /// Namespace of the node pods.
    #[arg(long, env = "AGENTVM_SYSTEM_NAMESPACE", value_name = "NAMESPACE", default_value = agentvm_crds::SYSTEM_NAMESPACE)]
    system_namespace: String,
    /// How long all of it may take.
    #[arg(long, env = "AGENTVM_CHECK_WITHIN", value_name = "DURATION", default_value = "2m", value_parser = duration)]
    within: Duration,
}

fn duration(text: &str) -> Result<Duration, agentvm_crds::duration::DurationError> {
    agentvm_crds::duration::nanoseconds(text).map(Duration::from_nanos)
}

/// Fails with one sentence where the VM does not complete, or where its metrics do not say so.
pub(super) async fn check(client: Client, args: &CheckArgs) -> anyhow::Result<()> {
    let mut seen = "nothing was seen yet".to_owned();
    let looked = tokio::time::timeout(args.within, async {
        loop {
            match look(&client, args).await? {
                Ok(sentence) => return anyhow::Ok(sentence),
                Err(not_yet) => seen = not_yet,
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    });
    match looked.await {
        Ok(sentence) => print::out(&sentence?),
        Err(_elapsed) => bail!("after {:?}: {seen}", args.within),
    }
    Ok(())
}

/// What to say at the end, or what is not so yet.
async fn look(client: &Client, args: &CheckArgs) -> anyhow::Result<Result<String, String>> {
    let CheckArgs {
        namespace, name, ..
    } = args;
    let api: Api<AgentVM> = Api::namespaced(client.clone(), namespace);
    let vm = match api.get(name).await {
        Ok(vm) => vm,
        Err(error) => {
            return Ok(Err(format!(
                "AgentVM {namespace}/{name} can't be read: {error}"
            )));
        }
    };
    let status = vm.status.unwrap_or_default();
    let why = status.conditions.iter().find(|one| one.type_ == "Ready");
    let why = why.map_or("the operator has not seen it", |one| one.message.as_str());
    match status.phase {
        Some(Phase::Complete) => {}
        Some(Phase::Failed) => bail!("AgentVM {namespace}/{name} has failed: {why}"),
        Some(
            Phase::Pending | Phase::Starting | Phase::Running | Phase::BackOff | Phase::Suspended,
        )
        | None => {
            let phase = status.phase.map_or("without a phase", Phase::as_str);
            return Ok(Err(format!("AgentVM {namespace}/{name} is {phase}: {why}")));
        }
    }
    let node = status
        .assignment
        .context("a VM that ran is assigned")?
        .node_name;
    let Some(address) = node_pod(client, &args.system_namespace, &node).await? else {
        return Ok(Err(format!(
            "no pod of AgentVM in {} on node {node} has an address",
            args.system_namespace
        )));
    };
    Ok(match scrape(address).await {
        Err(error) => Err(format!(
            "the metrics of node {node} at {address} can't be read: {error:#}"
        )),
        Ok(metrics) if counts_completion(&metrics, namespace, name) => Ok(format!(
            "AgentVM {namespace}/{name} ran to its end on node {node}, and its metrics say so"
        )),
        Ok(_) => Err(format!(
            "the metrics of node {node} do not count the end of AgentVM {namespace}/{name}"
        )),
    })
}

/// The address of the pod that serves `node`.
async fn node_pod(client: &Client, namespace: &str, node: &str) -> anyhow::Result<Option<IpAddr>> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let ours = ListParams::default()
        .labels("app.kubernetes.io/name=agentvm,app.kubernetes.io/component=node")
        .fields(&format!("spec.nodeName={node},status.phase=Running"));
    let pods = pods.list(&ours).await.context("listing the node pods")?;
    let mut addresses = pods.items.into_iter().filter_map(|pod| pod.status?.pod_ip);
    Ok(addresses.find_map(|address| address.parse().ok()))
}

/// HTTP/1.0, so that the answer is never chunked and ends with the connection.
async fn scrape(address: IpAddr) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect((address, METRICS_PORT)).await?;
    stream
        .write_all(b"GET /metrics HTTP/1.0\r\nHost: node\r\n\r\n")
        .await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn counts_completion(metrics: &str, namespace: &str, vm: &str) -> bool {
    let wanted = [
        format!("namespace=\"{namespace}\""),
        format!("vm=\"{vm}\""),
        "reason=\"Completed\"".to_owned(),
    ];
    metrics
        .lines()
        .filter_map(|line| {
            line.strip_prefix("agentvm_vm_exits_total{")?
                .rsplit_once("} ")
        })
        .any(|(labels, value)| {
            wanted
                .iter()
                .all(|label| labels.split(',').any(|one| one == label))
                && value.trim() != "0"
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_counted_for_the_right_vm_and_reason_alone() {
        let metrics = "agentvm_vm_exits_total{namespace=\"a\",vm=\"hello\",reason=\"Completed\"} 1\n\
                       agentvm_vm_exits_total{namespace=\"a\",vm=\"other\",reason=\"Trap\"} 1\n\
                       agentvm_vm_exits_total{namespace=\"a\",vm=\"none\",reason=\"Completed\"} 0\n";
        assert!(counts_completion(metrics, "a", "hello"));
        for (namespace, vm) in [("b", "hello"), ("a", "other"), ("a", "none"), ("a", "hell")] {
            assert!(
                !counts_completion(metrics, namespace, vm),
                "{namespace}/{vm}"
            );
        }
    }
}
