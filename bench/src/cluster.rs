//! From `apply` to Running through a real API server, many at once, and a thousand that stay.

use std::time::{Duration, Instant};

use agentvm_tests::cluster::{self, Cluster};
use agentvm_tests::node::{Node, NodeSettings};
use agentvm_tests::vm::{Namespace, phase};
use anyhow::{Context, Result, anyhow, ensure};
use serde_json::{Value, json};

use crate::report::Row;
use crate::resident::resident_mib;
use crate::samples::Samples;

/// VMs applied one after another.
const SINGLE: usize = 60;
/// VMs applied at once.
const BURST: usize = 500;
/// VMs that stay, for the memory figure.
const PARKED: usize = 1_000;
/// Requests in flight while many are applied, as a pipeline would.
const WRITERS: usize = 8;
/// How often a burst is looked at: a list of all is work for the API server that is measured.
const LOOK_EVERY: Duration = Duration::from_millis(250);
const PATIENCE: Duration = Duration::from_mins(3);

/// Every row of this suite.
pub(crate) fn rows() -> Result<Vec<Row>> {
    let cluster = cluster::shared()?;
    let node = cluster.add_node("bench", &NodeSettings::large())?;
    let namespace = Namespace::create(cluster.plane, "bench")?;
    let fleet = Fleet {
        namespace: &namespace,
        module: namespace.module("stay")?,
    };
    fleet.apply("warm-up")?;
    fleet.wait_running("warm-up")?;

    let single = single(&fleet)?;
    let floor = three_writes(cluster)?;
    let (p50, p99) = (single.percentile(50.0), single.percentile(99.0));
    let mut rows = vec![
        Row::of("apply to Running, idle API server", "ms", &single)
            .promise("p50 < 150, p99 < 500", p50 < 150.0 && p99 < 500.0)
            .against(
                "three writes to the same API server and nothing else",
                &floor,
            ),
    ];
    let rate = fleet.burst("burst", BURST)?;
    rows.push(
        Row::of(
            "VMs from apply to Running, 500 at once",
            "VMs/s",
            &Samples::one(rate),
        )
        .promise("at least 100", rate >= 100.0),
    );
    let there = 1 + SINGLE + BURST;
    fleet.burst("parked", PARKED.saturating_sub(there))?;
    let resident = resident(&node, &namespace)?;
    rows.push(
        Row::of(
            "resident memory of cell, warden and agent, 1,000 parked VMs",
            "MiB",
            &Samples::one(resident),
        )
        .promise("under 300", resident < 300.0),
    );
    Ok(rows)
}

/// Parked VMs of one module on the bench node.
struct Fleet<'a> {
    namespace: &'a Namespace<'a>,
    module: Value,
}

impl Fleet<'_> {
    fn apply(&self, name: &str) -> Result<()> {
        let spec = json!({
            "module": self.module,
            "limits": {"memory": "1Mi", "cpu": "10m"},
            "nodeSelector": {"kubernetes.io/hostname": "bench"},
            "tolerations": [{"key": "tests", "operator": "Exists"}],
        });
        self.namespace.create_vm(name, &spec).map(|_| ())
    }

    fn wait_running(&self, name: &str) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        loop {
            let vm = self.namespace.vm(name)?;
            if phase(&vm) == "Running" {
                return Ok(());
            }
            ensure!(Instant::now() < end, "{name} does not run: {vm}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Applies `n` at once and waits for all to run; VMs per second.
    fn burst(&self, prefix: &str, n: usize) -> Result<f64> {
        let start = Instant::now();
        std::thread::scope(|scope| {
            let writers: Vec<_> = (0..WRITERS)
                .map(|writer| {
                    scope.spawn(move || {
                        (writer..n)
                            .step_by(WRITERS)
                            .try_for_each(|i| self.apply(&format!("{prefix}-{i}")))
                    })
                })
                .collect();
            writers.into_iter().try_for_each(|writer| {
                writer
                    .join()
                    .unwrap_or_else(|_panic| Err(anyhow!("a writer panicked")))
            })
        })?;
        while self.running(prefix)? < n {
            ensure!(
                start.elapsed() < PATIENCE,
                "{} of {n} run",
                self.running(prefix)?
            );
            std::thread::sleep(LOOK_EVERY);
        }
        let n = u32::try_from(n)?;
        Ok(f64::from(n) / start.elapsed().as_secs_f64())
    }

    fn running(&self, prefix: &str) -> Result<usize> {
        let path = format!(
            "/apis/agentvm.dev/v1alpha1/namespaces/{}/agentvms?resourceVersion=0",
            self.namespace.name
        );
        let list = self
            .namespace
            .plane
            .api
            .get(&path)?
            .context("the kind is served")?;
        let items = list
            .get("items")
            .and_then(Value::as_array)
            .context("a list has items")?;
        let ours = |vm: &&Value| {
            vm.pointer("/metadata/name")
                .and_then(Value::as_str)
                .is_some_and(|name| name.starts_with(prefix))
        };
        Ok(items
            .iter()
            .filter(ours)
            .filter(|vm| phase(vm) == "Running")
            .count())
    }
}

fn single(fleet: &Fleet<'_>) -> Result<Samples> {
    let mut samples = Samples::new();
    for i in 0..SINGLE {
        let name = format!("single-{i}");
        let start = Instant::now();
        fleet.apply(&name)?;
        fleet.wait_running(&name)?;
        samples.push_ms(start.elapsed());
    }
    Ok(samples)
}

/// What the API server alone costs: a create and two updates, as a VM's way to Running.
fn three_writes(cluster: &Cluster) -> Result<Samples> {
    let mut samples = Samples::new();
    let maps = "/api/v1/namespaces/bench/configmaps";
    for i in 0..SINGLE {
        let name = format!("floor-{i}");
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
        let start = Instant::now();
        cluster.plane.api.create(maps, &map)?;
        for value in ["one", "two"] {
            cluster
                .plane
                .api
                .patch(&format!("{maps}/{name}"), &json!({"data": {"step": value}}))?;
        }
        samples.push_ms(start.elapsed());
    }
    Ok(samples)
}

fn resident(node: &Node, namespace: &Namespace<'_>) -> Result<f64> {
    let cell = node.cell_pid(&namespace.name)?.context("the cell runs")?;
    let agent = node.agent(|agent| Ok(agent.pid()))?;
    let pids = [
        cell,
        u32::try_from(agent)?,
        u32::try_from(node.warden.pid())?,
    ];
    pids.into_iter().map(resident_mib).sum()
}
