//! What follows the end of a run.

use agentvm_crds::agentvm::RestartPolicy;
use agentvm_policy::EndReason;

use crate::observed::StopCause;

/// What follows the end of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Another run after the back-off, counted as a restart.
    Again,
    /// Another run at once (or when it is resumed), not counted.
    Anew,
    /// Another run, where the operator places it next.
    Elsewhere,
    /// Nothing: the VM has ended for good.
    Nothing,
}

/// What follows a run that ended for `reason` after it was (or was not) told to stop.
///
/// A run that was told to stop ends by that, whatever it makes of its grace.
pub fn next(policy: RestartPolicy, reason: EndReason, told_to_stop: Option<StopCause>) -> Next {
    match told_to_stop {
        Some(StopCause::Evicted) if policy == RestartPolicy::Never => return Next::Nothing,
        Some(StopCause::Evicted) => return Next::Elsewhere,
        Some(
            StopCause::Changed
            | StopCause::Suspended
            | StopCause::Refused
            | StopCause::Deleted
            | StopCause::Moved,
        ) => return Next::Anew,
        None if reason == EndReason::Stopped => return Next::Anew,
        None => {}
    }
    match (policy, reason) {
        (RestartPolicy::OnFailure, EndReason::Completed) | (RestartPolicy::Never, _) => {
            Next::Nothing
        }
        (RestartPolicy::Always | RestartPolicy::OnFailure, _) => Next::Again,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restart_policies_decide_by_how_the_run_ended() {
        for reason in EndReason::ALL {
            if reason == EndReason::Stopped {
                continue;
            }
            assert_eq!(next(RestartPolicy::Never, reason, None), Next::Nothing);
            assert_eq!(next(RestartPolicy::Always, reason, None), Next::Again);
            let on_failure = if reason == EndReason::Completed {
                Next::Nothing
            } else {
                Next::Again
            };
            assert_eq!(next(RestartPolicy::OnFailure, reason, None), on_failure);
        }
    }

    #[test]
    fn a_run_that_was_told_to_stop_is_never_counted() {
        for policy in [
            RestartPolicy::Never,
            RestartPolicy::OnFailure,
            RestartPolicy::Always,
        ] {
            for reason in EndReason::ALL {
                assert_eq!(next(policy, reason, Some(StopCause::Changed)), Next::Anew);
            }
            assert_eq!(next(policy, EndReason::Stopped, None), Next::Anew);
        }
    }

    #[test]
    fn a_run_that_had_to_leave_goes_on_elsewhere_unless_it_may_run_once_only() {
        for reason in EndReason::ALL {
            let next = |policy| next(policy, reason, Some(StopCause::Evicted));
            assert_eq!(next(RestartPolicy::Always), Next::Elsewhere);
            assert_eq!(next(RestartPolicy::OnFailure), Next::Elsewhere);
            assert_eq!(next(RestartPolicy::Never), Next::Nothing);
        }
    }
}
