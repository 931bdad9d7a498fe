//! The suites, in the order in which they run: from one process to a whole node.

use std::fs;

use agentvm_tests::{guests, scratch};
use anyhow::{Result, anyhow};
use clap::ValueEnum;
use tokio::runtime::Runtime;

use crate::effort::Effort;
use crate::in_process::Bench;
use crate::peers::{Metering, Peers};
use crate::report::Row;
use crate::samples::Samples;
use crate::{cluster, files, metering, neighbour, network, node, socket, spin};

/// The scratch folder of the peers: what one suite has fetched, the next finds.
const PEERS: &str = "bench-peers";
/// Starts of a small guest.
const SMALL: usize = 2_000;
/// Starts of a whole process, for a peer.
const PROCESS: usize = 100;
/// Starts of `CPython`.
const CPYTHON: usize = 20;

/// One group of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Suite {
    /// A small guest in this process, code cached.
    Hello,
    /// `CPython`'s first print in this process, code cached.
    Cpython,
    /// The virtual filesystem.
    Files,
    /// Five kinds of computing, beside wasmtime's own metering and beside none.
    Metering,
    /// From the agent's socket call to the first output.
    Socket,
    /// A healthy VM beside VMs that attack.
    Neighbour,
    /// A thousand VMs that spin.
    Spin,
    /// From `apply` to Running, many at once, and a thousand parked.
    Cluster,
    /// The gateway beside forward proxies. Needs root.
    Network,
    /// A release on a real node, and a hundred VMs beside a hundred Pods. Needs root.
    Node,
}

/// Runs `only`, or every suite where it is empty.
pub(crate) fn run(only: &[Suite], effort: Effort) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for &suite in Suite::value_variants() {
        if only.is_empty() || only.contains(&suite) {
            eprintln!("bench: {suite:?} ...");
            rows.extend(match suite {
                Suite::Hello => hello()?,
                Suite::Cpython => cpython()?,
                Suite::Files => files::rows(&Peers::prepare(&scratch::dir(PEERS)?)?)?,
                Suite::Metering => metering::rows(&Peers::prepare(&scratch::dir(PEERS)?)?, effort)?,
                Suite::Socket => socket()?,
                Suite::Neighbour => neighbour::rows(effort)?,
                // The harness brings its own runtime.
                Suite::Spin => on_its_own_thread(move || spin::rows(effort))?,
                Suite::Cluster => on_its_own_thread(cluster::rows)?,
                // Moves its thread into a network of its own.
                Suite::Network => on_its_own_thread(move || network::rows(effort))?,
                // Moves its thread into the node's network, so it comes last.
                Suite::Node => on_its_own_thread(node::rows)?,
            });
        }
    }
    Ok(rows)
}

fn on_its_own_thread(rows: impl FnOnce() -> Result<Vec<Row>> + Send + 'static) -> Result<Vec<Row>> {
    std::thread::spawn(rows)
        .join()
        .unwrap_or_else(|_panic| Err(anyhow!("the suite panicked")))
}

fn hello() -> Result<Vec<Row>> {
    let dir = scratch::dir(PEERS)?;
    let peers = Peers::prepare(&dir)?;
    let wasm = guests::probe("hello")?;
    let path = dir.join("hello.wasm");
    fs::write(&path, &wasm)?;
    let ours = Runtime::new()?.block_on(Bench::load(&wasm)?.run(&["hello"], SMALL))?;
    let unmetered = peers.precompile(&path, Metering::Off)?;
    let row = Row::of("hello: create, run, drop, in process", "us", &ours.whole);
    let held = row.p50 < 60.0;
    Ok(vec![
        row.promise("p50 < 60", held)
            .against("native process", &peers.spawn_native(PROCESS)?)
            .against("runc run", &peers.run_container(PROCESS / 5)?)
            .against(
                "wasmtime run",
                &peers.wasmtime_run(&unmetered, &[], PROCESS)?,
            ),
    ])
}

fn cpython() -> Result<Vec<Row>> {
    let peers = Peers::prepare(&scratch::dir(PEERS)?)?;
    let path = guests::cpython()?;
    let args = ["python", "-c", "print(6 * 7)"];
    let ours = Runtime::new()?.block_on(Bench::open(&path)?.run(&args, CPYTHON))?;
    let ours = ours.first_byte.times(1e-3);
    let peer = |metering| -> Result<Samples> {
        let module = peers.precompile(&path, metering)?;
        let args = args.get(1..).unwrap_or_default();
        Ok(peers.wasmtime_run(&module, args, CPYTHON)?.times(1e-3))
    };
    let metered = peer(Metering::Fuel)?;
    let row = Row::of("CPython: from create to its first print", "ms", &ours);
    let held = row.p50 <= metered.percentile(50.0);
    Ok(vec![
        row.promise("no later than wasmtime's own, metered by fuel", held)
            .against("wasmtime run, metered by fuel", &metered)
            .against("wasmtime run, unmetered", &peer(Metering::Off)?),
    ])
}

fn socket() -> Result<Vec<Row>> {
    let runtime = Runtime::new()?;
    let dir = scratch::dir("bench-socket")?;
    let samples = runtime.block_on(async {
        let mut cell = socket::Cell::start(&dir).await?;
        let module = cell.compile(&guests::probe("hello")?).await?;
        cell.first_output(&module, &["hello"], PROCESS * 5).await
    })?;
    let peers = Peers::prepare(&scratch::dir(PEERS)?)?;
    let row = Row::of("socket call to first output", "us", &samples);
    let held = row.p50 < 2_000.0;
    Ok(vec![
        row.promise("p50 < 2,000", held)
            .against("native process", &peers.spawn_native(PROCESS)?),
    ])
}
