//! A real Prometheus that finds the pods by what the chart's `PodMonitor` selects.

use std::fs;
use std::net::SocketAddr;

use agentvm_tests::process::Process;
use agentvm_tests::real_node::network::NODE_ADDRESS;
use agentvm_tests::real_node::stage::{SYSTEM, Stage};
use agentvm_tests::vm::{number, text};
use agentvm_tests::{Result, http, scratch, wait};
use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

pub(crate) fn prometheus_scrapes_operator_and_agents(stage: &Stage) -> Result<()> {
    let dir = scratch::dir("prometheus")?;
    let config = dir.join("prometheus.yml");
    fs::write(&config, configuration(stage)?.to_string())?;
    let address = SocketAddr::new(NODE_ADDRESS, 9090);
    let prometheus = Process::start("prometheus", &dir, "prometheus", |command| {
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                dir.join("data").display()
            ))
            .arg(format!("--web.listen-address={address}"))
    })?;
    let ask = |query: &str| -> Result<Vec<Value>> {
        let answer = http::get(address, &format!("/api/v1/query?query={query}"))?;
        let answer: Value = serde_json::from_str(&answer.body)?;
        let found = answer.pointer("/data/result").and_then(Value::as_array);
        Ok(found.cloned().unwrap_or_default())
    };
    wait::until("Prometheus to scrape two operators and an agent", || {
        prometheus.must_run()?;
        let up = ask("up==1").unwrap_or_default();
        Ok(wait::yes_if(up.len() == 3, || format!("{up:?}")))
    })?;
    // The VM's own namespace stands in the label, not the one of the pod that serves it.
    let states = ask("agentvm_vm_state%7Bvm=%22echo%22,namespace=%22default%22%7D")?;
    let echo = states.first().context("the state of the example echo")?;
    assert_eq!(text(echo, "/metric/node"), agentvm_tests::real_node::NODE);
    let leaders = ask("sum(agentvm_operator_leader)")?;
    let leads = leaders.first().map(|one| text(one, "/value/1"));
    assert_eq!(leads.as_deref(), Some("1"), "one replica leads");
    Ok(())
}

/// What the Prometheus operator makes of the `PodMonitor` that the chart renders.
fn configuration(stage: &Stage) -> Result<Value> {
    let chart = Stage::chart();
    let flags = [
        "--set",
        "podMonitor.enabled=true",
        "--api-versions",
        "monitoring.coreos.com/v1",
        "--kube-version",
        agentvm_tests::assets::KUBERNETES,
    ];
    let words = [
        &[
            "template",
            "agentvm",
            &chart,
            "--show-only",
            "templates/monitor.yaml",
        ],
        flags.as_slice(),
    ]
    .concat();
    let monitor: Value = serde_yaml::from_str(&stage.helm(&words)?)?;
    let endpoint = monitor
        .pointer("/spec/podMetricsEndpoints/0")
        .context("an endpoint")?;
    ensure!(monitor.pointer("/spec/namespaceSelector/matchNames") == Some(&json!([SYSTEM])));
    Ok(json!({
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
        "scrape_configs": [{
            "job_name": "agentvm",
            "honor_labels": endpoint.get("honorLabels"),
            "metrics_path": endpoint.get("path"),
            "static_configs": targets(stage, &monitor, &text(endpoint, "/port"))?,
        }],
    }))
}

/// The pods that the monitor selects. Debian's Prometheus can't ask Kubernetes itself.
fn targets(stage: &Stage, monitor: &Value, port: &str) -> Result<Vec<Value>> {
    let labels = monitor
        .pointer("/spec/selector/matchLabels")
        .and_then(Value::as_object);
    let labels = labels.context("labels")?.iter();
    let selector: Vec<String> = labels
        .map(|(label, value)| format!("{label}={}", value.as_str().unwrap_or_default()))
        .collect();
    let selector = format!("--selector={}", selector.join(","));
    let pods = [
        "get",
        "pods",
        "--namespace",
        SYSTEM,
        &selector,
        "--output=json",
    ];
    let pods: Value = serde_json::from_str(&stage.kubectl(&pods)?)?;
    let pods = pods
        .get("items")
        .and_then(Value::as_array)
        .context("pods")?;
    let target = |pod: &Value| {
        let containers = pod.pointer("/spec/containers")?.as_array()?.iter();
        let ports = containers.filter_map(|container| container.get("ports")?.as_array());
        let number = ports
            .flatten()
            .find(|one| text(one, "/name") == port)
            .map(|one| number(one, "/containerPort"))?;
        Some(json!({
            "targets": [format!("{}:{number}", text(pod, "/status/podIP"))],
            "labels": {"namespace": SYSTEM, "node": text(pod, "/spec/nodeName")},
        }))
    };
    Ok(pods.iter().filter_map(target).collect())
}
