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
use agentvm_jail_attacker::outcome::{Outcome, judge, read};
use clap::Parser;

use known::Known;

/// What the warden starts this binary with.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    part: Part,
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
    judge(&jailed, &free);
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
    read(&warden.wait_with_output().unwrap().stdout)
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
