//! A thousand VMs that spin on two cores: whether agent and cell still answer, start and stop.

use std::io::Read as _;
use std::time::{Duration, Instant};

use agentvm_cell_api::cell::VmState;
use agentvm_cell_api::client::CellClient;
use agentvm_policy::{EndReason, Grants, Limits};
use agentvm_tests::cluster;
use agentvm_tests::node::{Node, NodeSettings};
use agentvm_tests::vm::{Namespace, phase};
use agentvm_tests::{guests, http, scratch};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::effort::Effort;
use crate::report::Row;
use crate::samples::Samples;
use crate::warden::{self, PATIENCE, Warden, spec, uid};

/// VMs that spin.
const SPINNING: usize = 1_000;
/// VMs that start beside them, one after another.
const STARTED: usize = 40;
/// How often the agent is asked whether it is alive, and the pause between two of those.
const ASKED: usize = 600;
const PAUSE: Duration = Duration::from_millis(20);
/// Requests in flight, where many VMs are started or stopped.
const REQUESTS: usize = 16;
/// VMs that a cell can hold.
const VMS: u32 = 1_500;
/// How long a thousand VMs may take to come about in a cluster.
const MANY: Duration = Duration::from_mins(5);

/// Every row of this suite.
pub(crate) fn rows(effort: Effort) -> Result<Vec<Row>> {
    let in_a_cell = Runtime::new()?.block_on(in_a_cell(effort))?;
    Ok(in_a_cell.into_iter().chain(on_a_node(effort)?).collect())
}

/// Starts and stops in a cell, without agent and API server.
async fn in_a_cell(effort: Effort) -> Result<[Row; 2]> {
    let (warden, mut printed) = Warden::start(&scratch::dir("bench-spin")?, VMS)?;
    std::thread::spawn(move || {
        let mut piece = vec![0; 64 << 10];
        while printed.read(&mut piece).is_ok_and(|bytes| bytes > 0) {}
    });
    let cell = warden.cell("spin").await?;
    let spin = warden.compile(&guests::probe("spin")?).await?;
    let spin = spec(&spin, &["spin"], whole_core());
    let count = effort.of(SPINNING);
    let put = |cell: CellClient, uid: String| {
        let spin = spin.clone();
        async move { cell.put_vm(&uid, &spin).await.map(drop).map_err(Into::into) }
    };
    all(&cell, 0..count, put).await?;
    wait_for(&cell, "VMs to run", |states| {
        states
            .iter()
            .filter(|&&state| state == VmState::Running)
            .count()
            >= count
    })
    .await?;

    let hello = warden.compile(&guests::probe("hello")?).await?;
    let hello = spec(&hello, &["hello"], whole_core());
    let mut started = Samples::new();
    for number in 0..effort.of(STARTED) {
        let uid = uid(SPINNING + number);
        let start = Instant::now();
        cell.put_vm(&uid, &hello).await?;
        warden::wait_for_end(&cell, &uid, warden::LOOK_EVERY, PATIENCE).await?;
        started.push_ms(start.elapsed());
    }

    let start = Instant::now();
    all(&cell, 0..count, |cell, uid| async move {
        let now = Duration::ZERO;
        cell.delete_vm(&uid, now, EndReason::Stopped).await?;
        Ok(())
    })
    .await?;
    wait_for(&cell, "VMs to end", |states| {
        states.iter().all(|&state| state == VmState::Ended)
    })
    .await?;
    let stopped = start.elapsed().as_secs_f64();

    let row = Row::of(
        "spin: a new VM, from the call to its end, beside 1,000 that spin",
        "ms",
        &started,
    );
    let held = started.percentile(99.0) < 1_000.0;
    let stop = Row::of(
        "spin: 1,000 that spin are stopped",
        "s",
        &Samples::one(stopped),
    );
    Ok([
        row.promise("under 1,000", held),
        stop.promise("under 2", stopped < 2.0),
    ])
}

