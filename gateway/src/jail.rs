//! The gateway's jail: it may connect to hosts and ask name servers, and open nothing else.
//!
//! Whatever it reads of files it has read before: roots, name servers, its own settings. What it
//! writes to it has open: the access log, stderr. A process that was taken over by what an
//! upstream or a cell sent can speak to whom the gateway could anyway, and to nobody on this
//! machine: no file, no program, no other process, no Unix socket.

use agentvm_cell_api::warden::JailLevel;
use agentvm_jail::{Argument, Bounds, Calls, Jail, JailError, Profile, Tcp};
use agentvm_policy::budget;

/// Calls on sockets that it has, whatever their arguments.
const ALLOWED: &[i64] = &[
    libc::SYS_connect,
    libc::SYS_bind, // to ask name servers from; TCP is closed by Landlock, and nothing listens
    libc::SYS_getpeername,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_sendto,
];

/// The bits of a socket's kind that are not flags.
const KIND: u64 = 0xf;
/// Levels of options that are set.
const SOL_SOCKET: u64 = 1;
const IPPROTO_TCP: u64 = 6;
const IPPROTO_UDP: u64 = 17;

/// Enters the jail, for good: see [`agentvm_jail::enter`].
///
/// # Errors
///
/// Where a step fails or the level is below `required`. The process must end then.
pub(crate) fn enter(required: JailLevel) -> Result<Jail, JailError> {
    let profile = Profile {
        bounds: Bounds {
            open_files: budget::GATEWAY_OPEN_FILES.value,
            address_space_bytes: None,
            cpu_seconds: None,
        },
        calls: calls(),
        tcp: Tcp::Connect,
    };
    agentvm_jail::enter(&profile, required)
}

fn calls() -> Calls {
    Calls {
        allowed: ALLOWED,
        conditional: vec![
            (libc::SYS_socket, sockets()),
            (
                libc::SYS_setsockopt,
                vec![
                    vec![Argument::Is(1, SOL_SOCKET)],
                    vec![Argument::Is(1, IPPROTO_TCP)],
                ],
            ),
        ],
    }
}

/// TCP and UDP over IPv4 and IPv6: no ping, no raw packets, nothing of this machine's own.
fn sockets() -> Vec<Vec<Argument>> {
    let number = |constant: i32| u64::from(constant.unsigned_abs());
    let kinds = [
        (number(libc::SOCK_STREAM), IPPROTO_TCP),
        (number(libc::SOCK_DGRAM), IPPROTO_UDP),
    ];
    let mut all = Vec::new();
    for family in [number(libc::AF_INET), number(libc::AF_INET6)] {
        for (kind, own) in kinds {
            for protocol in [0, own] {
                all.push(vec![
                    Argument::Is(0, family),
                    Argument::HasBits(1, KIND, kind),
                    Argument::Is(2, protocol),
                ]);
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use agentvm_jail::OF_NO_PROCESS;

    use super::*;

    #[test]
    fn h09_no_call_that_reaches_this_machine_is_on_the_list() {
        let own = [
            libc::SYS_sendmmsg,
            libc::SYS_recvmsg,
            libc::SYS_pidfd_getfd,
            libc::SYS_unlinkat,
            libc::SYS_renameat2,
            libc::SYS_memfd_create,
            libc::SYS_setuid,
        ];
        for call in OF_NO_PROCESS.iter().chain(&own).copied() {
            assert!(!calls().have(call), "{call}");
        }
    }
}
