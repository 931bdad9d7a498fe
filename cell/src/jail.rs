//! The jail of the processes that run or compile guest code: cells and compilers.
//!
//! Beyond what every process of ours may do they share memory by sealed files, get descriptors
//! over their control channel, and set their own niceness. They have no way to open a socket.

use agentvm_cell_api::warden::JailLevel;
use agentvm_jail::{Argument, Calls, Profile, Tcp};
pub use agentvm_jail::{Bounds, Jail, JailError};

/// Calls that guests' processes need, whatever their arguments.
const ALLOWED: &[i64] = &[
    libc::SYS_ftruncate,
    libc::SYS_getrusage,
    libc::SYS_lseek,
    libc::SYS_memfd_create, // the image of a component's memory, shared by its instances
    libc::SYS_pwrite64,
    libc::SYS_recvmsg, // descriptors that come over the control channel
];

/// An `ioctl` number that the libc crate lacks: wasmtime asks which pages a guest has touched.
const PAGEMAP_SCAN: u64 = 0xc060_6610;
/// `fcntl` operations on sealed files.
const F_ADD_SEALS: u64 = 1033;
const F_GET_SEALS: u64 = 1034;

/// Enters the jail, for good: see [`agentvm_jail::enter`].
///
/// # Errors
///
/// Where a step fails or the level is below `required`. The process must end then.
pub fn enter(bounds: &Bounds, required: JailLevel) -> Result<Jail, JailError> {
    let profile = Profile {
        bounds: *bounds,
        calls: calls(),
        tcp: Tcp::Closed,
    };
    agentvm_jail::enter(&profile, required)
}

fn calls() -> Calls {
    Calls {
        allowed: ALLOWED,
        conditional: vec![
            (
                libc::SYS_fcntl,
                vec![
                    vec![Argument::Is(1, F_ADD_SEALS)],
                    vec![Argument::Is(1, F_GET_SEALS)],
                ],
            ),
            (libc::SYS_ioctl, vec![vec![Argument::Is(1, PAGEMAP_SCAN)]]),
            // Its own threads' niceness.
            (
                libc::SYS_setpriority,
                vec![vec![Argument::Is(0, 0), Argument::Is(1, 0)]],
            ),
        ],
    }
}

#[cfg(test)]
mod tests {
    use agentvm_jail::OF_NO_PROCESS;

    use super::*;

    #[test]
    fn no_call_that_reaches_outside_is_on_the_list() {
        let own = [libc::SYS_socket, libc::SYS_connect, libc::SYS_bind];
        for call in OF_NO_PROCESS.iter().chain(&own).copied() {
            assert!(!calls().have(call), "{call}");
        }
    }
}
