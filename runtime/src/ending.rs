//! Says how a run ended: a reason from the closed list and one sentence for a person.

use agentvm_policy::{EndReason, Limits};

use crate::handle::Stop;
use crate::meter::Outcome;
use crate::trap::Failure;
use crate::usage::Usage;

/// How one run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// The reason.
    pub reason: EndReason,
    /// The guest's exit code, where it exited by itself.
    pub exit_code: Option<i32>,
    /// One sentence, at most 1 KiB, without control characters, that names the field to
    /// raise where there is one.
    pub message: String,
}

/// What is known at the end besides the outcome.
pub(crate) struct Facts<'a> {
    pub(crate) limits: &'a Limits,
    pub(crate) usage: &'a Usage,
    /// The guest asked for memory above its limit at least once.
    pub(crate) memory_was_refused: bool,
    /// The stop that was asked for before it ended.
    pub(crate) stop: Option<Stop>,
}

/// Decides the ending.
///
/// A guest that exits by itself after it was asked to stop ends for the reason of the stop,
/// with its exit code: it left because it was asked to. Its own failures keep their reason.
pub(crate) fn decide(outcome: Outcome, facts: &Facts<'_>) -> Ending {
    match outcome {
        Outcome::Returned(Ok(())) => exited(0, facts),
        Outcome::Returned(Err(Failure::Exit(code))) => exited(code, facts),
        Outcome::Returned(Err(Failure::OutOfFuel)) => out_of_fuel(facts),
        Outcome::Returned(Err(Failure::Trap(what))) if facts.memory_was_refused => {
            memory_limit(&what, facts)
        }
        Outcome::Returned(Err(Failure::Trap(what))) => {
            ending(EndReason::Trap, format!("the program trapped: {what}"))
        }
        Outcome::Returned(Err(Failure::Arguments(bytes))) => too_many_arguments(bytes, facts),
        Outcome::Returned(Err(Failure::NoSlot(what))) => ending(
            EndReason::HostError,
            format!("the host had no room to start the program: {what}"),
        ),
        Outcome::Stopped(reason) => ending(
            reason,
            format!(
                "{} and had not exited when its grace was over",
                asked(reason)
            ),
        ),
        Outcome::TimedOut => timed_out(facts),
        Outcome::Panicked => ending(
            EndReason::HostError,
            "the host failed while it served the program; this is a bug of the platform".to_owned(),
        ),
    }
}

fn exited(code: i32, facts: &Facts<'_>) -> Ending {
    let (reason, mut message) = match (facts.stop, code) {
        (Some(stop), _) => {
            let asked = asked(stop.reason);
            (stop.reason, format!("{asked} and exited with code {code}"))
        }
        (None, 0) => (
            EndReason::Completed,
            "the program exited with code 0".to_owned(),
        ),
        (None, _) => (
            EndReason::Error,
            format!("the program exited with code {code}"),
        ),
    };
    if code != 0 && facts.memory_was_refused {
        message.push_str("; it had been refused memory above ");
        message.push_str(&memory_sentence(facts));
    }
    Ending {
        exit_code: Some(code),
        ..ending(reason, message)
    }
}

fn asked(reason: EndReason) -> &'static str {
    match reason {
        EndReason::Evicted => "the program was evicted",
        EndReason::Fenced => "the program was fenced off because its node lost contact",
        EndReason::DeadlineExceeded => "the program was stopped at its deadline",
        EndReason::Stopped
        | EndReason::Completed
        | EndReason::Error
        | EndReason::Trap
        | EndReason::OutOfFuel
        | EndReason::MemoryLimit
        | EndReason::HostError => "the program was asked to stop",
    }
}

fn out_of_fuel(facts: &Facts<'_>) -> Ending {
    let limit = facts.limits.fuel.unwrap_or(u64::MAX);
    ending(
        EndReason::OutOfFuel,
        format!("the program used up its {limit} units of fuel; raise spec.limits.fuel"),
    )
}

fn memory_limit(what: &str, facts: &Facts<'_>) -> Ending {
    let sentence = memory_sentence(facts);
    ending(
        EndReason::MemoryLimit,
        format!("the program failed ({what}) after it was refused memory above {sentence}"),
    )
}

fn too_many_arguments(bytes: u64, facts: &Facts<'_>) -> Ending {
    let limit = facts.limits.memory_bytes;
    ending(
        EndReason::MemoryLimit,
        format!(
            "the program did not start: its arguments and environment take {bytes} bytes of its \
             limit of {limit}; shorten them or raise spec.limits.memory"
        ),
    )
}

