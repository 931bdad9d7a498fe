//! Everything that a taken-over cell tries, each attempt harmless where it gets through.
#![expect(
    unsafe_code,
    reason = "an attacker makes the system calls that no safe wrapper offers"
)]

use std::ffi::{CString, c_long, c_void};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::Outcome;
use crate::known::Known;

/// Tries everything and writes down what became of it.
pub(crate) fn all(known: &Known) {
    what_a_cell_needs();
    files(known);
    sockets(known);
    processes();
    others(known);
    the_kernel();
    the_way_back();
    // Last: where it gets through, this process is another program.
    exec();
}

fn what_a_cell_needs() {
    let thread = std::thread::spawn(|| 7).join();
    tell(
        "may start a thread",
        thread.map(|_| ()).map_err(|_panicked| libc::EPERM),
    );
    let length = 4096;
    // SAFETY: an anonymous mapping at an address of the kernel's choice touches nothing of ours.
    let mapped = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            length,
            libc::PROT_READ | libc::PROT_EXEC,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    tell(
        "may map executable memory",
        if mapped == libc::MAP_FAILED {
            Err(errno())
        } else {
            Ok(())
        },
    );
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
    let at_cwd = i64::from(libc::AT_FDCWD);
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
    let missing = c_string(Path::new("/nonexistent/file"));
    let missing = pointer(&missing);
    let how = [0_u64; 3];
    let paths = [
        (
            "openat2",
            libc::SYS_openat2,
            [at_cwd, missing, address_of(&how), 24, 0, 0],
        ),
        ("unlink", libc::SYS_unlinkat, [at_cwd, missing, 0, 0, 0, 0]),
        (
            "mkdir",
            libc::SYS_mkdirat,
            [at_cwd, missing, 0o700, 0, 0, 0],
        ),
        (
            "rename",
            libc::SYS_renameat2,
            [at_cwd, missing, at_cwd, missing, 0, 0],
        ),
        (
            "link",
            libc::SYS_linkat,
            [at_cwd, missing, at_cwd, missing, 0, 0],
        ),
        (
            "symlink",
            libc::SYS_symlinkat,
            [missing, at_cwd, missing, 0, 0, 0],
        ),
        ("mknod", libc::SYS_mknodat, [at_cwd, missing, 0, 0, 0, 0]),
        (
            "chmod",
            libc::SYS_fchmodat,
            [at_cwd, missing, 0o777, 0, 0, 0],
        ),
        ("chown", libc::SYS_fchownat, [at_cwd, missing, 0, 0, 0, 0]),
        ("truncate", libc::SYS_truncate, [missing, 0, 0, 0, 0, 0]),
        (
            "readlink",
            libc::SYS_readlinkat,
            [at_cwd, missing, missing, 1, 0, 0],
        ),
        ("access", libc::SYS_faccessat, [at_cwd, missing, 0, 0, 0, 0]),
        ("chdir", libc::SYS_chdir, [missing, 0, 0, 0, 0, 0]),
        ("chroot", libc::SYS_chroot, [missing, 0, 0, 0, 0, 0]),
        ("inotify", libc::SYS_inotify_init1, [0; 6]),
    ];
    for (name, number, arguments) in paths {
        call(name, || syscall(number, arguments));
    }
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
        tell(
            name,
            connected
                .map(drop)
                .map_err(|error| error.raw_os_error().unwrap_or(0)),
        );
    }
    // A socket that it has already, the control channel, must be no way either.
    let mut unix = vec![1_u8, 0];
    unix.extend_from_slice(known.warden_socket.as_os_str().as_bytes());
    unix.push(0);
    let (at, length) = (address(&mut unix), i64::try_from(unix.len()).unwrap());
    // Messages without bytes or header: they fail either way, and send nothing.
    let own = [
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
    for (name, number, arguments) in own {
        call(name, || syscall(number, arguments));
    }
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
    tell(
        "run a program",
        spawned
            .map(drop)
            .map_err(|error| error.raw_os_error().unwrap_or(0)),
    );
}

