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

use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use agentvm_jail_attacker::outcome::{Outcome, judge, read};
use clap::Parser;

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
    judge(&jailed, &free);
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
    let gateway = Command::new(std::env::current_exe().unwrap())
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
    let outcomes = read(&gateway.wait_with_output().unwrap().stdout);
    assert!(other.try_wait().unwrap().is_none(), "it hurt its neighbour");
    other.kill().unwrap();
    other.wait().unwrap();
    outcomes
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
