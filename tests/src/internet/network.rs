//! A network of a test's own, in which every address is this machine's.

use std::fs::{self, File};
use std::future::Future;
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::program::stdout_of;
use crate::real_node::sandbox::Sandbox;
use crate::scratch;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Runs `test` on a thread of its own, in an empty network where any address can be listened on.
pub fn alone<F>(test: impl FnOnce() -> F + Send + 'static)
where
    F: Future<Output = ()>,
{
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let dir = scratch::dir(&format!("network-{number}")).unwrap();
    let sandbox = Sandbox::start(&dir).unwrap();
    let network = File::open(sandbox.network()).unwrap();
    let thread = std::thread::spawn(move || {
        let kind = Some(LinkNameSpaceType::Network);
        move_into_link_name_space(network.as_fd(), kind).unwrap();
        open_every_address();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(test());
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Has this thread's network take every address for its own.
fn open_every_address() {
    for line in [
        "link set lo up",
        "route add local 0.0.0.0/0 dev lo",
        "-6 route add local ::/0 dev lo",
    ] {
        stdout_of(Command::new("ip").args(line.split(' '))).unwrap();
    }
    // IPv6 needs to be told that a route to here is enough to listen.
    fs::write("/proc/sys/net/ipv6/ip_nonlocal_bind", "1").unwrap();
}