fn others(known: &Known) {
    let warden = i64::from(known.warden);
    let mut taken = [0_u8; 16];
    let local = [address(&mut taken), 16];
    let remote = [i64::try_from(known.address_in_warden).unwrap(), 16];
    let (local, remote) = (address_of(&local), address_of(&remote));
    let mut limits = [0_u64; 2];
    let limits = address(&mut limits);
    let attempts = [
        ("signal the warden", libc::SYS_kill, [warden, 0, 0, 0, 0, 0]),
        ("signal every process", libc::SYS_kill, [-1, 0, 0, 0, 0, 0]),
        (
            "signal a thread of the warden",
            libc::SYS_tgkill,
            [warden, warden, 0, 0, 0, 0],
        ),
        (
            "signal the warden by thread",
            libc::SYS_tkill,
            [warden, 0, 0, 0, 0, 0],
        ),
        (
            "hold the warden by a pidfd",
            libc::SYS_pidfd_open,
            [warden, 0, 0, 0, 0, 0],
        ),
        (
            "read the warden's memory",
            libc::SYS_process_vm_readv,
            [warden, local, 1, remote, 1, 0],
        ),
        (
            "write the warden's memory",
            libc::SYS_process_vm_writev,
            [warden, local, 0, remote, 0, 0],
        ),
        (
            "trace the warden",
            libc::SYS_ptrace,
            [PTRACE_SEIZE, warden, 0, 0, 0, 0],
        ),
        (
            "read the warden's limits",
            libc::SYS_prlimit64,
            [warden, 7, 0, limits, 0, 0],
        ),
        (
            "slow the warden down",
            libc::SYS_setpriority,
            [0, warden, 0, 0, 0, 0],
        ),
        (
            "pin the warden to a core",
            libc::SYS_sched_setaffinity,
            [warden, 0, 0, 0, 0, 0],
        ),
        (
            "signal the warden by asynchronous input",
            libc::SYS_fcntl,
            [0, F_SETOWN, warden, 0, 0, 0],
        ),
    ];
    for (name, number, arguments) in attempts {
        call(name, || syscall(number, arguments));
    }
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
    let new_namespaces = i64::from(libc::CLONE_NEWNS | libc::CLONE_NEWNET);
    let attempts = [
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
            [new_namespaces, 0, 0, 0, 0, 0],
        ),
        ("enter a namespace", libc::SYS_setns, [-1, 0, 0, 0, 0, 0]),
        ("bpf", libc::SYS_bpf, [0, map, 72, 0, 0, 0]),
        ("keyctl", libc::SYS_keyctl, [0, -2, 1, 0, 0, 0]),
        ("add a key", libc::SYS_add_key, [0; 6]),
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
            "load a kernel module",
            libc::SYS_finit_module,
            [-1, nowhere, 0, 0, 0, 0],
        ),
        ("reboot", libc::SYS_reboot, [0; 6]),
        (
            "set the host's name",
            libc::SYS_sethostname,
            [nowhere, -1, 0, 0, 0, 0],
        ),
        ("shared memory", libc::SYS_shmget, [0, 4096, 0o600, 0, 0, 0]),
        ("a message queue", libc::SYS_msgget, [0, 0o600, 0, 0, 0, 0]),
        (
            "open by handle",
            libc::SYS_open_by_handle_at,
            [-1, nowhere, 0, 0, 0, 0],
        ),
    ];
    for (name, number, arguments) in attempts {
        call(name, || syscall(number, arguments));
    }
}

fn the_way_back() {
    let attempts = [
        (
            "be dumpable",
            libc::SYS_prctl,
            [libc::PR_SET_DUMPABLE.into(), 1, 0, 0, 0, 0],
        ),
        (
            "keep capabilities",
            libc::SYS_prctl,
            [libc::PR_SET_KEEPCAPS.into(), 0, 0, 0, 0, 0],
        ),
        (
            "outlive the warden",
            libc::SYS_prctl,
            [libc::PR_SET_PDEATHSIG.into(), 0, 0, 0, 0, 0],
        ),
        ("another filter", libc::SYS_seccomp, [2, 0, 0, 0, 0, 0]),
        (
            "become another user",
            libc::SYS_setresuid,
            [-1, -1, -1, 0, 0, 0],
        ),
        ("be another session", libc::SYS_setpgid, [0, 0, 0, 0, 0, 0]),
    ];
    for (name, number, arguments) in attempts {
        call(name, || syscall(number, arguments));
    }
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
    call(attempt, || {
        syscall(
            libc::SYS_openat,
            [
                libc::AT_FDCWD.into(),
                pointer(&path),
                flags.into(),
                0o600,
                0,
                0,
            ],
        )
    });
}

fn call(attempt: &str, attempt_it: impl FnOnce() -> Result<c_long, i32>) {
    tell(attempt, attempt_it().map(|_| ()));
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
    // SAFETY: every pointer among the arguments was made from a live value of this process, or
    // is null; the calls are chosen so that they change nothing that this process still uses.
    let result = unsafe {
        libc::syscall(
            number,
            arguments[0],
            arguments[1],
            arguments[2],
            arguments[3],
            arguments[4],
            arguments[5],
        )
    };
    if result == -1 {
        Err(errno())
    } else {
        Ok(result)
    }
}

fn errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
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
