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

/// The blocks of addresses that the node's pods may reach at any port, with what is left out.
fn blocks(args: &[&str]) -> Result<Vec<(String, Vec<String>)>> {
    let objects = chart::objects("steep", args)?;
    let policy = chart::find(&objects, "NetworkPolicy", "agentvm-node")?;
    let rules = policy.pointer("/spec/egress").and_then(Value::as_array);
    let open = rules
        .into_iter()
        .flatten()
        .filter(|rule| rule.get("ports").is_none());
    let peers = open.filter_map(|rule| rule.get("to")?.as_array()).flatten();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let blocks = peers.filter_map(|peer| {
        let block = peer.get("ipBlock")?;
        let but = block.get("except").and_then(Value::as_array);
        Some((
            text(block.get("cidr")?),
            but.into_iter().flatten().map(text).collect(),
        ))
    });
    Ok(blocks.collect())
}

#[test]
fn f02_f05_a_nodes_pod_reaches_the_internet_and_no_private_network_that_is_not_named() -> Result<()>
{
    let all = blocks(&[])?;
    let [(v4, not_v4), (v6, not_v6)] = all.as_slice() else {
        anyhow::bail!("{all:?}")
    };
    assert_eq!((v4.as_str(), v6.as_str()), ("0.0.0.0/0", "::/0"));
    for closed in [
        "10.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.168.0.0/16",
    ] {
        assert!(not_v4.iter().any(|cidr| cidr == closed), "{closed}");
    }
    for closed in ["fc00::/7", "fe80::/10"] {
        assert!(not_v6.iter().any(|cidr| cidr == closed), "{closed}");
    }
    let named = [
        "--set",
        "networkPolicy.privateNetworks={10.20.0.0/16}",
        "--set",
        "gateway.nameServers={10.96.0.10:5353,fd00::a}",
    ];
    let more: Vec<String> = blocks(&named)?
        .into_iter()
        .skip(2)
        .map(|(cidr, _)| cidr)
        .collect();
    assert_eq!(more, ["10.20.0.0/16", "10.96.0.10/32", "fd00::a/128"]);
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