fn memory_sentence(facts: &Facts<'_>) -> String {
    format!(
        "its limit of {} bytes (it held {} at most); raise spec.limits.memory",
        facts.limits.memory_bytes, facts.usage.memory_peak_bytes
    )
}

fn timed_out(facts: &Facts<'_>) -> Ending {
    let limit = facts.limits.timeout_ms.unwrap_or_default();
    ending(
        EndReason::DeadlineExceeded,
        format!("the program ran longer than its {limit} ms; raise spec.limits.timeout"),
    )
}

fn ending(reason: EndReason, message: String) -> Ending {
    Ending {
        reason,
        exit_code: None,
        message,
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    fn decide_with(outcome: Outcome, stop: Option<EndReason>, refused: bool) -> Ending {
        let limits = Limits {
            memory_bytes: 65_536,
            fuel: Some(7_000),
            timeout_ms: Some(250),
            ..Limits::default()
        };
        let usage = Usage {
            memory_peak_bytes: 61_000,
            ..Usage::default()
        };
        let stop = stop.map(|reason| Stop {
            reason,
            at: Instant::now(),
        });
        decide(
            outcome,
            &Facts {
                limits: &limits,
                usage: &usage,
                memory_was_refused: refused,
                stop,
            },
        )
    }

    fn failed(failure: Failure) -> Outcome {
        Outcome::Returned(Err(failure))
    }

    #[test]
    fn every_outcome_has_its_reason() {
        let trap = || failed(Failure::Trap("unreachable".to_owned()));
        for (outcome, stop, refused, reason, code) in [
            (
                Outcome::Returned(Ok(())),
                None,
                false,
                EndReason::Completed,
                Some(0),
            ),
            (
                failed(Failure::Exit(0)),
                None,
                false,
                EndReason::Completed,
                Some(0),
            ),
            (
                failed(Failure::Exit(3)),
                None,
                false,
                EndReason::Error,
                Some(3),
            ),
            (
                failed(Failure::Exit(0)),
                Some(EndReason::Evicted),
                false,
                EndReason::Evicted,
                Some(0),
            ),
            (
                failed(Failure::Exit(9)),
                Some(EndReason::Stopped),
                false,
                EndReason::Stopped,
                Some(9),
            ),
            (trap(), None, false, EndReason::Trap, None),
            (
                trap(),
                Some(EndReason::Stopped),
                false,
                EndReason::Trap,
                None,
            ),
            (trap(), None, true, EndReason::MemoryLimit, None),
            (
                failed(Failure::OutOfFuel),
                None,
                true,
                EndReason::OutOfFuel,
                None,
            ),
            (
                Outcome::TimedOut,
                None,
                false,
                EndReason::DeadlineExceeded,
                None,
            ),
            (
                Outcome::Stopped(EndReason::Fenced),
                None,
                false,
                EndReason::Fenced,
                None,
            ),
            (Outcome::Panicked, None, false, EndReason::HostError, None),
            (
                failed(Failure::NoSlot("full".to_owned())),
                None,
                false,
                EndReason::HostError,
                None,
            ),
        ] {
            let ending = decide_with(outcome.clone(), stop, refused);
            assert_eq!(
                (ending.reason, ending.exit_code),
                (reason, code),
                "{outcome:?} {stop:?}"
            );
        }
    }

    #[test]
    fn a_limits_message_names_the_limit_and_the_field_to_raise() {
        let trap = || failed(Failure::Trap("unreachable".to_owned()));
        for (outcome, refused, parts) in [
            (
                failed(Failure::OutOfFuel),
                false,
                ["7000", "spec.limits.fuel"],
            ),
            (
                failed(Failure::Arguments(99_000)),
                true,
                [
                    "take 99000 bytes of its limit of 65536",
                    "spec.limits.memory",
                ],
            ),
            (
                trap(),
                true,
                ["65536 bytes (it held 61000 at most)", "spec.limits.memory"],
            ),
            (
                failed(Failure::Exit(1)),
                true,
                ["code 1", "spec.limits.memory"],
            ),
            (Outcome::TimedOut, false, ["250 ms", "spec.limits.timeout"]),
        ] {
            let message = decide_with(outcome, None, refused).message;
            for part in parts {
                assert!(message.contains(part), "{message:?} lacks {part:?}");
            }
        }
    }
}
