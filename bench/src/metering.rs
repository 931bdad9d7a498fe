//! What counting fuel costs: five kinds of computing, beside wasmtime's own counting and beside none.

use std::path::PathBuf;

use agentvm_tests::guests;
use anyhow::{Context as _, Result, ensure};
use tokio::runtime::Runtime;

use crate::effort::Effort;
use crate::in_process::Bench;
use crate::peers::{Metering, Peers, Precompiled, stdout_of};
use crate::report::Row;
use crate::samples::Samples;

/// How often each engine takes its turn, and rounds in each turn: machines get slower and faster.
const TURNS: usize = 5;
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
    wasm: PathBuf,
    /// The arguments, without how many rounds.
    args: Vec<&'static str>,
}

/// Every row of this suite.
pub(crate) fn rows(peers: &Peers, effort: Effort) -> Result<Vec<Row>> {
    works()?
        .iter()
        .map(|work| row(work, peers, effort))
        .collect()
}

fn works() -> Result<Vec<Work>> {
    let c = guests::c("work")?;
    let of = |name, kind| Work {
        name,
        wasm: c.clone(),
        args: vec![kind],
    };
    Ok(vec![
        Work {
            name: "metering: a loop in CPython",
            wasm: guests::cpython()?,
            args: vec!["-c", LOOP],
        },
        of("metering: a sort", "sort"),
        of("metering: a recursive function", "recursion"),
        of("metering: a matrix product", "matrix"),
        of("metering: building a string", "string"),
    ])
}

fn row(work: &Work, peers: &Peers, effort: Effort) -> Result<Row> {
    eprintln!("bench: {} ...", work.name);
    let bench = Bench::open(&work.wasm)?;
    let fuel = peers.precompile(&work.wasm, Metering::Fuel)?;
    let unmetered = peers.precompile(&work.wasm, Metering::Off)?;
    let rounds = effort.of(ROUNDS).to_string();
    let mut args = work.args.clone();
    args.push(&rounds);
    let runtime = Runtime::new()?;
    let [mut ours, mut metered, mut plain] = [const { Vec::new() }; 3];
    for _ in 0..effort.of(TURNS) {
        let whole = [&["work"], args.as_slice()].concat();
        let (printed, _) = runtime.block_on(bench.run_with_files(&whole))?;
        ours.extend(rounds_of(&printed)?);
        metered.extend(rounds_of(&peer(peers, &fuel, &args)?)?);
        plain.extend(rounds_of(&peer(peers, &unmetered, &args)?)?);
    }
    let [ours, metered, plain] = [ours, metered, plain].map(milliseconds);
    let row = Row::of(work.name, "ms", &ours);
    let held = row.p50 <= MOST * metered.percentile(50.0);
    Ok(row
        .promise("at most 5 % over wasmtime's own counting", held)
        .against("wasmtime run, metered by fuel", &metered)
        .against("wasmtime run, unmetered", &plain))
}

fn peer(peers: &Peers, module: &Precompiled, args: &[&str]) -> Result<String> {
    stdout_of(peers.wasmtime(module, &[]).args(args))
}

/// Nanoseconds of each round, as the guest printed them.
fn rounds_of(printed: &str) -> Result<Vec<f64>> {
    let rounds: Vec<f64> = printed
        .lines()
        .map(|line| {
            let (_, ns) = line.split_once(' ').with_context(|| line.to_owned())?;
            Ok(ns.parse()?)
        })
        .collect::<Result<_>>()?;
    ensure!(!rounds.is_empty(), "the guest printed no round");
    Ok(rounds)
}

fn milliseconds(nanoseconds: Vec<f64>) -> Samples {
    let mut samples = Samples::new();
    for ns in nanoseconds {
        samples.push(ns * 1e-6);
    }
    samples
}
