//! One compiler process for one module: started, watched, and killed when it takes too long.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use agentvm_cell_api::problem::{Problem, Reason};
use agentvm_cell_api::warden::{JailLevel, ModuleKind};
use agentvm_policy::budget;
use tokio::process::{Child, Command};

use super::code::{Code, Draft, Sealed};
use super::compilers::Place;
use super::modules::internal;
use super::{Settings, jail_flag, oom};
use crate::control::{self, Channel, FromCompiler, ToCompiler};
use crate::guards::{Guard, is_on};

/// What one compilation may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    wall: Duration,
    memory_mib: u64,
    max_code_bytes: u64,
    require_jail: JailLevel,
}

impl Limits {
    /// The limits in the settings.
    pub(super) fn of(settings: &Settings) -> Self {
        Self {
            wall: Duration::from_secs(settings.compile_timeout_seconds),
            memory_mib: settings.compile_memory_mib,
            max_code_bytes: settings.max_code_mib << 20,
            require_jail: settings.require_jail,
        }
    }
}

/// How far a compiler got before its channel closed.
#[derive(Debug)]
enum Progress {
    Started,
    Jailed,
    Compiled(ModuleKind),
    Refused(Problem),
    Failed(String),
}

/// Who ended a compiler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    /// It was done, or ended by itself.
    Itself,
    /// It took too long.
    Late,
    /// The node was short of memory.
    Shed,
}

/// Compiles `wasm` in a process of its own. Must run on the warden's main thread.
pub(super) async fn compile(limits: &Limits, wasm: Sealed, place: &Place) -> Result<Code, Problem> {
    let failed =
        |error: &dyn std::fmt::Display| internal(format!("the compiler can't run: {error}"));
    let output = Draft::new("compiled").map_err(|error| failed(&error))?;
    let (ours, theirs) = control::pair().map_err(|error| failed(&error))?;
    let cpu_seconds = cpu_seconds(wasm.bytes());
    let mut child = spawn(limits, cpu_seconds, theirs).map_err(|error| failed(&error))?;
    let pid = child.id().ok_or_else(|| failed(&"it ended at once"))?;
    oom::compiler_goes_first(pid);
    let listed = place.list(pid);
    let channel = Channel::new(ours).map_err(|error| failed(&error))?;
    channel
        .send(&ToCompiler::Compile, &[wasm.as_fd(), output.as_fd()])
        .await
        .map_err(|error| failed(&error))?;
    let mut progress = Progress::Started;
    let stop = tokio::select! {
        () = watch(&channel, &mut progress) => Stop::Itself,
        () = tokio::time::sleep(limits.wall) => Stop::Late,
        () = listed.shed.cancelled() => Stop::Shed,
    };
    // Nothing it does matters any more, and only a dead process has no mapping of its output.
    let _already_gone = child.start_kill();
    let status = child.wait().await.map_err(|error| failed(&error));
    drop(listed);
    let status = status?;
    let kind = verdict(progress, stop, status, (limits, cpu_seconds))?;
    let sealed = output.seal().map_err(|error| failed(&error))?;
    if sealed.bytes() > limits.max_code_bytes {
        return Err(over(&format!(
            "its code has {} MiB, over the limit of {} MiB",
            sealed.bytes() >> 20,
            limits.max_code_bytes >> 20
        )));
    }
    Ok(Code { kind, sealed })
}

fn spawn(limits: &Limits, cpu_seconds: u64, control: OwnedFd) -> std::io::Result<Child> {
    Command::new("/proc/self/exe")
        .arg0("agentvm-cell")
        .arg("compile")
        .args(["--memory-mib", &limits.memory_mib.to_string()])
        .args(["--cpu-seconds", &cpu_seconds.to_string()])
        .args(["--require-jail", jail_flag(limits.require_jail)])
        .env_clear()
        .stdin(Stdio::from(control))
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
}

/// The CPU time of a compiler, which grows with the module: a small one that takes long is a bomb.
fn cpu_seconds(module_bytes: u64) -> u64 {
    module_bytes
        .div_ceil(1 << 20)
        .saturating_mul(budget::COMPILE_CPU_PER_MIB.seconds())
        .clamp(
            budget::COMPILE_CPU_LEAST.seconds(),
            budget::COMPILE_CPU_MOST.seconds(),
        )
}

/// Follows a compiler until it has said how it went, or is gone.
async fn watch(channel: &Channel, progress: &mut Progress) {
    loop {
        *progress = match channel.receive().await {
            Ok(Some((FromCompiler::Jailed, _))) => Progress::Jailed,
            Ok(Some((FromCompiler::Compiled { kind }, _))) => Progress::Compiled(kind),
            Ok(Some((FromCompiler::Refused(problem), _))) => Progress::Refused(problem),
            Ok(Some((FromCompiler::Failed { message }, _))) => Progress::Failed(message),
            Ok(None) | Err(_) => return,
        };
        match progress {
            Progress::Started | Progress::Jailed => {}
            Progress::Compiled(_) | Progress::Refused(_) | Progress::Failed(_) => return,
        }
    }
}

