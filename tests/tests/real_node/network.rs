//! VMs that ask for hosts outside: by the gateway's container alone, and no further than a policy.

use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use agentvm_tests::process::signal;
use agentvm_tests::program::stdout_of;
use agentvm_tests::real_node::stage::{SYSTEM, Stage};
use agentvm_tests::registry::Registry;
use agentvm_tests::vm::{Namespace, text};
use agentvm_tests::wait::{self, Look};
use agentvm_tests::{Result, guests, scratch};
use anyhow::{Context as _, ensure};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::crashes::restarts;
use super::guests::push;

/// A host in the cluster's own network that a policy opens, and what it is asked for.
const HOST: &str = "10.20.0.1:5000";
/// Hosts that the same rules name and that stay closed: metadata, API server, kubelet, agent.
const CLOSED: [(&str, &str, u16); 5] = [
    ("http", "169.254.169.254", 80),
    ("https", "10.96.0.1", 443),
    ("https", "10.77.0.1", 6443),
    ("https", "10.77.0.1", 10250),
    ("http", "10.77.0.1", 9810),
];

pub(crate) fn a_vm_reaches_what_a_policy_opens_and_no_more(stage: &Stage) -> Result<()> {
    let metadata = on_the_node("169.254.169.254")?;
    let metadata = TcpListener::bind((metadata, 80))?;
    metadata.set_nonblocking(true)?;
    on_the_node("10.20.0.1")?;
    let host = Registry::start_at(HOST.parse()?, &scratch::dir("opened")?)?;
    let image = "ask:v1";
    push(stage, &guests::go_for_vms("ask")?, image)?;
    let image = format!("{}/{image}", stage.registry.address);
    open_the_network(stage, "asks")?;

    let guests = stage.namespace("asks")?;
    let lasting = json!({"restartPolicy": "Always"});
    guests.run_probe("stays", "stay", &lasting)?;
    let before = guests.wait_phase("stays", "Running")?;
    let cell = stage.cell("asks")?;

    let mut asked = vec![
        format!("GET http://{HOST}/v2/"),
        format!("GET http://{HOST}/v3/"),
    ];
    asked.extend(CLOSED.map(|(scheme, ip, port)| format!("GET {scheme}://{ip}:{port}/")));
    guests.create_vm("asks", &asking(&image, &asked))?;
    // A module of Go is compiled first, on a machine that may have little time for it.
    let patience = Duration::from_mins(4);
    guests.wait_for_within(patience, "asks", "Complete", |vm| {
        text(vm, "/status/phase") == "Complete"
    })?;
    let said = lines(stage, "asks")?;
    let answer = |at: usize| said.get(at).map_or("", String::as_str);
    ensure!(answer(0).contains("/v2/: 200"), "{said:#?}");
    ensure!(answer(1).ends_with("HTTP-request-denied"), "{said:#?}");
    for line in said.iter().skip(2) {
        ensure!(line.ends_with("destination-IP-prohibited"), "{said:#?}");
    }
    assert_eq!(said.len(), asked.len(), "{said:#?}");
    ensure!(
        metadata.accept().is_err(),
        "somebody came to the metadata's address"
    );
    tells_of_it(stage, &guests)?;

    // The gateway goes, and the VMs stay; the next one is told the rules again.
    let gateway = stage.process("the gateway", |words| {
        words.first() == Some(&"/agentvm-gateway")
    })?;
    signal(gateway, Signal::KILL)?;
    wait::until("the kubelet to start another gateway", || {
        let restarts = restarts(&stage.node_pod()?, "gateway");
        Ok(wait::yes_if(restarts == 1, || {
            format!("{restarts} restarts")
        }))
    })?;
    let again = [format!("RETRY http://{HOST}/v2/")];
    guests.create_vm("again", &asking(&image, &again))?;
    guests.wait_phase("again", "Complete")?;
    let said = lines(stage, "again")?;
    ensure!(answer_is(&said, "/v2/: 200"), "{said:#?}");
    let after = guests.vm("stays")?;
    assert_eq!(after.get("status"), before.get("status"));
    assert_eq!(stage.cell("asks")?, cell);
    assert_eq!(restarts(&stage.node_pod()?, "cells"), 0);
    drop(host);
    Ok(())
}

fn answer_is(said: &[String], wanted: &str) -> bool {
    said.iter().any(|line| line.contains(wanted))
}

/// Gives the node an address.
fn on_the_node(ip: &str) -> Result<std::net::IpAddr> {
    let cidr = format!("{ip}/32");
    stdout_of(Command::new("ip").args(["addr", "add", &cidr, "dev", "lo"]))?;
    Ok(ip.parse()?)
}

/// Every host of this test by rules, and one of them by address.
fn open_the_network(stage: &Stage, namespace: &str) -> Result<()> {
    let labels = json!({"kubernetes.io/metadata.name": namespace});
    let policy = json!({
        "apiVersion": "agentvm.dev/v1alpha1", "kind": "AgentPolicy", "metadata": {"name": "network"},
        "spec": {
            "namespaceSelector": {"matchLabels": labels},
            "capabilities": {"network": {"egress": rules(), "networks": ["10.20.0.0/16"]}},
        },
    });
    let path = "/apis/agentvm.dev/v1alpha1/agentpolicies";
    stage.node.plane.api.create(path, &policy).map(drop)
}

fn rules() -> Value {
    let closed = CLOSED.iter().map(|(scheme, ip, port)| {
        json!({"host": ip, "scheme": scheme, "ports": [port], "methods": ["GET"], "paths": ["*"]})
    });
    let open = json!({
        "host": "10.20.0.1", "scheme": "http", "ports": [5000], "methods": ["GET"], "paths": ["/v2/*"],
    });
    std::iter::once(open).chain(closed).collect()
}

fn asking(image: &str, asked: &[String]) -> Value {
    json!({"image": image, "args": asked, "capabilities": {"network": {"egress": rules()}}})
}

/// What a VM has written.
fn lines(stage: &Stage, vm: &str) -> Result<Vec<String>> {
    let log = stage.cells_log()?;
    let lines = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let of_vm = lines.filter(|line| text(line, "/vm") == vm && !text(line, "/text").is_empty());
    Ok(of_vm.map(|line| text(&line, "/text")).collect())
}

/// The access log has each request, and the VM has an Event of what was denied.
fn tells_of_it(stage: &Stage, guests: &Namespace<'_>) -> Result<()> {
    let pod = text(&stage.node_pod()?, "/metadata/name");
    let path = format!("/api/v1/namespaces/{SYSTEM}/pods/{pod}/log?container=gateway");
    let log = stage.node.plane.api.text(&path)?;
    let lines = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let lines: Vec<Value> = lines.filter(|line| text(line, "/vm") == "asks").collect();
    ensure!(lines.len() == CLOSED.len() + 2, "{log}");
    let first = lines.first().context("a line")?;
    ensure!(text(first, "/host") == "10.20.0.1", "{first}");
    ensure!(first.get("status") == Some(&json!(200)), "{first}");
    wait::until_within(Duration::from_mins(1), "an Event of a denial", || {
        let events = guests.events("asks")?;
        // Those that follow become a series of the first.
        let denied = "EgressDenied: GET http://10.20.0.1:5000 was denied: ";
        let told = events.iter().any(|event| event.starts_with(denied));
        Ok(if told {
            Look::Yes(())
        } else {
            Look::NotYet(format!("{events:?}"))
        })
    })
}
