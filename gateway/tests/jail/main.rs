//! H09 and L10 for the gateway: what a program can do that took it over.
//!
//! This binary plays both parts: the test starts it again, once as a gateway that has entered its
//! jail by the very function that every gateway calls, once as one that left that call out. Both
//! try everything they can think of: in the jail each attempt must be refused, and without it each
//! must get through, or the probe proves nothing.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that meets the unexpected must fail where it does, and says what it found"
)]

mod attempts;

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use clap::Parser;
use serde::{Deserialize, Serialize};

/// Attempts that some kernels refuse to anybody, jailed or not.
const NOT_IN_EVERY_KERNEL: [&str; 5] = [
    "bpf",
    "keyctl",
    "perf_event_open",
    "io_uring_setup",
    "userfaultfd",
];

/// What the test starts this binary with.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(flatten)]
    settings: agentvm_gateway::Settings,
    /// Leaves the jail out.
    #[arg(long)]
    free: bool,
    #[command(flatten)]
    known: Known,
}

/// What an attacker may know already: it is worth nothing if the jail holds.
#[derive(Debug, clap::Args)]
struct Known {
    /// A process of the same user.
    #[arg(long)]
    other: i32,
    /// A file that every process of this user can read and write.
    #[arg(long)]
    file: PathBuf,
    /// A Unix socket that somebody listens on.
    #[arg(long)]
    socket: PathBuf,
    /// A TCP socket that somebody listens on.
    #[arg(long)]
    host: std::net::SocketAddr,
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
    // A test runner may pass flags of its own; only the test passes a directory.
    if std::env::args().any(|argument| argument == "--dir") {
        play(&Arguments::parse());
    } else {
        test();
    }
}

fn play(arguments: &Arguments) {
    let _prepared =
        (!arguments.free).then(|| agentvm_gateway::prepare(&arguments.settings).unwrap());
    attempts::all(&arguments.known);
}

fn test() {
    let jailed = outcomes(&[]);
    let free = outcomes(&["--free"]);
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
            assert!(!refused, "a gateway needs this: {inside:?}");
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
    println!("test h09_l10_a_gateway_that_was_taken_over_reaches_nothing_of_its_machine ... ok");
}

/// Starts the gateway beside a process to attack; what became of its attempts.
fn outcomes(more: &[&str]) -> Vec<Outcome> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("canary");
    std::fs::write(&file, "CANARY").unwrap();
    let socket = directory.path().join("other.sock");
    let _listening = UnixListener::bind(&socket).unwrap();
    let host = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut other = Command::new("sleep").arg("600").spawn().unwrap();
    let mut gateway = Command::new(std::env::current_exe().unwrap())
        .arg("--dir")
        .arg(directory.path().join("gateway"))
        .args(["--name-server", "127.0.0.1", "--root-certificates"])
        .arg(roots(directory.path()))
        .args(["--other", &other.id().to_string(), "--file"])
        .arg(&file)
        .arg("--socket")
        .arg(&socket)
        .args(["--host", &host.local_addr().unwrap().to_string()])
        .args(more)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let outcomes = read(&mut gateway);
    gateway.wait().unwrap();
    assert!(other.try_wait().unwrap().is_none(), "it hurt its neighbour");
    other.kill().unwrap();
    other.wait().unwrap();
    outcomes
}

fn read(gateway: &mut Child) -> Vec<Outcome> {
    let lines = BufReader::new(gateway.stdout.take().unwrap()).lines();
    lines
        .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
        .collect()
}

/// An authority of the test's own: the machine may have none.
fn roots(directory: &Path) -> PathBuf {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let path = directory.join("roots.pem");
    std::fs::write(&path, params.self_signed(&key).unwrap().pem()).unwrap();
    path
}
