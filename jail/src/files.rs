//! Landlock: every right the kernel knows is handled, and none is granted.

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus, Ruleset,
    RulesetAttr, RulesetStatus, Scope,
};

use super::JailError;

/// What Landlock closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Files {
    /// Every path, and from ABI 4 on TCP, from ABI 6 on signals and abstract sockets.
    Closed {
        /// The kernel's ABI.
        abi: u32,
    },
    /// Nothing.
    Open {
        /// Why.
        why: &'static str,
    },
}

/// What is left of TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tcp {
    /// Nothing.
    Closed,
    /// Connecting, never listening.
    Connect,
}

impl Tcp {
    /// The rights that are given up.
    fn closed(self, abi: ABI) -> BitFlags<AccessNet> {
        match self {
            Self::Closed => AccessNet::from_all(abi),
            Self::Connect => AccessNet::BindTcp.into(),
        }
    }
}

/// Gives up every right that Landlock knows but those of `tcp`, for this thread and those it will
/// start.
pub(super) fn close(tcp: Tcp) -> Result<Files, JailError> {
    let abi = ABI::V10;
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(abi))
        .and_then(|ruleset| ruleset.handle_access(tcp.closed(abi)))
        .and_then(|ruleset| ruleset.scope(Scope::from_all(abi)))
        .and_then(Ruleset::create)
        .and_then(landlock::RulesetCreated::restrict_self)
        .map_err(|error| JailError::Step {
            step: "Landlock",
            source: std::io::Error::other(error),
        })?;
    Ok(match (status.ruleset, status.landlock) {
        (_, LandlockStatus::NotImplemented) => Files::Open {
            why: "the kernel was built without it",
        },
        (_, LandlockStatus::NotEnabled) => Files::Open {
            why: "it is not in the kernel's lsm= list",
        },
        (RulesetStatus::NotEnforced, LandlockStatus::Available { .. }) => Files::Open {
            why: "the kernel enforces none of its rules",
        },
        (
            RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced,
            LandlockStatus::Available { effective_abi, .. },
        ) => Files::Closed {
            abi: number(effective_abi),
        },
    })
}

/// The number of an ABI.
fn number(abi: ABI) -> u32 {
    let known = [
        ABI::Unsupported,
        ABI::V1,
        ABI::V2,
        ABI::V3,
        ABI::V4,
        ABI::V5,
        ABI::V6,
        ABI::V7,
        ABI::V8,
        ABI::V9,
        ABI::V10,
    ];
    (0..)
        .zip(known)
        .find(|(_, candidate)| *candidate == abi)
        .map_or(10, |(number, _)| number)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::net::{TcpListener, TcpStream, UdpSocket};

    use super::*;

    /// Landlock holds for the thread that asks for it, so one thread can try it by itself.
    #[test]
    fn l10_landlock_alone_closes_files_and_sockets_and_signals() {
        let path = std::env::current_exe().unwrap();
        File::open(&path).unwrap();
        TcpListener::bind("127.0.0.1:0").unwrap();
        let parent = rustix::process::getppid().unwrap();
        rustix::process::test_kill_process(parent).unwrap();
        let jailed = move || {
            let Files::Closed { abi } = close(Tcp::Closed).unwrap() else {
                panic!("this kernel has no Landlock: a cell would refuse to start")
            };
            let denied = Some(libc::EACCES);
            assert_eq!(File::open(&path).unwrap_err().raw_os_error(), denied);
            assert_eq!(
                File::create("/tmp/heron").unwrap_err().raw_os_error(),
                denied
            );
            assert_eq!(std::fs::read_dir("/").unwrap_err().raw_os_error(), denied);
            if abi >= 4 {
                let bound = TcpListener::bind("127.0.0.1:0");
                assert_eq!(bound.unwrap_err().raw_os_error(), denied);
            }
            if abi >= 6 {
                let signalled = rustix::process::test_kill_process(parent);
                assert_eq!(signalled, Err(rustix::io::Errno::PERM));
            }
        };
        std::thread::spawn(jailed).join().unwrap();
    }

    #[test]
    fn a_process_that_may_connect_still_opens_and_binds_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let jailed = move || {
            let Files::Closed { abi } = close(Tcp::Connect).unwrap() else {
                panic!("this kernel has no Landlock")
            };
            TcpStream::connect(address).unwrap();
            UdpSocket::bind("127.0.0.1:0").unwrap();
            let denied = Some(libc::EACCES);
            assert_eq!(std::fs::read_dir("/").unwrap_err().raw_os_error(), denied);
            if abi >= 4 {
                let bound = TcpListener::bind("127.0.0.1:0");
                assert_eq!(bound.unwrap_err().raw_os_error(), denied);
            }
        };
        std::thread::spawn(jailed).join().unwrap();
    }
}