/// Whose fault an end is: once jailed, a compiler does nothing but work on the module.
fn verdict(
    progress: Progress,
    stop: Stop,
    status: ExitStatus,
    (limits, cpu_seconds): (&Limits, u64),
) -> Result<ModuleKind, Problem> {
    match progress {
        Progress::Compiled(kind) => Ok(kind),
        Progress::Refused(problem) => Err(Problem {
            message: clean(&problem.message),
            ..problem
        }),
        Progress::Failed(message) => Err(internal(format!(
            "the compiler can't run: {}",
            clean(&message)
        ))),
        Progress::Started | Progress::Jailed if stop == Stop::Shed => Err(Problem {
            reason: Reason::Exhausted,
            message: "the node ran short of memory while it compiled the module: try again later"
                .to_owned(),
        }),
        Progress::Jailed if stop == Stop::Late => Err(over(&format!(
            "it takes longer than {} s",
            limits.wall.as_secs()
        ))),
        Progress::Jailed if status.signal() == Some(libc::SIGXCPU) => Err(over(&format!(
            "it takes more than {cpu_seconds} s of CPU time, which is what a module of its size gets"
        ))),
        Progress::Jailed => Err(over(&format!(
            "it takes more than {} MiB of memory (the compiler ended by {status})",
            limits.memory_mib
        ))),
        Progress::Started => Err(internal(format!(
            "the compiler ended by {status} before it began"
        ))),
    }
}

/// What a compiler says, whoever speaks for it by now.
fn clean(message: &str) -> String {
    if !is_on(Guard::CompilersWords) {
        return message.to_owned();
    }
    agentvm_runtime::sanitise(message, budget::MODULE_MESSAGE_CHARS.usize())
}

fn over(what: &str) -> Problem {
    Problem {
        reason: Reason::CompileLimit,
        message: format!("the module can't be compiled within this node's limits: {what}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guards::switch_off;

    #[test]
    fn cpu_time_grows_with_the_module_between_two_bounds() {
        for (bytes, seconds) in [
            (0, 10),
            (15_000, 10),
            (1 << 20, 10),
            ((1 << 20) + 1, 20),
            (5 << 20, 50),
            (6 << 20, 60),
            (128 << 20, 60),
            (u64::MAX, 60),
        ] {
            assert_eq!(cpu_seconds(bytes), seconds, "{bytes} bytes");
        }
    }

    /// What is passed on where a compiler says this.
    fn said(message: &str) -> String {
        let limits = Limits {
            wall: Duration::from_secs(3),
            memory_mib: 64,
            max_code_bytes: 1,
            require_jail: JailLevel::Full,
        };
        let refused = Progress::Refused(Problem {
            reason: Reason::InvalidModule,
            message: message.to_owned(),
        });
        let ended = ExitStatus::from_raw(0);
        let refused = verdict(refused, Stop::Itself, ended, (&limits, 10)).unwrap_err();
        assert_eq!(refused.reason, Reason::InvalidModule);
        refused.message
    }

    #[test]
    fn e16_what_a_compiler_says_is_cut_and_clean_even_where_a_module_speaks_for_it() {
        assert_eq!(said("a\u{1b}[31mb\r\n\u{202e}c"), "a?[31mb???c");
        let long = said(&"x".repeat(16_000));
        assert_eq!(long.chars().count(), budget::MODULE_MESSAGE_CHARS.usize());
    }

    #[test]
    fn e16_mutant_what_a_compiler_says_reaches_the_asker_as_it_is() {
        let hostile = "\u{1b}[2J".repeat(1_000);
        assert_eq!(
            switch_off(Guard::CompilersWords, || said(&hostile)),
            hostile
        );
    }

    #[test]
    fn an_end_is_the_modules_fault_only_once_the_compiler_is_jailed() {
        let limits = Limits {
            wall: Duration::from_secs(3),
            memory_mib: 64,
            max_code_bytes: 1,
            require_jail: JailLevel::Full,
        };
        let killed = ExitStatus::from_raw(libc::SIGKILL);
        let reason = |progress, stop| {
            verdict(progress, stop, killed, (&limits, 10))
                .unwrap_err()
                .reason
        };
        assert_eq!(reason(Progress::Started, Stop::Late), Reason::Internal);
        assert_eq!(
            reason(Progress::Failed("no jail".to_owned()), Stop::Itself),
            Reason::Internal
        );
        assert_eq!(reason(Progress::Jailed, Stop::Late), Reason::CompileLimit);
        assert_eq!(reason(Progress::Jailed, Stop::Itself), Reason::CompileLimit);
        assert_eq!(reason(Progress::Jailed, Stop::Shed), Reason::Exhausted);
        assert_eq!(reason(Progress::Started, Stop::Shed), Reason::Exhausted);
        assert_eq!(
            verdict(
                Progress::Compiled(ModuleKind::Core),
                Stop::Itself,
                killed,
                (&limits, 10)
            ),
            Ok(ModuleKind::Core)
        );
        for (signal, stop, part) in [
            (libc::SIGXCPU, Stop::Itself, "10 s of CPU time"),
            (libc::SIGABRT, Stop::Itself, "64 MiB of memory"),
            (libc::SIGKILL, Stop::Late, "longer than 3 s"),
        ] {
            let status = ExitStatus::from_raw(signal);
            let refused = verdict(Progress::Jailed, stop, status, (&limits, 10)).unwrap_err();
            assert!(refused.message.contains(part), "{}", refused.message);
        }
    }
}
