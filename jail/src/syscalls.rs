//! seccomp: the list of system calls that are left.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

use super::JailError;

/// Calls that every process of ours may make whatever their arguments: each works on what the
/// process already has.
const ALLOWED: &[i64] = &[
    // Descriptors that it was given.
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_fstat,
    libc::SYS_close,
    libc::SYS_accept4,
    libc::SYS_recvfrom,
    libc::SYS_shutdown,
    // Waiting for them.
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_ppoll,
    libc::SYS_eventfd2,
    // Its memory.
    libc::SYS_brk,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    // Its threads.
    libc::SYS_clone3, // answered ENOSYS by `without_clone3`, so that libc uses clone
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_rseq,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    // Its signals.
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    // Time and randomness.
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_getrandom,
];

/// The same in their older forms, which only this architecture has.
#[cfg(target_arch = "x86_64")]
const ALLOWED_HERE: &[i64] = &[libc::SYS_epoll_wait, libc::SYS_poll];
#[cfg(not(target_arch = "x86_64"))]
const ALLOWED_HERE: &[i64] = &[];

/// `prctl` operations.
const PR_SET_NAME: u64 = 15;
const PR_SET_VMA: u64 = 0x5356_4d41;
/// `clone` flags: a thread must be one, and must not bring a namespace.
const CLONE_THREAD: u64 = 0x0001_0000;
const CLONE_NAMESPACES: u64 = 0x7e02_0080;
/// `fcntl` operations, the same on every architecture that we build for.
const FCNTL: [u64; 5] = [
    1,    // F_GETFD
    2,    // F_SETFD
    3,    // F_GETFL
    4,    // F_SETFL
    1030, // F_DUPFD_CLOEXEC
];
const FIONBIO: u64 = 0x5421;
const AT_EMPTY_PATH: u64 = 0x1000;

/// Calls beyond those that every process of ours may make. The default is none.
#[derive(Clone, Debug, Default)]
pub struct Calls {
    /// Whatever their arguments.
    pub allowed: &'static [i64],
    /// With some arguments: any of the outer lists, all of an inner one.
    pub conditional: Vec<(i64, Vec<Vec<Argument>>)>,
}

impl Calls {
    /// Whether a call gets through, be it with some arguments only.
    pub fn have(&self, call: i64) -> bool {
        self.always().any(|allowed| allowed == call)
            || self.sometimes().any(|(allowed, _)| allowed == call)
    }

    fn always(&self) -> impl Iterator<Item = i64> {
        let all = ALLOWED.iter().chain(ALLOWED_HERE).chain(self.allowed);
        all.copied()
    }

    fn sometimes(&self) -> impl Iterator<Item = (i64, Vec<Vec<Argument>>)> {
        conditional().into_iter().chain(self.conditional.clone())
    }
}

/// Installs the filter. False where the kernel has none.
pub(super) fn filter(calls: &Calls) -> Result<bool, JailError> {
    // The kernel takes the answer of the filter installed last where two deny.
    for program in [without_clone3()?, with_allowed_only(calls)?] {
        match seccompiler::apply_filter_all_threads(&program) {
            Ok(()) => {}
            Err(seccompiler::Error::Seccomp(error) | seccompiler::Error::Prctl(error))
                if is_missing(&error) =>
            {
                return Ok(false);
            }
            Err(error) => return Err(broken(&error)),
        }
    }
    Ok(true)
}

fn is_missing(error: &std::io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EINVAL))
}

fn broken(error: &dyn std::error::Error) -> JailError {
    JailError::Filter(error.to_string())
}

fn without_clone3() -> Result<BpfProgram, JailError> {
    let rules = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    compile(rules, SeccompAction::Allow, errno(libc::ENOSYS))
}

fn with_allowed_only(calls: &Calls) -> Result<BpfProgram, JailError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for (call, allowed) in calls.sometimes() {
        for conditions in allowed {
            let conditions = conditions.into_iter().map(Argument::condition);
            let rule = conditions.collect::<Result<_, _>>();
            let rule = rule.and_then(SeccompRule::new);
            let rule = rule.map_err(|error| broken(&error))?;
            rules.entry(call).or_default().push(rule);
        }
    }
    // A call without a rule of its own is allowed with any arguments.
    rules.extend(calls.always().map(|call| (call, Vec::new())));
    compile(rules, errno(libc::EPERM), SeccompAction::Allow)
}

/// A demand on one argument of a call, which is named by its position from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Argument {
    /// Its low 32 bits are this.
    Is(u8, u64),
    /// It is a null pointer.
    IsNull(u8),
    /// Of the bits in the second, exactly those in the third are set.
    HasBits(u8, u64, u64),
}

