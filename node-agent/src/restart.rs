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
    /// Nothing: the VM has ended for good.
    Nothing,
}

/// What follows a run that ended for `reason` after it was (or was not) told to stop.
///
/// A run that was told to stop ends by that, whatever it makes of its grace.
pub fn next(policy: RestartPolicy, reason: EndReason, told_to_stop: Option<StopCause>) -> Next {
    if told_to_stop.is_some() || reason == EndReason::Stopped {
        return Next::Anew;
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
}
