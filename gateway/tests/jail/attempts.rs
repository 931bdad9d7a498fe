//! Everything that a taken-over gateway tries, each attempt harmless where it gets through.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::path::Path;

use agentvm_jail_attacker::attempts;
use agentvm_jail_attacker::call::{
    Call, address, c_string, call, make, open, pointer, raw, syscall,
};
use agentvm_jail_attacker::outcome::tell;

use crate::Known;

/// Tries everything and writes down what became of it.
pub(crate) fn all(known: &Known) {
    what_a_gateway_needs(known.host);
    files(known);
    sockets(known);
    attempts::new_processes();
    others(known);
    attempts::the_kernel();
    attempts::the_way_back();
    attempts::another_program();
}

fn what_a_gateway_needs(host: SocketAddr) {
    let thread = std::thread::spawn(|| 7).join();
    tell(
        "may start a thread",
        thread.map(drop).map_err(|_panicked| libc::EPERM),
    );
    tell("may connect to a host", raw(TcpStream::connect(host)));
    let asks = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.send_to(b"?", host));
    tell("may ask a name server", raw(asks));
    let asks = UdpSocket::bind("[::]:0");
    tell("may ask a name server by IPv6", raw(asks));
    tell("may write to its log", raw(std::io::stderr().write(b"")));
    let mut random = [0_u8; 8];
    call("may get random bytes", || {
        syscall(libc::SYS_getrandom, [address(&mut random), 8, 0, 0, 0, 0])
    });
}

fn files(known: &Known) {
    let other = known.other;
    open(
        "open a file of this user to read",
        &known.file,
        libc::O_RDONLY,
    );
    open(
        "open a file of this user to write",
        &known.file,
        libc::O_RDWR,
    );
    for path in [
        "/etc/passwd",
        "/proc/self/environ",
        "/proc/self/mem",
        "/proc/self/maps",
        "/dev/null",
        ".",
    ] {
        open(&format!("open {path}"), Path::new(path), libc::O_RDONLY);
    }
    let environment = format!("/proc/{other}/environ");
    open(
        "open another's environment",
        Path::new(&environment),
        libc::O_RDONLY,
    );
    let memory = format!("/proc/{other}/mem");
    open("open another's memory", Path::new(&memory), libc::O_RDWR);
    let made = libc::O_RDWR | libc::O_TMPFILE;
    open("create a file", &std::env::temp_dir(), made);
    attempts::paths();
    make(&[(
        "truncate a descriptor",
        libc::SYS_ftruncate,
        [-1, 0, 0, 0, 0, 0],
    )]);
    let name = c_string(Path::new("code"));
    make(&[(
        "make anonymous memory",
        libc::SYS_memfd_create,
        [pointer(&name), 0, 0, 0, 0, 0],
    )]);
}

fn sockets(known: &Known) {
    for (name, family, kind, protocol) in [
        ("unix", libc::AF_UNIX, libc::SOCK_STREAM, 0),
        ("unix datagram", libc::AF_UNIX, libc::SOCK_DGRAM, 0),
        ("netlink", libc::AF_NETLINK, libc::SOCK_RAW, 0),
        ("packet", libc::AF_PACKET, libc::SOCK_RAW, 0),
        ("raw IPv4", libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_TCP),
        (
            "raw IPv6",
            libc::AF_INET6,
            libc::SOCK_RAW,
            libc::IPPROTO_TCP,
        ),
        (
            "UDP-Lite",
            libc::AF_INET,
            libc::SOCK_DGRAM,
            libc::IPPROTO_UDPLITE,
        ),
    ] {
        let arguments = [family.into(), kind.into(), protocol.into(), 0, 0, 0];
        call(&format!("make a {name} socket"), || {
            syscall(libc::SYS_socket, arguments)
        });
    }
    tell(
        "connect to a Unix socket",
        raw(UnixStream::connect(&known.socket)),
    );
    tell("make a pair of sockets", raw(UnixStream::pair()));
    tell("listen for TCP", raw(TcpListener::bind("127.0.0.1:0")));
    let listens = TcpListener::bind("[::1]:0");
    tell("listen for TCP over IPv6", raw(listens));
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let own = i64::from(socket.as_raw_fd());
    let calls: [Call; 4] = [
        (
            "listen on a socket that it has",
            libc::SYS_listen,
            [own, 1, 0, 0, 0, 0],
        ),
        ("send a message with descriptors", libc::SYS_sendmsg, [0; 6]),
        ("get a message with descriptors", libc::SYS_recvmsg, [0; 6]),
        (
            "set an option of IP",
            libc::SYS_setsockopt,
            [own, i64::from(libc::IPPROTO_IP), -1, 0, 0, 0],
        ),
    ];
    make(&calls);
}

fn others(known: &Known) {
    attempts::another_process(known.other);
    let mut limits = [u64::MAX; 2];
    let limits = address(&mut limits);
    let core = i64::from(libc::RLIMIT_CORE);
    make(&[
        (
            "take a descriptor of another",
            libc::SYS_pidfd_getfd,
            [-1, 0, 0, 0, 0, 0],
        ),
        ("dump core", libc::SYS_prlimit64, [0, core, limits, 0, 0, 0]),
    ]);
}
