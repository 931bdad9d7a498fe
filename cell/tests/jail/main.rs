//! L10: what a program can do that took over a cell.
//!
//! This binary plays all the parts: the test starts it as the real warden, and the warden
//! starts it again as its cells. The cell of the namespace `jailed` enters the jail by the very
//! function that every cell calls and then tries everything it can think of; each attempt must
//! be refused. The cell of the namespace `free` leaves that one call out: then each attempt must
//! get through, or the probe proves nothing.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that meets the unexpected must fail where it does, and says what it found"
)]

mod attempts;
mod known;

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use agentvm_cell::{Command as Part, cell};
use agentvm_cell_api::client::WardenClient;
use clap::Parser;
use serde::{Deserialize, Serialize};

use known::Known;

/// Attempts that some kernels refuse to anybody, jailed or not.
const NOT_IN_EVERY_KERNEL: [&str; 6] = [
    "load a kernel module",
    "bpf",
    "keyctl",
    "perf_event_open",
    "io_uring_setup",
    "userfaultfd",
];

/// What the warden starts this binary with.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    part: Part,
}

/// What became of one attempt, as a line on stdout.
#[derive(Debug, Serialize, Deserialize)]
struct Outcome {
    attempt: String,
    /// True where the kernel said no before it looked at what was asked.
    refused: bool,
    detail: String,
}

fn main() {
    // A test runner may pass flags of its own; only the warden's children have a part.
    match std::env::args().nth(1).as_deref() {
        Some("warden" | "cell" | "compile") => play(Arguments::parse().part),
        _ => test(),
    }
}

fn play(part: Part) {
    match part {
        Part::Cell(settings) if settings.namespace == "jailed" => {
            let known = Known::before_the_jail();
            cell::prepare(&settings).unwrap();
            attempts::all(&known);
        }
        Part::Cell(settings) if settings.namespace == "free" => {
            attempts::all(&Known::before_the_jail());
        }
        part @ (Part::Warden(_) | Part::Cell(_) | Part::Compile(_)) => {
            agentvm_cell::run(part).unwrap();
        }
    }
}

fn test() {
    let jailed = outcomes_in("jailed");
    let free = outcomes_in("free");
    let names = |outcomes: &[Outcome]| -> Vec<String> {
        outcomes
            .iter()
            .map(|outcome| outcome.attempt.clone())
            .collect()
    };
    assert!(jailed.len() > 60, "the probe stopped early: {jailed:#?}");
    assert_eq!(names(&jailed), names(&free), "both try the same");
    let is_root = rustix::process::geteuid().is_root();
    let mut proved = 0;
    for (inside, outside) in jailed.iter().zip(&free) {
        let Outcome {
            attempt,
            refused,
            detail,
        } = inside;
        println!("{attempt}: {detail} (without the jail: {})", outside.detail);
        if attempt.starts_with("may ") {
            assert!(!refused, "a cell needs this: {inside:?}");
            continue;
        }
        assert!(refused, "it got through the jail: {inside:?}");
        let provable = !outside.refused;
        let may_be_missing = !is_root || NOT_IN_EVERY_KERNEL.contains(&attempt.as_str());
        assert!(
            provable || may_be_missing,
            "the probe can't fail, so it proves nothing: {outside:?}"
        );
        proved += usize::from(provable);
    }
    assert!(proved > 50, "too little of it proves anything: {proved}");
    println!("test l10_a_cell_that_was_taken_over_reaches_nothing ... ok");
}

/// Starts a warden, a neighbour to attack and the attacker; returns what became of its attempts.
fn outcomes_in(namespace: &str) -> Vec<Outcome> {
    let directory = tempfile::tempdir().unwrap();
    let mut warden = start_warden(directory.path());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let client = WardenClient::new(directory.path().join("run/warden.sock"));
    runtime.block_on(async {
        let deadline = Instant::now() + Duration::from_secs(30);
        while let Err(error) = client.info().await {
            assert!(
                Instant::now() < deadline,
                "the warden does not serve: {error}"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        client.start_cell("neighbour").await.unwrap();
        // It never serves: it ends when it has tried everything.
        client.start_cell(namespace).await.unwrap_err();
        client
            .info()
            .await
            .unwrap_or_else(|error| panic!("it hurt the warden: {error}"));
        let cells = client.cells().await.unwrap().cells;
        assert_eq!(cells.len(), 1, "it hurt its neighbour: {cells:?}");
    });
    warden.kill().unwrap();
    let stdout = warden.wait_with_output().unwrap().stdout;
    let lines = stdout
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty());
    lines
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

fn start_warden(directory: &std::path::Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["warden", "--max-vms-per-cell", "2"])
        .arg("--run-dir")
        .arg(directory.join("run"))
        .arg("--cache-dir")
        .arg(directory.join("cache"))
        .arg("--log-dir")
        .arg(directory.join("log"))
        .env("CANARY", "must-never-be-seen")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}
