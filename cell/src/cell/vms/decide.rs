//! What a `PUT` means, given what is there.

use agentvm_cell_api::cell::{VmSpec, VmState};
use agentvm_cell_api::mounts::MountSource;
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

/// Decides. Epoch and attempt name a run; only its live fields may change. Both specifications
/// are without files: their digests say which files are meant.
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
            "VM {uid} has started with another specification: only cpu, logRate, logTotal, the fence deadline and the content of mounted files change while it runs"
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
    spec.grants.limits.log_total_bytes = live.log_total_bytes;
    spec.grants.limits.connections = live.connections;
    spec.grants.limits.egress_bytes = live.egress_bytes;
    spec.grants.limits.egress_bytes_per_second = live.egress_bytes_per_second;
    for (mount, other) in spec.mounts.iter_mut().zip(&other.mounts) {
        if let (
            MountSource::Files { sha256, .. },
            MountSource::Files {
                sha256: other_sha256,
                ..
            },
        ) = (&mut mount.source, &other.source)
        {
            sha256.clone_from(other_sha256);
        }
    }
    spec
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use agentvm_cell_api::mounts::Mount;
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
            mounts: vec![files("/etc/heron", "aa"), empty("/work", Some(7))],
            keep_files: false,
        }
    }

    fn files(path: &str, sha256: &str) -> Mount {
        Mount {
            path: path.to_owned(),
            read_only: true,
            source: MountSource::Files {
                sha256: sha256.to_owned(),
                files: None,
            },
        }
    }

    fn empty(path: &str, size_limit_bytes: Option<u64>) -> Mount {
        Mount {
            path: path.to_owned(),
            read_only: false,
            source: MountSource::EmptyDir {
                size_limit_bytes,
                archive: None,
            },
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
            with(|spec| spec.grants.limits.log_total_bytes = 9),
            with(|spec| spec.grants.limits.connections = 9),
            with(|spec| spec.grants.limits.egress_bytes = 9),
            with(|spec| spec.grants.limits.egress_bytes_per_second = 9),
            with(|spec| spec.mounts[0] = files("/etc/heron", "bb")),
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
            with(|spec| spec.grants.limits.storage_bytes = 1),
            with(|spec| spec.grants.limits.inodes = 1),
            with(|spec| spec.grants.limits.open_files = 1),
            with(|spec| spec.keep_files = true),
            with(|spec| spec.mounts[0] = files("/etc/egret", "aa")),
            with(|spec| spec.mounts[0] = empty("/etc/heron", None)),
            with(|spec| spec.mounts[1] = files("/work", "aa")),
            with(|spec| spec.mounts[1] = empty("/work", Some(8))),
            with(|spec| spec.mounts[1].read_only = true),
            with(|spec| spec.mounts.swap(0, 1)),
            with(|spec| spec.mounts.truncate(1)),
            with(|spec| spec.mounts.push(empty("/tmp", None))),
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
