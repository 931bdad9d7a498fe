//! The second wall: what the kernel leaves to a process of ours, by seccomp and Landlock.
//!
//! [`enter`] is called once, by a process that still has one thread, before it reads a byte that
//! a guest chose. After it the process can use the descriptors that it has, make memory and
//! threads, and end. It can't open, bind, fork, execute, trace or signal anything. There is no way
//! back. What a kind of process needs beyond that stands in its [`Profile`], and in its crate.

mod files;
mod rights;
mod syscalls;

use agentvm_cell_api::warden::JailLevel;
use rand::TryRngCore as _;

pub use files::Tcp;
pub use rights::Bounds;
pub use syscalls::{Argument, Calls, OF_NO_PROCESS};

use files::Files;

/// What one kind of process is left.
#[derive(Clone, Debug)]
pub struct Profile {
    /// How much it may use of what the kernel counts for each process.
    pub bounds: Bounds,
    /// System calls beyond those that every process of ours needs.
    pub calls: Calls,
    /// What it may do with TCP, as far as its system calls go.
    pub tcp: Tcp,
}

/// Why a process is not jailed. It must end then.
#[derive(Debug, thiserror::Error)]
pub enum JailError {
    /// Landlock and dropped capabilities hold for the calling thread only.
    #[error("the jail must be entered by the only thread, and there are {threads}")]
    Threads {
        /// How many there are.
        threads: usize,
    },
    /// The kernel refused a step that every supported kernel allows.
    #[error("the jail's step \"{step}\" failed")]
    Step {
        /// Which step.
        step: &'static str,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The filter itself is wrong: a defect of ours.
    #[error("the jail's system call filter does not compile: {0}")]
    Filter(String),
    /// The kernel lacks what this node's setting demands.
    #[error("the kernel allows jail level {got:?}, but {required:?} is required: {message}")]
    TooWeak {
        /// What the kernel allows.
        got: JailLevel,
        /// What the setting demands.
        required: JailLevel,
        /// What is missing.
        message: String,
    },
}

impl JailError {
    fn step(step: &'static str) -> impl FnOnce(rustix::io::Errno) -> Self {
        move |errno| Self::Step {
            step,
            source: errno.into(),
        }
    }
}

/// The jail that the process is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jail {
    /// How much of it the kernel could build.
    pub level: JailLevel,
    /// What is missing; empty where nothing is.
    pub message: String,
}

/// Enters the jail of `profile`, for good.
///
/// # Errors
///
/// Where a step fails or the level is below `required`. The process is then half-jailed: it may
/// report the error and must end.
pub fn enter(profile: &Profile, required: JailLevel) -> Result<Jail, JailError> {
    let threads = count_threads()?;
    if threads != 1 {
        return Err(JailError::Threads { threads });
    }
    draw_randomness()?;
    let Profile { bounds, calls, tcp } = profile;
    rights::give_up(bounds)?;
    let files = files::close(*tcp)?;
    let filtered = syscalls::filter(calls)?;
    let jail = assess(filtered, &files);
    if jail.level < required {
        return Err(JailError::TooWeak {
            got: jail.level,
            required,
            message: jail.message,
        });
    }
    Ok(jail)
}

/// Draws once from the system's randomness. A static program finds `getrandom` by no name and
/// keeps `/dev/urandom` open instead: it has to be opened before that is closed.
fn draw_randomness() -> Result<(), JailError> {
    let drawn = rand::rngs::OsRng.try_fill_bytes(&mut [0; 8]);
    drawn.map_err(|error| JailError::Step {
        step: "draw randomness",
        source: std::io::Error::other(error),
    })
}

fn count_threads() -> Result<usize, JailError> {
    std::fs::read_dir("/proc/self/task")
        .map(Iterator::count)
        .map_err(|source| JailError::Step {
            step: "count threads",
            source,
        })
}

/// Names the level that was reached and what it lacks.
fn assess(filtered: bool, files: &Files) -> Jail {
    let message = match (filtered, files) {
        (false, _) => "the kernel has no seccomp filters (CONFIG_SECCOMP_FILTER)".to_owned(),
        (true, Files::Open { why }) => format!("no Landlock: {why}; seccomp alone closes files"),
        (true, Files::Closed { abi }) if *abi < 4 => {
            format!("Landlock ABI {abi} does not cover TCP and signals; seccomp alone closes them")
        }
        (true, Files::Closed { abi }) if *abi < 6 => {
            format!("Landlock ABI {abi} does not cover signals; seccomp alone closes them")
        }
        (true, Files::Closed { .. }) => String::new(),
    };
    let level = match (filtered, files) {
        (false, _) => JailLevel::None,
        (true, Files::Open { .. }) => JailLevel::Partial,
        (true, Files::Closed { .. }) => JailLevel::Full,
    };
    Jail { level, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_is_what_is_missing() {
        let table = [
            (true, Files::Closed { abi: 7 }, JailLevel::Full, ""),
            (
                true,
                Files::Closed { abi: 4 },
                JailLevel::Full,
                "Landlock ABI 4",
            ),
            (true, Files::Closed { abi: 1 }, JailLevel::Full, "TCP"),
            (
                true,
                Files::Open { why: "not enabled" },
                JailLevel::Partial,
                "not enabled",
            ),
            (false, Files::Closed { abi: 7 }, JailLevel::None, "seccomp"),
        ];
        for (filtered, files, level, word) in table {
            let jail = assess(filtered, &files);
            assert_eq!(jail.level, level, "{files:?}");
            assert!(jail.message.contains(word), "{}", jail.message);
        }
    }

    #[test]
    fn a_process_with_a_second_thread_is_not_jailed_by_half() {
        let profile = Profile {
            bounds: Bounds {
                open_files: 64,
                address_space_bytes: None,
                cpu_seconds: None,
            },
            calls: Calls::default(),
            tcp: Tcp::Closed,
        };
        // The test harness has a thread of its own beside this one.
        let refused = enter(&profile, JailLevel::None).unwrap_err();
        assert!(
            matches!(refused, JailError::Threads { threads } if threads > 1),
            "{refused}"
        );
    }
}
