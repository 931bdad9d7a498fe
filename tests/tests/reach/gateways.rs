//! Gateways that end, and nodes that have none.

use agentvm_tests::vm::{Namespace, condition, number, text};
use agentvm_tests::{Result, cluster, guests, wait};
use anyhow::{Context, ensure};
use serde_json::json;

use crate::outside::PLAIN;
use crate::site::{Site, asks, plain_rule};

#[test]
fn a_gateway_that_is_killed_ends_no_vm_and_the_next_one_has_every_rule() -> Result<()> {
    let site = Site::new("re-gw")?;
    let url = format!("http://{PLAIN}/a");
    let runner = site.poll("runner", "get", &url, &[plain_rule(PLAIN)])?;
    site.says(&runner, "200 plain")?;
    let before = site.namespace.wait_phase("runner", "Running")?;

    site.node.crash_gateway()?;
    site.says(&runner, "internal-error")?;
    // Who asks for network waits, and who does not starts as ever.
    let waiter = site.poll("waiter", "get", &url, &[plain_rule(PLAIN)])?;
    let alone = json!({
        "nodeSelector": {"kubernetes.io/hostname": site.node.name},
        "tolerations": [{"key": "tests", "operator": "Exists"}],
    });
    site.namespace.run_probe("alone", "stay", &alone)?;
    site.namespace.wait_phase("alone", "Running")?;
    site.namespace
        .wait_for("waiter", "GatewayUnavailable", |vm| {
            condition(vm, "ImageReady").is_some_and(|one| one.reason == "GatewayUnavailable")
        })?;
    says_of_node(&site, "False", "GatewaySilent")?;

    site.node.restart_gateway()?;
    let took = site.says(&runner, "200 plain")?;
    println!("a VM got answers again {took:?} after the next gateway's start");
    site.says(&waiter, "200 plain")?;
    says_of_node(&site, "True", "GatewayAnswers")?;
    let after = site.namespace.vm("runner")?;
    assert_eq!(number(&after, "/status/restarts"), 0);
    let started = "/status/startedAt";
    assert_eq!(text(&after, started), text(&before, started));

    let metrics = site.node.metrics()?;
    for line in ["agentvm_gateway_up 1", "agentvm_gateway_channels 1"] {
        ensure!(metrics.contains(&format!("\n{line}\n")), "{metrics}");
    }
    // What has ended has no rules left.
    site.namespace.delete("runner")?;
    wait::until("the gateway to forget the VM", || {
        let vms = site.node.ask(&site.node.gateway_socket(), "/v1/vms")?;
        let is_there = vms["vms"].get(&runner).is_some();
        Ok(wait::yes_if(!is_there, || vms.to_string()))
    })
}

fn says_of_node(site: &Site, status: &str, reason: &str) -> Result<()> {
    let path = format!("/apis/agentvm.dev/v1alpha1/agentnodes/{}", site.node.name);
    wait::until(&format!("the AgentNode to say {reason}"), || {
        let object = site.cluster.plane.api.get(&path)?;
        let object = object.context("a node has an AgentNode")?;
        let said = condition(&object, "Gateway");
        let as_wanted =
            |one: &agentvm_tests::vm::Condition| one.status == status && one.reason == reason;
        Ok(wait::yes_if(said.as_ref().is_some_and(as_wanted), || {
            format!("{said:?}")
        }))
    })
}

#[test]
fn on_a_node_without_a_gateway_only_those_that_ask_for_network_wait() -> Result<()> {
    let cluster = cluster::shared()?;
    let namespace = Namespace::create(cluster.plane, "re-none")?;
    let policy = json!({
        "apiVersion": "agentvm.dev/v1alpha1", "kind": "AgentPolicy",
        "metadata": {"name": "re-none"},
        "spec": {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "re-none"}},
            "capabilities": {"network": {"egress": [plain_rule("*")]}},
        },
    });
    namespace.plane.kubectl.apply(&policy.to_string())?.done()?;
    let module = namespace.module_of("poll", &std::fs::read(guests::c("poll")?)?)?;
    let spec = json!({
        "module": module, "args": ["get", format!("http://{PLAIN}/")],
        "capabilities": asks(&[plain_rule(PLAIN)]),
    });
    namespace.create_vm("asker", &spec)?;
    namespace.run_probe("other", "stay", &json!({}))?;
    namespace.wait_phase("other", "Running")?;
    let vm = namespace.wait_for("asker", "GatewayUnavailable", |vm| {
        condition(vm, "ImageReady").is_some_and(|one| one.reason == "GatewayUnavailable")
    })?;
    let told = condition(&vm, "ImageReady").context("it was waited for")?;
    ensure!(
        told.message.contains("this node has no gateway"),
        "{}",
        told.message
    );
    let node = text(&vm, "/status/assignment/nodeName");
    let path = format!("/apis/agentvm.dev/v1alpha1/agentnodes/{node}");
    let node = cluster.plane.api.get(&path)?.context("its AgentNode")?;
    let gateway = condition(&node, "Gateway").context("a condition Gateway")?;
    assert_eq!(gateway.reason, "NoGateway");
    Ok(())
}
