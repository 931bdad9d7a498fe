//! Who is reached by whom.

use std::collections::BTreeSet;

use agentvm_tests::{Result, chart};
use anyhow::Context as _;
use serde_json::{Value, json};

/// The ports that a `NetworkPolicy` lets out, and how many rules let anything in.
fn network(args: &[&str], name: &str) -> Result<(BTreeSet<u64>, Value)> {
    let objects = chart::objects("steep", args)?;
    let policy = chart::find(&objects, "NetworkPolicy", name)?;
    let spec = policy.get("spec").context("a spec")?;
    let rules = spec
        .get("egress")
        .and_then(Value::as_array)
        .context("egress")?;
    let ports = rules
        .iter()
        .filter_map(|rule| rule.get("ports")?.as_array())
        .flatten()
        .filter_map(|port| port.get("port")?.as_u64());
    Ok((
        ports.collect(),
        spec.get("ingress").cloned().unwrap_or_default(),
    ))
}

#[test]
fn out_go_dns_the_api_server_and_registries_and_in_come_scrapes() -> Result<()> {
    let scrapes = json!([{"ports": [{"port": "metrics"}]}]);
    let (out, in_) = network(&[], "agentvm-operator")?;
    assert_eq!((out, &in_), (BTreeSet::from([53, 443, 6443]), &scrapes));
    let registries = ["--set", "node.insecureRegistries={reg:5000,plain}"];
    let (out, in_) = network(&registries, "agentvm-node")?;
    assert_eq!(
        (out, &in_),
        (BTreeSet::from([53, 80, 443, 5000, 6443]), &scrapes)
    );
    let (_, in_) = network(&[], "agentvm-chores")?;
    assert_eq!(in_, Value::Null, "nobody speaks to a chore");
    let peers = [
        "--set",
        "networkPolicy.metricsFrom[0].namespaceSelector.matchLabels.team=teal",
    ];
    let (_, in_) = network(&peers, "agentvm-operator")?;
    let from = in_.pointer("/0/from/0/namespaceSelector/matchLabels/team");
    assert_eq!(from, Some(&json!("teal")));
    Ok(())
}

#[test]
fn a_pod_monitor_keeps_the_labels_of_vms_and_is_there_only_if_asked_for() -> Result<()> {
    let without = chart::objects("steep", &[])?;
    assert!(chart::find(&without, "PodMonitor", "agentvm").is_err());
    let with = chart::objects("steep", &["--set", "podMonitor.enabled=true"])?;
    let monitor = chart::find(&with, "PodMonitor", "agentvm")?;
    assert_eq!(
        monitor.pointer("/spec/podMetricsEndpoints/0/honorLabels"),
        Some(&json!(true))
    );
    Ok(())
}
