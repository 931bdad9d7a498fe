//! What an attacker may know already: it is worth nothing if the jail holds.

use std::path::PathBuf;

/// Facts gathered before the jail closes.
#[derive(Debug)]
pub(crate) struct Known {
    /// The warden's process id.
    pub(crate) warden: i32,
    /// The warden's socket.
    pub(crate) warden_socket: PathBuf,
    /// The socket of another namespace's cell.
    pub(crate) neighbour_socket: PathBuf,
    /// The key that authenticates compiled code.
    pub(crate) cache_key: PathBuf,
}

impl Known {
    /// Reads them from `/proc`.
    pub(crate) fn before_the_jail() -> Self {
        let warden = rustix::process::getppid().unwrap().as_raw_nonzero().get();
        let arguments = std::fs::read_to_string(format!("/proc/{warden}/cmdline")).unwrap();
        let arguments: Vec<&str> = arguments.split('\0').collect();
        let directory = |flag: &str| {
            let at = arguments
                .iter()
                .position(|argument| *argument == flag)
                .unwrap();
            PathBuf::from(arguments[at + 1])
        };
        let run = directory("--run-dir");
        Self {
            warden,
            warden_socket: run.join("warden.sock"),
            neighbour_socket: run.join("cells/neighbour.sock"),
            cache_key: directory("--cache-dir").join("key"),
        }
    }
}
