//! What a `PUT` means, given what is there.

use agentvm_cell_api::cell::{VmSpec, VmState};
use agentvm_cell_api::problem::{Problem, Reason};

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Nothing is there.
    Start,
    /// The same run is there, with the same specification, or it has ended.
    Same,
    /// The same run is there and a live field differs.
    Update,
}

/// Decides. Epoch and attempt name a run; only its live fields may change.
pub(super) fn decide(
    uid: &str,
    held: Option<(&VmSpec, VmState)>,
    asked: &VmSpec,
) -> Result<Decision, Problem> {
    let Some((held, state)) = held else {
        return Ok(Decision::Start);
    };
    let conflict = |message| {
        Err(Problem {
            reason: Reason::Conflict,
            message,
        })
    };
    if (held.epoch, held.attempt) != (asked.epoch, asked.attempt) {
        return conflict(format!(
            "VM {uid} is held by epoch {} attempt {}, not epoch {} attempt {}: DELETE it first",
            held.epoch, held.attempt, asked.epoch, asked.attempt
        ));
    }
    if with_live_fields_of(held.clone(), asked) != *asked {
        return conflict(format!(
            "VM {uid} has started with another specification: only cpu, logRate and the fence deadline change while it runs"
        ));
    }
    Ok(if held == asked || state == VmState::Ended {
        Decision::Same
    } else {
        Decision::Update
    })
}

fn with_live_fields_of(mut spec: VmSpec, other: &VmSpec) -> VmSpec {
    let live = other.grants.limits;
    spec.fence_deadline_boottime_ms = other.fence_deadline_boottime_ms;
    spec.grants.limits.cpu_millicores = live.cpu_millicores;
    spec.grants.limits.log_rate_bytes_per_second = live.log_rate_bytes_per_second;
    spec
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use agentvm_cell_api::warden::ModuleKind;
    use agentvm_policy::Grants;

    use super::*;

    fn spec() -> VmSpec {
        VmSpec {
            name: "heron".to_owned(),
            epoch: 4,
            attempt: 2,
            fence_deadline_boottime_ms: None,
            module: "00".repeat(32),
            kind: ModuleKind::Core,
            args: vec!["heron".to_owned()],
            env: BTreeMap::new(),
            grants: Grants::default(),
        }
    }

    fn with(change: impl FnOnce(&mut VmSpec)) -> VmSpec {
        let mut spec = spec();
        change(&mut spec);
        spec
    }

    #[test]
    fn the_same_run_is_updated_in_its_live_fields_only() {
        let live = [
            with(|spec| spec.fence_deadline_boottime_ms = Some(9)),
            with(|spec| spec.grants.limits.cpu_millicores = 9),
            with(|spec| spec.grants.limits.log_rate_bytes_per_second = 9),
        ];
        let held = spec();
        for asked in live {
            let running = decide("u", Some((&held, VmState::Running)), &asked);
            assert_eq!(running, Ok(Decision::Update));
            let ended = decide("u", Some((&held, VmState::Ended)), &asked);
            assert_eq!(ended, Ok(Decision::Same));
        }
        assert_eq!(
            decide("u", Some((&held, VmState::Running)), &held),
            Ok(Decision::Same)
        );
        assert_eq!(decide("u", None, &held), Ok(Decision::Start));
    }

    #[test]
    fn another_run_or_another_specification_is_a_conflict() {
        let others = [
            with(|spec| spec.epoch = 3),
            with(|spec| spec.epoch = 5),
            with(|spec| spec.attempt = 1),
            with(|spec| spec.attempt = 3),
            with(|spec| spec.name = "egret".to_owned()),
            with(|spec| spec.module = "11".repeat(32)),
            with(|spec| spec.kind = ModuleKind::Component),
            with(|spec| spec.args.clear()),
            with(|spec| {
                spec.env.insert("A".to_owned(), "b".to_owned());
            }),
            with(|spec| spec.grants.limits.memory_bytes = 1),
            with(|spec| spec.grants.limits.fuel = Some(1)),
            with(|spec| spec.grants.limits.timeout_ms = Some(1)),
        ];
        let held = spec();
        for asked in others {
            for state in [
                VmState::Starting,
                VmState::Running,
                VmState::Stopping,
                VmState::Ended,
            ] {
                let refused = decide("u", Some((&held, state)), &asked).unwrap_err();
                assert_eq!(refused.reason, Reason::Conflict);
            }
        }
    }
}
