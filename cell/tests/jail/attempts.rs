//! Everything that a taken-over cell tries, each attempt harmless where it gets through.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use agentvm_jail_attacker::attempts;
use agentvm_jail_attacker::call::{
    Call, address, c_string, call, make, open, pointer, raw, syscall,
};
use agentvm_jail_attacker::outcome::tell;

use crate::known::Known;

/// Tries everything and writes down what became of it.
pub(crate) fn all(known: &Known) {
    what_a_cell_needs();
    files(known);
    sockets(known);
    attempts::new_processes();
    others(known);
    attempts::the_kernel();
    attempts::the_way_back();
    attempts::another_program();
}

fn what_a_cell_needs() {
    let thread = std::thread::spawn(|| 7).join();
    tell(
        "may start a thread",
        thread.map(|_| ()).map_err(|_panicked| libc::EPERM),
    );
    call("may map executable memory", || {
        let (protection, kind) = (
            libc::PROT_READ | libc::PROT_EXEC,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
        );
        let arguments = [0, 4096, protection.into(), kind.into(), -1, 0];
        syscall(libc::SYS_mmap, arguments)
    });
    let mut random = [0_u8; 8];
    let name = c_string(Path::new("image"));
    call("may make anonymous memory", || {
        syscall(libc::SYS_memfd_create, [pointer(&name), 0, 0, 0, 0, 0])
    });
    call("may get random bytes", || {
        syscall(libc::SYS_getrandom, [address(&mut random), 8, 0, 0, 0, 0])
    });
    call("may read its clock", || {
        let mut now = [0_i64; 2];
        syscall(libc::SYS_clock_gettime, [0, address(&mut now), 0, 0, 0, 0])
    });
}

fn files(known: &Known) {
    for path in [
        "/etc/passwd",
        "/etc/shadow",
        "/proc/self/environ",
        "/proc/self/mem",
        "/dev/null",
        ".",
    ] {
        open(&format!("open {path}"), Path::new(path), libc::O_RDONLY);
    }
    open(
        "open the warden's environment",
        Path::new(&format!("/proc/{}/environ", known.warden)),
        libc::O_RDONLY,
    );
    open(
        "open the warden's memory",
        Path::new(&format!("/proc/{}/mem", known.warden)),
        libc::O_RDWR,
    );
    open("open the cache's key", &known.cache_key, libc::O_RDONLY);
    open(
        "create a file",
        &std::env::temp_dir(),
        libc::O_RDWR | libc::O_TMPFILE,
    );
    attempts::paths();
}

fn sockets(known: &Known) {
    let families = [
        ("unix", libc::AF_UNIX, libc::SOCK_STREAM),
        ("unix datagram", libc::AF_UNIX, libc::SOCK_DGRAM),
        ("unix seqpacket", libc::AF_UNIX, libc::SOCK_SEQPACKET),
        ("TCP", libc::AF_INET, libc::SOCK_STREAM),
        ("UDP", libc::AF_INET, libc::SOCK_DGRAM),
        ("TCP over IPv6", libc::AF_INET6, libc::SOCK_STREAM),
        ("UDP over IPv6", libc::AF_INET6, libc::SOCK_DGRAM),
        ("netlink", libc::AF_NETLINK, libc::SOCK_RAW),
    ];
    for (name, family, kind) in families {
        call(&format!("make a {name} socket"), || {
            syscall(libc::SYS_socket, [family.into(), kind.into(), 0, 0, 0, 0])
        });
    }
    let mut pair = [0_i32; 2];
    call("make a pair of sockets", || {
        let stream = libc::SOCK_STREAM;
        syscall(
            libc::SYS_socketpair,
            [
                libc::AF_UNIX.into(),
                stream.into(),
                0,
                address(&mut pair),
                0,
                0,
            ],
        )
    });
    for (name, path) in [
        ("connect to the warden", &known.warden_socket),
        ("connect to another cell", &known.neighbour_socket),
    ] {
        let connected = std::os::unix::net::UnixStream::connect(path);
        tell(name, raw(connected));
    }
    // A socket that it has already, the control channel, must be no way either.
    let mut unix = vec![1_u8, 0];
    unix.extend_from_slice(known.warden_socket.as_os_str().as_bytes());
    unix.push(0);
    let (at, length) = (address(&mut unix), i64::try_from(unix.len()).unwrap());
    // Messages without bytes or header: they fail either way, and send nothing.
    let own: [Call; 5] = [
        (
            "connect the control channel",
            libc::SYS_connect,
            [0, at, length, 0, 0, 0],
        ),
        (
            "bind the control channel",
            libc::SYS_bind,
            [0, at, length, 0, 0, 0],
        ),
        (
            "listen on the control channel",
            libc::SYS_listen,
            [0, 1, 0, 0, 0, 0],
        ),
        (
            "send to an address",
            libc::SYS_sendto,
            [0, 0, 1, libc::MSG_DONTWAIT.into(), at, length],
        ),
        ("send a message with descriptors", libc::SYS_sendmsg, [0; 6]),
    ];
    make(&own);
}

fn others(known: &Known) {
    attempts::another_process(known.warden);
    let warden = i64::from(known.warden);
    make(&[
        (
            "pin the warden to a core",
            libc::SYS_sched_setaffinity,
            [warden, 0, 0, 0, 0, 0],
        ),
        (
            "outlive the warden",
            libc::SYS_prctl,
            [libc::PR_SET_PDEATHSIG.into(), 0, 0, 0, 0, 0],
        ),
    ]);
}
