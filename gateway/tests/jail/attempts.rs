//! Everything that a taken-over gateway tries, each attempt harmless where it gets through.
#![expect(
    unsafe_code,
    reason = "an attacker makes the system calls that no safe wrapper offers"
)]

use std::ffi::{CString, c_long, c_void};
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::{Known, Outcome};

/// A call: its name, its number, its arguments.
type Call = (&'static str, c_long, [i64; 6]);

/// Tries everything and writes down what became of it.
pub(crate) fn all(known: &Known) {
    what_a_gateway_needs(known.host);
    files(known);
    sockets(known);
    processes();
    others(known);
    the_kernel();
    the_way_back();
    // Last: where it gets through, this process is another program.
    exec();
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
    let cwd = i64::from(libc::AT_FDCWD);
    let missing = c_string(Path::new("/nonexistent/file"));
    let (missing, how) = (pointer(&missing), [0_u64; 3]);
    let how = address_of(&how);
    let calls: [Call; 16] = [
        ("openat2", libc::SYS_openat2, [cwd, missing, how, 24, 0, 0]),
        ("unlink", libc::SYS_unlinkat, [cwd, missing, 0, 0, 0, 0]),
        ("mkdir", libc::SYS_mkdirat, [cwd, missing, 0o700, 0, 0, 0]),
        (
            "rename",
            libc::SYS_renameat2,
            [cwd, missing, cwd, missing, 0, 0],
        ),
        ("link", libc::SYS_linkat, [cwd, missing, cwd, missing, 0, 0]),
        (
            "symlink",
            libc::SYS_symlinkat,
            [missing, cwd, missing, 0, 0, 0],
        ),
        ("mknod", libc::SYS_mknodat, [cwd, missing, 0, 0, 0, 0]),
        ("chmod", libc::SYS_fchmodat, [cwd, missing, 0o777, 0, 0, 0]),
        ("chown", libc::SYS_fchownat, [cwd, missing, 0, 0, 0, 0]),
        ("truncate", libc::SYS_truncate, [missing, 0, 0, 0, 0, 0]),
        (
            "truncate a descriptor",
            libc::SYS_ftruncate,
            [-1, 0, 0, 0, 0, 0],
        ),
        (
            "readlink",
            libc::SYS_readlinkat,
            [cwd, missing, missing, 1, 0, 0],
        ),
        ("access", libc::SYS_faccessat, [cwd, missing, 0, 0, 0, 0]),
        ("chdir", libc::SYS_chdir, [missing, 0, 0, 0, 0, 0]),
        ("chroot", libc::SYS_chroot, [missing, 0, 0, 0, 0, 0]),
        ("inotify", libc::SYS_inotify_init1, [0; 6]),
    ];
    make(&calls);
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

fn processes() {
    let child_ends = |made: Result<c_long, i32>| {
        if made == Ok(0) {
            // SAFETY: the child of a fork ends at once, without running anything of the parent's.
            unsafe { libc::_exit(0) }
        }
        made
    };
    let sigchld = i64::from(libc::SIGCHLD);
    call("fork by clone", || {
        child_ends(syscall(libc::SYS_clone, [sigchld, 0, 0, 0, 0, 0]))
    });
    let mut arguments = [0_u64; 11];
    arguments[4] = u64::try_from(libc::SIGCHLD).unwrap();
    let at = address(&mut arguments);
    call("fork by clone3", || {
        child_ends(syscall(libc::SYS_clone3, [at, 88, 0, 0, 0, 0]))
    });
    #[cfg(target_arch = "x86_64")]
    call("fork", || child_ends(syscall(libc::SYS_fork, [0; 6])));
    let spawned = std::process::Command::new("/bin/true").status();
    tell("run a program", raw(spawned));
}

fn others(known: &Known) {
    let other = i64::from(known.other);
    let mut taken = [0_u8; 16];
    let local = [address(&mut taken), 16];
    // An address that is mapped nowhere: the call fails only after it was permitted.
    let remote = [16_i64, 16];
    let (local, remote) = (address_of(&local), address_of(&remote));
    let mut limits = [0_u64; 2];
    let limits = address(&mut limits);
    let calls: [Call; 12] = [
        ("signal another", libc::SYS_kill, [other, 0, 0, 0, 0, 0]),
        ("signal every process", libc::SYS_kill, [-1, 0, 0, 0, 0, 0]),
        (
            "signal a thread of another",
            libc::SYS_tgkill,
            [other, other, 0, 0, 0, 0],
        ),
        (
            "signal another by thread",
            libc::SYS_tkill,
            [other, 0, 0, 0, 0, 0],
        ),
        (
            "hold another by a pidfd",
            libc::SYS_pidfd_open,
            [other, 0, 0, 0, 0, 0],
        ),
        (
            "take a descriptor of another",
            libc::SYS_pidfd_getfd,
            [-1, 0, 0, 0, 0, 0],
        ),
        (
            "read another's memory",
            libc::SYS_process_vm_readv,
            [other, local, 1, remote, 1, 0],
        ),
        (
            "write another's memory",
            libc::SYS_process_vm_writev,
            [other, local, 1, remote, 1, 0],
        ),
        (
            "trace another",
            libc::SYS_ptrace,
            [PTRACE_SEIZE, other, 0, 0, 0, 0],
        ),
        (
            "read another's limits",
            libc::SYS_prlimit64,
            [other, 7, 0, limits, 0, 0],
        ),
        (
            "slow another down",
            libc::SYS_setpriority,
            [0, other, 0, 0, 0, 0],
        ),
        (
            "signal another by asynchronous input",
            libc::SYS_fcntl,
            [0, F_SETOWN, other, 0, 0, 0],
        ),
    ];
    make(&calls);
}

fn the_kernel() {
    let nowhere = c_string(Path::new("/nonexistent"));
    let tmpfs = c_string(Path::new("tmpfs"));
    let (nowhere, tmpfs) = (pointer(&nowhere), pointer(&tmpfs));
    let map = [2_u32, 4, 4, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let mut perf = [0_u64; 16];
    // A software event, of an attribute structure of 64 bytes, not counting the kernel.
    (perf[0], perf[5]) = (1 | 64 << 32, 1 << 5 | 1 << 6);
    let mut ring = [0_u64; 15];
    let (map, perf, ring) = (address_of(&map), address(&mut perf), address(&mut ring));
    let namespaces = i64::from(libc::CLONE_NEWNS | libc::CLONE_NEWNET);
    let calls: [Call; 14] = [
        ("mount", libc::SYS_mount, [tmpfs, nowhere, tmpfs, 0, 0, 0]),
        (
            "prepare a filesystem",
            libc::SYS_fsopen,
            [tmpfs, 0, 0, 0, 0, 0],
        ),
        ("unmount", libc::SYS_umount2, [nowhere, 0, 0, 0, 0, 0]),
        (
            "pivot_root",
            libc::SYS_pivot_root,
            [nowhere, nowhere, 0, 0, 0, 0],
        ),
        (
            "leave its namespaces",
            libc::SYS_unshare,
            [namespaces, 0, 0, 0, 0, 0],
        ),
        ("enter a namespace", libc::SYS_setns, [-1, 0, 0, 0, 0, 0]),
        ("bpf", libc::SYS_bpf, [0, map, 72, 0, 0, 0]),
        ("keyctl", libc::SYS_keyctl, [0, -2, 1, 0, 0, 0]),
        (
            "perf_event_open",
            libc::SYS_perf_event_open,
            [perf, 0, -1, -1, 0, 0],
        ),
        (
            "io_uring_setup",
            libc::SYS_io_uring_setup,
            [1, ring, 0, 0, 0, 0],
        ),
        (
            "userfaultfd",
            libc::SYS_userfaultfd,
            [USER_MODE_ONLY, 0, 0, 0, 0, 0],
        ),
        (
            "set the host's name",
            libc::SYS_sethostname,
            [nowhere, -1, 0, 0, 0, 0],
        ),
        ("shared memory", libc::SYS_shmget, [0, 4096, 0o600, 0, 0, 0]),
        (
            "open by handle",
            libc::SYS_open_by_handle_at,
            [-1, nowhere, 0, 0, 0, 0],
        ),
    ];
    make(&calls);
}

fn the_way_back() {
    let mut limits = [u64::MAX; 2];
    let limits = address(&mut limits);
    let core = i64::from(libc::RLIMIT_CORE);
    let calls: [Call; 6] = [
        (
            "be dumpable",
            libc::SYS_prctl,
            [libc::PR_SET_DUMPABLE.into(), 1, 0, 0, 0, 0],
        ),
        ("dump core", libc::SYS_prlimit64, [0, core, limits, 0, 0, 0]),
        (
            "keep capabilities",
            libc::SYS_prctl,
            [libc::PR_SET_KEEPCAPS.into(), 0, 0, 0, 0, 0],
        ),
        ("another filter", libc::SYS_seccomp, [2, 0, 0, 0, 0, 0]),
        (
            "become another user",
            libc::SYS_setresuid,
            [-1, -1, -1, 0, 0, 0],
        ),
        ("be another session", libc::SYS_setpgid, [0, 0, 0, 0, 0, 0]),
    ];
    make(&calls);
}

fn exec() {
    let got_through = Outcome {
        attempt: "become another program".to_owned(),
        refused: false,
        detail: "it ran".to_owned(),
    };
    let line = c_string(Path::new(&serde_json::to_string(&got_through).unwrap()));
    let (program, name) = (
        c_string(Path::new("/bin/echo")),
        c_string(Path::new("echo")),
    );
    let arguments = [name.as_ptr(), line.as_ptr(), std::ptr::null()];
    call("become another program", || {
        let (arguments, none) = (address_of(&arguments), [0_i64]);
        syscall(
            libc::SYS_execve,
            [pointer(&program), arguments, address_of(&none), 0, 0, 0],
        )
    });
}

const PTRACE_SEIZE: i64 = 0x4206;
const F_SETOWN: i64 = 8;
const USER_MODE_ONLY: i64 = 1;

fn open(attempt: &str, path: &Path, flags: i32) {
    let path = c_string(path);
    let arguments = [
        libc::AT_FDCWD.into(),
        pointer(&path),
        flags.into(),
        0o600,
        0,
        0,
    ];
    call(attempt, || syscall(libc::SYS_openat, arguments));
}

fn make(calls: &[Call]) {
    for (name, number, arguments) in calls {
        call(name, || syscall(*number, *arguments));
    }
}

fn call(attempt: &str, attempt_it: impl FnOnce() -> Result<c_long, i32>) {
    tell(attempt, attempt_it().map(drop));
}

fn raw<T>(result: std::io::Result<T>) -> Result<(), i32> {
    result
        .map(drop)
        .map_err(|error| error.raw_os_error().unwrap_or(0))
}

/// Writes an outcome down. An error that looks at the arguments is one that got through.
fn tell(attempt: &str, result: Result<(), i32>) {
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

fn syscall(number: c_long, arguments: [i64; 6]) -> Result<c_long, i32> {
    let [first, second, third, fourth, fifth, sixth] = arguments;
    // SAFETY: every pointer among the arguments was made from a live value of this process, or
    // is null; the calls are chosen so that they change nothing that this process still uses.
    let result = unsafe { libc::syscall(number, first, second, third, fourth, fifth, sixth) };
    if result == -1 {
        Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(0))
    } else {
        Ok(result)
    }
}

fn c_string(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap()
}

fn pointer(text: &CString) -> i64 {
    number(text.as_ptr().cast())
}

fn address<T: ?Sized>(value: &mut T) -> i64 {
    number(std::ptr::from_mut(value).cast())
}

fn address_of<T: ?Sized>(value: &T) -> i64 {
    number(std::ptr::from_ref(value).cast())
}

fn number(pointer: *const c_void) -> i64 {
    i64::try_from(pointer.addr()).unwrap()
}
