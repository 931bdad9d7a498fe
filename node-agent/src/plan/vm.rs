//! The next step of one VM.

use std::sync::Arc;

use agentvm_cell_api::cell::{VmSpec, VmState};

use super::{Action, Draft, Start, network};
use crate::border::Warning;
use crate::desired::{Desired, Uid, Want};
use crate::guards::{Guard, is_on};
use crate::observed::{Gone, Observed, Record, Run, StopCause};
use crate::report;
use crate::stop::must_stop;

/// Adds the next step of one VM, and the status write that is due, to the draft.
pub(super) fn plan(
    uid: &Uid,
    want: Option<&Arc<Want>>,
    record: &Record,
    desired: &Desired,
    observed: &Observed,
    draft: &mut Draft,
) {
    if desired.frozen.contains(uid) {
        return;
    }
    if let Some(want) = want {
        tell(want, record, draft);
    }
    if record.busy.is_some() {
        return;
    }
    if let Some(retry) = record.retry
        && !draft.is_due(retry.until)
    {
        return;
    }
    match want {
        None => leave(uid, record, draft),
        Some(want) if want.epoch > record.epoch => renew(uid, want, record, draft),
        // The cell knows more than the watch, which will catch up.
        Some(want) if want.epoch < record.epoch && is_on(Guard::Epoch) => {}
        Some(want) if want.epoch < record.epoch => renew(uid, want, record, draft),
        Some(want) => keep(want, record, observed, draft),
    }
}

/// Writes what changed, unless a write is on its way or has to wait.
fn tell(want: &Arc<Want>, record: &Record, draft: &mut Draft) {
    for at in record
        .pressure
        .due()
        .into_iter()
        .chain(record.limits_pressure.dues())
        .chain(record.network.pressure.dues())
    {
        draft.is_due(at);
    }
    if record.told.busy || want.epoch != record.epoch || want.released {
        return;
    }
    let Some(key) = report::key(want, record, draft.now) else {
        if let Some(at) = report::due(want, record) {
            draft.is_due(at);
        }
        return;
    };
    if record.told.key.as_ref() == Some(&key) {
        return;
    }
    if let Some(retry) = record.told.retry
        && !draft.is_due(retry.until)
    {
        return;
    }
    if let Some(report) = report::report(want, record, draft.now) {
        draft.push(Action::ReportStatus {
            want: Arc::clone(want),
            report: Box::new(report),
        });
    }
}

/// Steps of a VM whose object left the watch: nothing is stopped before a live read.
fn leave(uid: &Uid, record: &Record, draft: &mut Draft) {
    let cause = match record.gone {
        Some(Gone::Deleted) => StopCause::Deleted,
        Some(Gone::Moved) => StopCause::Moved,
        None if !is_on(Guard::LiveRead) => StopCause::Deleted,
        None | Some(Gone::StillHere) => {
            draft.push(Action::ConfirmGone {
                uid: uid.clone(),
                namespace: record.namespace.clone(),
                name: record.name.clone(),
            });
            return;
        }
    };
    if !end(uid, record, cause, draft) && !network::is_held(record) {
        draft.push(Action::DropRecord { uid: uid.clone() });
    }
}

/// Steps of a VM that is assigned to this node once more.
fn renew(uid: &Uid, want: &Want, record: &Record, draft: &mut Draft) {
    if !end(uid, record, StopCause::Moved, draft) {
        draft.push(Action::RenewRecord {
            uid: uid.clone(),
            epoch: want.epoch,
        });
    }
}

/// Stops and forgets; false where nothing is left to do.
fn end(uid: &Uid, record: &Record, cause: StopCause, draft: &mut Draft) -> bool {
    match &record.run {
        Run::Live { state, .. } => {
            if *state != VmState::Stopping {
                stop(uid, record, cause, draft);
            }
            true
        }
        Run::Ended { held: Some(_), .. } => {
            forget(uid, record, draft);
            true
        }
        Run::Ended { held: None, .. } | Run::None => false,
    }
}

fn stop(uid: &Uid, record: &Record, cause: StopCause, draft: &mut Draft) {
    draft.push(Action::StopVm {
        uid: uid.clone(),
        namespace: record.namespace.clone(),
        grace: record.grace,
        cause,
    });
}

