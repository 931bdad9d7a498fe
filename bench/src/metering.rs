//! What counting fuel costs: five kinds of computing, beside wasmtime's own counting and beside none.

use std::path::PathBuf;

use agentvm_tests::guests;
use anyhow::{Context as _, Result};
use tokio::runtime::Runtime;

use crate::effort::Effort;
use crate::in_process::Bench;
use crate::peers::{Metering, Peers, Precompiled, stdout_of};
use crate::report::Row;
use crate::samples::Samples;

/// How often each engine takes its turn, and rounds in each turn, of which the least disturbed counts.
/// Machines get slower and faster: ours is compared with what stands beside it, turn by turn.
const TURNS: usize = 9;
const ROUNDS: usize = 2;
/// What ours may take more than wasmtime that counts as well.
const MOST: f64 = 1.05;

/// The loop that `CPython` runs.
const LOOP: &str = "
import sys, time
for _ in range(int(sys.argv[1])):
    start, total = time.perf_counter_ns(), 0
    for i in range(1_000_000):
        total += i * i % 7
    print('loop', time.perf_counter_ns() - start)
";

/// One kind of computing.
struct Work {
    name: &'static str,
    /// The row of how many times wasmtime's time ours is.
    beside: &'static str,
    wasm: PathBuf,
    /// The arguments, without how many rounds.
    args: Vec<&'static str>,
}

/// Every row of this suite.
pub(crate) fn rows(peers: &Peers, effort: Effort) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for work in works()? {
        rows.extend(both(&work, peers, effort)?);
    }
    Ok(rows)
}

fn works() -> Result<Vec<Work>> {
    let c = guests::c("work")?;
    let of = |name, beside, kind| Work {
        name,
        beside,
        wasm: c.clone(),
        args: vec![kind],
    };
    Ok(vec![
        Work {
            name: "metering: a loop in CPython",
            beside: "metering: a loop in CPython, times wasmtime's own",
            wasm: guests::cpython()?,
            args: vec!["-c", LOOP],
        },
        of(
            "metering: a sort",
            "metering: a sort, times wasmtime's own",
            "sort",
        ),
        of(
            "metering: a recursive function",
            "metering: a recursive function, times wasmtime's own",
            "recursion",
        ),
        of(
            "metering: a matrix product",
            "metering: a matrix product, times wasmtime's own",
            "matrix",
        ),
        of(
            "metering: building a string",
            "metering: building a string, times wasmtime's own",
            "string",
        ),
    ])
}

fn both(work: &Work, peers: &Peers, effort: Effort) -> Result<[Row; 2]> {
    eprintln!("bench: {} ...", work.name);
    let bench = Bench::open(&work.wasm)?;
    let fuel = peers.precompile(&work.wasm, Metering::Fuel)?;
    let unmetered = peers.precompile(&work.wasm, Metering::Off)?;
    let rounds = effort.of(ROUNDS).to_string();
    let mut args = work.args.clone();
    args.push(&rounds);
    let runtime = Runtime::new()?;
    let [mut ours, mut metered, mut plain, mut times] = [const { Samples::new() }; 4];
    for _ in 0..effort.of(TURNS) {
        let whole = [&["work"], args.as_slice()].concat();
        let (printed, _) = runtime.block_on(bench.run_with_files(&whole))?;
        let mine = least_ms(&printed)?;
        let its = least_ms(&peer(peers, &fuel, &args)?)?;
        ours.push(mine);
        metered.push(its);
        plain.push(least_ms(&peer(peers, &unmetered, &args)?)?);
        times.push(mine / its);
    }
    let row = Row::of(work.name, "ms", &ours)
        .against("wasmtime run, metered by fuel", &metered)
        .against("wasmtime run, unmetered", &plain);
    let beside = Row::of(work.beside, "times", &times);
    let held = beside.p50 <= MOST;
    Ok([row, beside.promise("p50 at most 1.05", held)])
}

fn peer(peers: &Peers, module: &Precompiled, args: &[&str]) -> Result<String> {
    stdout_of(peers.wasmtime(module, &[]).args(args))
}

/// Milliseconds of the fastest round, of those that the guest printed.
fn least_ms(printed: &str) -> Result<f64> {
    let rounds: Vec<f64> = printed
        .lines()
        .map(|line| {
            let (_, ns) = line.split_once(' ').with_context(|| line.to_owned())?;
            Ok(ns.parse()?)
        })
        .collect::<Result<_>>()?;
    let least = rounds.into_iter().min_by(f64::total_cmp);
    Ok(least.context("the guest printed no round")? * 1e-6)
}