impl Argument {
    fn condition(self) -> Result<SeccompCondition, seccompiler::BackendError> {
        let (index, length, operator, value) = match self {
            Self::Is(index, value) => (index, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value),
            Self::IsNull(index) => (index, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0),
            Self::HasBits(index, mask, value) => (
                index,
                SeccompCmpArgLen::Qword,
                SeccompCmpOp::MaskedEq(mask),
                value,
            ),
        };
        SeccompCondition::new(index, length, operator, value)
    }
}

/// Calls that are allowed with some arguments: any of the outer lists, all of an inner one.
fn conditional() -> Vec<(i64, Vec<Vec<Argument>>)> {
    let own_pid = u64::from(std::process::id());
    vec![
        // A thread of this process, never a process.
        (
            libc::SYS_clone,
            vec![vec![Argument::HasBits(
                0,
                CLONE_THREAD | CLONE_NAMESPACES,
                CLONE_THREAD,
            )]],
        ),
        // No owner and no signal for asynchronous input: that would be a way to signal others.
        (
            libc::SYS_fcntl,
            FCNTL
                .iter()
                .map(|command| vec![Argument::Is(1, *command)])
                .collect(),
        ),
        (libc::SYS_ioctl, vec![vec![Argument::Is(1, FIONBIO)]]),
        // How Rust's library, and libc before 2.39, ask for the size of an open file. A path
        // could be named with the same flag: that tells a file's size and times, never its bytes.
        (libc::SYS_statx, vec![vec![Argument::Is(2, AT_EMPTY_PATH)]]),
        (
            libc::SYS_newfstatat,
            vec![vec![Argument::Is(3, AT_EMPTY_PATH)]],
        ),
        // Names for threads and mappings; being dumpable or ptraced stays off.
        (
            libc::SYS_prctl,
            vec![
                vec![Argument::Is(0, PR_SET_NAME)],
                vec![Argument::Is(0, PR_SET_VMA)],
            ],
        ),
        // Reading its own limits.
        (
            libc::SYS_prlimit64,
            vec![vec![Argument::Is(0, 0), Argument::IsNull(2)]],
        ),
        // On a connected socket, to its peer.
        (libc::SYS_sendto, vec![vec![Argument::IsNull(4)]]),
        // abort().
        (libc::SYS_tgkill, vec![vec![Argument::Is(0, own_pid)]]),
    ]
}

fn errno(number: i32) -> SeccompAction {
    SeccompAction::Errno(number.unsigned_abs())
}

fn compile(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    otherwise: SeccompAction,
    matched: SeccompAction,
) -> Result<BpfProgram, JailError> {
    let here = TargetArch::try_from(std::env::consts::ARCH).map_err(|error| broken(&error))?;
    SeccompFilter::new(rules, otherwise, matched, here)
        .and_then(BpfProgram::try_from)
        .map_err(|error| broken(&error))
}

/// Calls that reach other processes, files or the machine: no profile has one of them.
pub const OF_NO_PROCESS: &[i64] = &[
    libc::SYS_socketpair,
    libc::SYS_listen,
    libc::SYS_sendmsg,
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_kill,
    libc::SYS_tkill,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_send_signal,
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_mount,
    libc::SYS_bpf,
    libc::SYS_keyctl,
    libc::SYS_io_uring_setup,
    libc::SYS_userfaultfd,
    libc::SYS_perf_event_open,
    libc::SYS_unshare,
    libc::SYS_setns,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_call_that_reaches_outside_is_on_the_list() {
        let sockets = [libc::SYS_socket, libc::SYS_connect, libc::SYS_bind];
        for call in OF_NO_PROCESS.iter().chain(&sockets).copied() {
            assert!(!Calls::default().have(call), "{call}");
        }
        assert!(Calls::default().have(libc::SYS_read));
        assert!(Calls::default().have(libc::SYS_clone));
    }

    #[test]
    fn a_profiles_calls_are_added_to_those_of_every_process() {
        let calls = Calls {
            allowed: &[libc::SYS_lseek],
            conditional: vec![(libc::SYS_socket, vec![vec![Argument::Is(0, 2)]])],
        };
        for call in [libc::SYS_lseek, libc::SYS_socket, libc::SYS_read] {
            assert!(calls.have(call), "{call}");
        }
        assert!(!calls.have(libc::SYS_bind));
        assert!(with_allowed_only(&calls).unwrap().len() < 4096);
    }

    #[test]
    fn both_filters_compile() {
        assert!(!without_clone3().unwrap().is_empty());
        assert!(with_allowed_only(&Calls::default()).unwrap().len() < 4096);
    }
}
