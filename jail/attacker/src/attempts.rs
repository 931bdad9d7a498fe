//! What is worth trying from any process, whatever it does.

use std::path::Path;

use crate::call::{
    Call, address, address_of, c_string, call, child_ends, make, pointer, raw, syscall,
};
use crate::outcome::{Outcome, tell};

const PTRACE_SEIZE: i64 = 0x4206;
const F_SETOWN: i64 = 8;
const USER_MODE_ONLY: i64 = 1;

/// Calls that take a path: what the kernel refuses by number, and so before it looks.
pub fn paths() {
    let cwd = i64::from(libc::AT_FDCWD);
    let missing = c_string(Path::new("/nonexistent/file"));
    let (missing, how) = (pointer(&missing), [0_u64; 3]);
    let how = address_of(&how);
    let calls: [Call; 15] = [
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
}

/// Makes processes.
pub fn new_processes() {
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

/// Attacks the process `pid`, of the same user.
pub fn another_process(pid: i32) {
    let other = i64::from(pid);
    let mut taken = [0_u8; 16];
    let local = [address(&mut taken), 16];
    // An address that is mapped nowhere: the call fails only after it was permitted.
    let remote = [16_i64, 16];
    let (local, remote) = (address_of(&local), address_of(&remote));
    let mut limits = [0_u64; 2];
    let limits = address(&mut limits);
    let calls: [Call; 11] = [
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

/// Asks the kernel for what it gives to those who rule a machine, or has had holes in.
pub fn the_kernel() {
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
    let calls: [Call; 17] = [
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
            "load a kernel module",
            libc::SYS_finit_module,
            [-1, nowhere, 0, 0, 0, 0],
        ),
        ("a message queue", libc::SYS_msgget, [0, 0o600, 0, 0, 0, 0]),
        ("reboot", libc::SYS_reboot, [0; 6]),
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

/// Tries to take the jail down.
pub fn the_way_back() {
    let calls: [Call; 5] = [
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

/// Becomes another program. The last attempt of all: where it gets through, this process is gone.
pub fn another_program() {
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
