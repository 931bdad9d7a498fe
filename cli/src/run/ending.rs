//! The end of a run: what is said, and the exit code.

use std::process::ExitCode;
use std::sync::Arc;

use agentvm_crds::AgentVMStatus;
use agentvm_crds::agentvm::{ExitStatus, Fault, Phase};
use agentvm_policy::EndReason;
use serde::Serialize;

use super::board::{Board, condition};
use super::stage::Stage;

/// Everything went well but `--copy-out`.
const NOT_COPIED: u8 = 123;
/// The host failed.
const HOST_FAILED: u8 = 125;
/// Refused, or could not start.
pub(super) const REFUSED: u8 = 126;
/// Told to stop by SIGINT.
pub(super) const INTERRUPTED: u8 = 130;
/// Told to stop by SIGTERM.
pub(super) const TERMINATED: u8 = 143;

/// Why the run is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Every VM ended for good.
    ByThemselves,
    /// A signal said so; its exit code.
    Told(u8),
    /// The warden ended.
    WardenDied,
}

/// How a run ended.
#[derive(Debug)]
pub(super) struct End {
    /// The last status of every VM.
    pub(super) board: Arc<Board>,
    /// Why it is over.
    pub(super) ending: Ending,
    /// One sentence for each `--copy-out` that failed, for each VM in the order of the files.
    pub(super) not_copied: Vec<Vec<String>>,
}

/// Everything there is to say.
#[derive(Debug)]
pub(super) struct Summary {
    ending: Ending,
    /// In the order of the files.
    pub(super) vms: Vec<VmSummary>,
}

/// How one VM ended.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct VmSummary {
    namespace: String,
    name: String,
    status: AgentVMStatus,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_copied: Vec<String>,
}

impl Summary {
    /// The summary of a run.
    pub(super) fn of(stage: &Stage, end: &End) -> Self {
        let End {
            board,
            ending,
            not_copied,
        } = end;
        let vms = stage.vms.iter().zip(not_copied);
        let vms = vms.map(|(vm, not_copied)| VmSummary {
            namespace: vm.metadata.namespace.clone().unwrap_or_default(),
            name: vm.metadata.name.clone().unwrap_or_default(),
            status: board.status(vm.metadata.uid.as_deref().unwrap_or_default()),
            not_copied: not_copied.clone(),
        });
        Self {
            ending: *ending,
            vms: vms.collect(),
        }
    }

    /// One line for each VM that did not end well.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.vms.iter().flat_map(VmSummary::lines).collect();
        if self.ending == Ending::WardenDied {
            lines.push("agentvm: the warden ended before the VMs did".to_owned());
        }
        lines
    }

    /// The exit code: of several VMs, the first that is not 0.
    pub(super) fn exit_code(&self) -> ExitCode {
        match self.ending {
            Ending::Told(code) => ExitCode::from(code),
            Ending::WardenDied => ExitCode::from(HOST_FAILED),
            Ending::ByThemselves => {
                let codes = self.vms.iter().map(|vm| code(&vm.status));
                let well = if self.vms.iter().all(|vm| vm.not_copied.is_empty()) {
                    0
                } else {
                    NOT_COPIED
                };
                ExitCode::from(codes.into_iter().find(|code| *code != 0).unwrap_or(well))
            }
        }
    }
}

impl VmSummary {
    fn lines(&self) -> impl Iterator<Item = String> {
        let Self {
            namespace, name, ..
        } = self;
        let not_copied = self.not_copied.iter();
        let not_copied = not_copied.map(move |why| format!("agentvm: {namespace}/{name}: {why}"));
        self.line().into_iter().chain(not_copied)
    }