fn forget(uid: &Uid, record: &Record, draft: &mut Draft) {
    draft.push(Action::ForgetVm {
        uid: uid.clone(),
        namespace: record.namespace.clone(),
    });
}

/// Steps of a VM that belongs here.
fn keep(want: &Arc<Want>, record: &Record, observed: &Observed, draft: &mut Draft) {
    match &record.run {
        Run::Live {
            state: VmState::Stopping | VmState::Ended,
            ..
        }
        | Run::Ended { held: None, .. } => {}
        Run::Live {
            spec,
            from,
            stopping,
            since,
            ..
        } => {
            if let Some(cause) = stopping.or_else(|| must_stop(want, spec, from.as_deref())) {
                stop(&want.uid, record, cause, draft);
            } else {
                for object in want.objects() {
                    draft.read_content(object, *since, observed);
                }
                update(want, record, spec, draft);
            }
        }
        // The end must be told before the cell may forget it: until then a new agent needs it.
        Run::Ended { held: Some(_), .. } => {
            if is_told(want, record, draft) {
                forget(&want.uid, record, draft);
            }
        }
        Run::None => start(want, record, observed, draft),
    }
}

/// Gives a run what may change while it runs.
fn update(want: &Arc<Want>, record: &Record, spec: &VmSpec, draft: &mut Draft) {
    let files = &record.files;
    if let Some(message) = &files.problem
        && files.warned.as_ref() != Some(message)
    {
        draft.push(Action::Warn {
            want: Arc::clone(want),
            warning: Warning::FilesNotUpdated(message.clone()),
        });
    }
    let Some(new) = live_update(want, record, spec) else {
        return;
    };
    if files.retry.is_none_or(|retry| draft.is_due(retry.until)) {
        draft.push(Action::UpdateLive {
            uid: want.uid.clone(),
            namespace: want.namespace.clone(),
            spec: Box::new(new),
        });
    }
}

/// True where nothing is left to tell, or where telling failed and a next run is due anyway.
fn is_told(want: &Want, record: &Record, draft: &Draft) -> bool {
    if record.told.busy || record.network.is_leaving() {
        return false;
    }
    let key = report::key(want, record, draft.now);
    key.is_none() || key == record.told.key || (!record.finished && record.told.retry.is_some())
}

/// What the VM runs with, with the limits and files that may change while it runs; `None` where
/// they are what they should be.
fn live_update(want: &Want, record: &Record, spec: &VmSpec) -> Option<VmSpec> {
    let wanted = want.grants()?.limits;
    let mut new = spec.clone();
    new.grants.limits.cpu_millicores = wanted.cpu_millicores;
    new.grants.limits.log_rate_bytes_per_second = wanted.log_rate_bytes_per_second;
    new.grants.limits.log_total_bytes = wanted.log_total_bytes;
    new.grants.limits.connections = wanted.connections;
    new.grants.limits.egress_bytes = wanted.egress_bytes;
    new.grants.limits.egress_bytes_per_second = wanted.egress_bytes_per_second;
    for (index, mount) in record.files.batch() {
        if let Some(held) = new.mounts.get_mut(index) {
            held.clone_from(mount);
        }
    }
    (new != *spec).then_some(new)
}

/// The next step towards a run.
fn start(want: &Arc<Want>, record: &Record, observed: &Observed, draft: &mut Draft) {
    if record.finished || want.spec.suspend || want.evict.is_some() || want.released {
        return;
    }
    if let Some(at) = record.not_before
        && !draft.is_due(at)
    {
        return;
    }
    let (Some(grants), Some(source)) = (want.grants(), &want.source) else {
        return;
    };
    let Some(module) = &record.module else {
        draft.ensure_module(source, &want.namespace, observed);
        // The cell starts while the module is fetched.
        draft.ensure_cell(&want.namespace, observed);
        return;
    };
    if record.module_lost {
        draft.ensure_module(&source.pinned(module), &want.namespace, observed);
        return;
    }
    if draft.ensure_cell(&want.namespace, observed)
        && network::are_given(want, record, observed, draft)
    {
        draft.push(Action::StartVm(Box::new(Start {
            want: Arc::clone(want),
            attempt: record.next_attempt,
            module: module.clone(),
            grants: *grants,
        })));
    }
}
