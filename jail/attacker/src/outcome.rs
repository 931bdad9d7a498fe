//! What became of an attempt, told from one process to another, and what that proves.

use std::io::Write as _;

use serde::{Deserialize, Serialize};

/// Attempts that some kernels refuse to anybody, jailed or not.
const NOT_IN_EVERY_KERNEL: [&str; 6] = [
    "load a kernel module",
    "bpf",
    "keyctl",
    "perf_event_open",
    "io_uring_setup",
    "userfaultfd",
];

/// What became of one attempt, as a line on stdout.
#[derive(Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// What was tried. One that begins with `may ` is what the process needs.
    pub attempt: String,
    /// True where the kernel said no before it looked at what was asked.
    pub refused: bool,
    /// What it said.
    pub detail: String,
}

/// Writes an outcome down. An error that looks at the arguments is one that got through.
pub fn tell(attempt: &str, result: Result<(), i32>) {
    let refused = matches!(result, Err(libc::EPERM | libc::EACCES | libc::ENOSYS));
    let detail = match result {
        Ok(()) => "done".to_owned(),
        Err(errno) => std::io::Error::from_raw_os_error(errno).to_string(),
    };
    let outcome = Outcome {
        attempt: attempt.to_owned(),
        refused,
        detail,
    };
    let mut line = serde_json::to_vec(&outcome).unwrap();
    line.push(b'\n');
    std::io::stdout().write_all(&line).unwrap();
}

/// The outcomes that a process wrote to its stdout.
pub fn read(stdout: &[u8]) -> Vec<Outcome> {
    let lines = stdout
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty());
    lines
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

/// Holds what a jailed process got through against what the same process got through without its
/// jail: each attempt is refused, and would not be refused otherwise, or it proves nothing.
pub fn judge(jailed: &[Outcome], free: &[Outcome]) {
    let names = |outcomes: &[Outcome]| -> Vec<String> {
        let name = |outcome: &Outcome| outcome.attempt.clone();
        outcomes.iter().map(name).collect()
    };
    assert!(jailed.len() > 60, "the probe stopped early: {jailed:#?}");
    assert_eq!(names(jailed), names(free), "both try the same");
    let is_root = rustix::process::geteuid().is_root();
    let mut proved = 0;
    for (inside, outside) in jailed.iter().zip(free) {
        let Outcome {
            attempt,
            refused,
            detail,
        } = inside;
        println!("{attempt}: {detail} (without the jail: {})", outside.detail);
        if attempt.starts_with("may ") {
            assert!(!refused, "the process needs this: {inside:?}");
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
}