    fn line(&self) -> Option<String> {
        let Self {
            namespace,
            name,
            status,
            not_copied: _,
        } = self;
        let about = match status.phase? {
            Phase::Failed => condition(status, "Failed"),
            Phase::BackOff => {
                condition(status, "ImageReady").filter(|condition| condition.status == "False")
            }
            Phase::Pending
            | Phase::Starting
            | Phase::Running
            | Phase::Suspended
            | Phase::Complete => None,
        }?;
        let exit = status.exit.as_ref();
        let doing = exit
            .filter(|exit| exit.reason == about.reason)
            .map(|exit| doing(exit, &about.message));
        Some(format!(
            "agentvm: {namespace}/{name}: {}: {}{}",
            about.reason,
            about.message,
            doing.unwrap_or_default()
        ))
    }
}

/// Whose doing an end is, and what to raise where `message` does not say it.
fn doing(exit: &ExitStatus, message: &str) -> String {
    let fault = exit.fault.map(|fault| match fault {
        Fault::Nobody => "nobody's doing",
        Fault::Program => "the program's doing",
        Fault::Platform => "the platform's doing",
    });
    let raise = exit
        .field
        .as_ref()
        .filter(|field| !message.contains(field.as_str()))
        .map(|field| format!("raise {field}"));
    let parts: Vec<String> = fault.map(str::to_owned).into_iter().chain(raise).collect();
    if parts.is_empty() {
        String::new()
    } else {
        format!(" ({})", parts.join("; "))
    }
}

/// The exit code that a VM's final status stands for.
fn code(status: &AgentVMStatus) -> u8 {
    match (&status.exit, status.phase) {
        (_, Some(Phase::Complete | Phase::Suspended)) => 0,
        (Some(exit), Some(Phase::Failed)) => {
            let reason = EndReason::ALL
                .into_iter()
                .find(|reason| reason.as_str() == exit.reason);
            reason.map_or(HOST_FAILED, |reason| code_of(reason, exit.code))
        }
        (None, Some(Phase::Failed)) | (_, Some(Phase::BackOff)) => REFUSED,
        (_, Some(Phase::Pending | Phase::Starting | Phase::Running) | None) => HOST_FAILED,
    }
}

/// The exit code of one end. What the host ends has a code that shells know from elsewhere.
fn code_of(reason: EndReason, own: Option<i32>) -> u8 {
    match reason {
        EndReason::Completed => 0,
        // Like any process: the low eight bits, and never a failure that looks like success.
        EndReason::Error => own
            .map_or(1, |own| u8::try_from(own & 0xff).unwrap_or(1))
            .max(1),
        EndReason::Trap => 134,
        EndReason::MemoryLimit => 137,
        EndReason::OutOfFuel => 152,
        EndReason::DeadlineExceeded => 124,
        EndReason::Stopped => TERMINATED,
        EndReason::Evicted | EndReason::Fenced | EndReason::HostError => HOST_FAILED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_says_whose_doing_it_is_and_what_to_raise_once() {
        let out_of_fuel = ExitStatus::of(EndReason::OutOfFuel);
        assert_eq!(
            doing(&out_of_fuel, "used up"),
            " (the program's doing; raise spec.limits.fuel)"
        );
        assert_eq!(
            doing(&out_of_fuel, "used up; raise spec.limits.fuel"),
            " (the program's doing)"
        );
        let failed = ExitStatus::of(EndReason::HostError);
        assert_eq!(doing(&failed, "m"), " (the platform's doing)");
        assert_eq!(doing(&ExitStatus::default(), "m"), "");
    }

    #[test]
    fn every_end_has_its_exit_code() {
        for (reason, own, expected) in [
            (EndReason::Completed, Some(0), 0),
            (EndReason::Error, Some(3), 3),
            (EndReason::Error, Some(256), 1),
            (EndReason::Error, Some(-1), 255),
            (EndReason::Error, None, 1),
            (EndReason::Trap, None, 134),
            (EndReason::OutOfFuel, None, 152),
            (EndReason::MemoryLimit, None, 137),
            (EndReason::DeadlineExceeded, None, 124),
            (EndReason::HostError, None, 125),
        ] {
            assert_eq!(code_of(reason, own), expected, "{reason:?} {own:?}");
        }
    }
}