/// Does something for each of these VMs, some at a time.
async fn all<F>(
    cell: &CellClient,
    numbers: std::ops::Range<usize>,
    act: impl Fn(CellClient, String) -> F,
) -> Result<()>
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    let mut requests = JoinSet::new();
    for number in numbers {
        if requests.len() >= REQUESTS
            && let Some(done) = requests.join_next().await
        {
            done.context("a task")??;
        }
        requests.spawn(act(cell.clone(), uid(number)));
    }
    while let Some(done) = requests.join_next().await {
        done.context("a task")??;
    }
    Ok(())
}

/// Waits for something to hold of the states of all VMs of a cell.
async fn wait_for(cell: &CellClient, what: &str, holds: impl Fn(&[VmState]) -> bool) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    loop {
        let vms = cell.list_vms(0, Duration::ZERO).await?.vms;
        let states: Vec<VmState> = vms.iter().map(|vm| vm.state).collect();
        if holds(&states) {
            return Ok(());
        }
        ensure!(Instant::now() < end, "waited for {what} in vain");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn whole_core() -> Grants {
    let limits = Limits {
        memory_bytes: 1 << 20,
        cpu_millicores: 1_000,
        log_rate_bytes_per_second: 64 << 10,
        log_total_bytes: 1 << 20,
        ..Limits::default()
    };
    Grants {
        limits,
        ..Grants::default()
    }
}

/// The agent of a node whose VMs all spin.
fn on_a_node(effort: Effort) -> Result<[Row; 2]> {
    let cluster = cluster::shared()?;
    let node = cluster.add_node("spin", &NodeSettings::large())?;
    let namespace = Namespace::create(cluster.plane, "spin")?;
    let (spin, hello) = (namespace.module("spin")?, namespace.module("hello")?);
    let create = |name: &str, module: &Value| -> Result<()> {
        let spec = json!({
            "module": module,
            "limits": {"memory": "1Mi", "cpu": "60m"},
            "nodeSelector": {"kubernetes.io/hostname": "spin"},
            "tolerations": [{"key": "tests", "operator": "Exists"}],
        });
        namespace.create_vm(name, &spec).map(drop)
    };
    let count = effort.of(SPINNING);
    for number in 0..count {
        create(&format!("spin-{number}"), &spin)?;
    }
    wait_until_all_run(&node, &namespace.name, count)?;

    let alive = alive(&node, effort)?;
    let mut started = Samples::new();
    for number in 0..effort.of(STARTED) {
        let name = format!("hello-{number}");
        let start = Instant::now();
        create(&name, &hello)?;
        wait_until_it_ran(&namespace, &name)?;
        started.push_ms(start.elapsed());
    }
    let healthz = Row::of(
        "spin: /healthz of the agent, 1,000 VMs spin on its node",
        "ms",
        &alive,
    );
    let held = alive.percentile(99.0) < 100.0;
    let hello = Row::of(
        "spin: from apply to a VM's end, 1,000 spin on its node",
        "ms",
        &started,
    );
    let quick = started.percentile(99.0) < 1_000.0;
    Ok([
        healthz.promise("p99 < 100", held),
        hello.promise("under 1,000", quick),
    ])
}

fn wait_until_all_run(node: &Node, namespace: &str, count: usize) -> Result<()> {
    let end = Instant::now() + MANY;
    loop {
        let vms = node.vms(namespace)?;
        let running = vms
            .iter()
            .filter(|vm| vm.get("state").is_some_and(|state| state == "Running"))
            .count();
        if running >= count {
            return Ok(());
        }
        ensure!(Instant::now() < end, "{running} of {count} run");
        std::thread::sleep(Duration::from_millis(250));
    }
}

fn alive(node: &Node, effort: Effort) -> Result<Samples> {
    let mut samples = Samples::new();
    for _ in 0..effort.of(ASKED) {
        let start = Instant::now();
        let answer = http::get(node.agent_address(), "/healthz")?;
        samples.push_ms(start.elapsed());
        ensure!(answer.status == 200, "/healthz: {answer:?}");
        std::thread::sleep(PAUSE);
    }
    Ok(samples)
}

fn wait_until_it_ran(namespace: &Namespace<'_>, name: &str) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    loop {
        let vm = namespace.vm(name)?;
        if phase(&vm) == "Complete" {
            return Ok(());
        }
        ensure!(Instant::now() < end, "{name} has not ended: {vm}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
