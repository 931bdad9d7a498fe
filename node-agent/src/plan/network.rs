//! What the gateway is told: the rules of each VM that has some, before its start and while it runs.

use std::sync::Arc;

use super::{Action, Draft, PutRules};
use crate::border::Warning;
use crate::desired::{Ruling, Uid, Want};
use crate::egress::Terms;
use crate::guards::{Guard, is_on};
use crate::mounts::Contents;
use crate::observed::{Observed, Record, Run, Verb};

/// Adds what the gateway must be told of one VM, and what is to be told of its requests.
///
/// Rules for a start are asked for by [`are_given`], as its last step.
pub(super) fn plan(
    uid: &Uid,
    want: Option<&Arc<Want>>,
    record: &Record,
    observed: &Observed,
    draft: &mut Draft,
) {
    if let Some(want) = want {
        warn(want, record, draft);
    }
    if record.network.busy {
        return;
    }
    if must_drop(uid, want, record, observed) {
        if is_due(record, draft) {
            draft.push(Action::DropRules { uid: uid.clone() });
        }
        return;
    }
    // While the gateway is away, those that run are left alone: it asks for their rules itself when
    // it is back.
    if let Some(want) = want
        && let Some(terms) = &want.terms
        && record.is_live()
        && observed.gateway.is_some()
    {
        put(
            want,
            terms,
            record,
            record.network.contents(),
            observed,
            draft,
        );
    }
}

/// True where a VM may start, as far as the network goes; else its rules are on their way.
pub(super) fn are_given(
    want: &Arc<Want>,
    record: &Record,
    observed: &Observed,
    draft: &mut Draft,
) -> bool {
    let Some(terms) = &want.terms else {
        return true;
    };
    if !is_on(Guard::RulesFirst) {
        return true;
    }
    let network = &record.network;
    if network.busy || network.over {
        return false;
    }
    let is_given = network.is_given(terms, observed.gateway.as_ref());
    if is_given && network.is_whole() {
        return true;
    }
    // Keys are read anew: nobody has looked after them while nothing ran.
    if is_due(record, draft) {
        draft.push(put_rules(want, terms, record, Contents::new(), observed));
    }
    false
}

/// Has the gateway forget VMs of which nobody here knows.
pub(super) fn forget_strays(observed: &Observed, draft: &mut Draft) {
    let strays = observed.gateway.iter().flat_map(|gateway| &gateway.strays);
    for uid in strays.filter(|uid| !observed.vms.contains_key(*uid)) {
        draft.push(Action::DropRules { uid: uid.clone() });
    }
}

/// True where a record must not go yet, since the gateway still has something of it.
pub(super) fn is_held(record: &Record) -> bool {
    record.network.busy || record.network.held.is_some()
}

/// True where the gateway has rules for a VM that must have none.
fn must_drop(uid: &Uid, want: Option<&Arc<Want>>, record: &Record, observed: &Observed) -> bool {
    let network = &record.network;
    let is_stray = |gateway: &crate::observed::Gateway| gateway.strays.contains(uid);
    if network.held.is_none() && !observed.gateway.as_ref().is_some_and(is_stray) {
        return false;
    }
    network.over || !may_keep(want, record)
}

/// True where a VM that has rules may have some.
fn may_keep(want: Option<&Arc<Want>>, record: &Record) -> bool {
    match (&record.run, want) {
        // Until it is known what it may do, what it could do stays.
        (Run::Live { .. }, None) => true,
        (Run::Live { .. }, Some(want)) => match &want.ruling {
            Ruling::Unknown(_) | Ruling::Invalid(_) => true,
            Ruling::Refused(_) => false,
            Ruling::Granted(_) => want.terms.is_some(),
        },
        (Run::None, _) if record.busy == Some(Verb::Start) => true,
        (Run::Ended { .. }, _) | (Run::None, None) => false,
        (Run::None, Some(want)) => {
            let is_told_to_stay = want.spec.suspend || want.evict.is_some() || want.released;
            want.terms.is_some() && !record.finished && !is_told_to_stay
        }
    }
}

/// Gives the gateway what it does not have yet.
fn put(
    want: &Arc<Want>,
    terms: &Arc<Terms>,
    record: &Record,
    known: Contents,
    observed: &Observed,
    draft: &mut Draft,
) {
    let is_given = record.network.is_given(terms, observed.gateway.as_ref());
    if !is_given && is_due(record, draft) {
        draft.push(put_rules(want, terms, record, known, observed));
    }
}

fn put_rules(
    want: &Arc<Want>,
    terms: &Arc<Terms>,
    record: &Record,
    known: Contents,
    observed: &Observed,
) -> Action {
    let gateway = observed.gateway.as_ref();
    Action::PutRules(Box::new(PutRules {
        want: Arc::clone(want),
        terms: Arc::clone(terms),
        known,
        run: record.of_run(),
        instance: gateway.map(|gateway| gateway.instance.clone()),
    }))
}

fn is_due(record: &Record, draft: &mut Draft) -> bool {
    let retry = record.network.retry;
    retry.is_none_or(|retry| draft.is_due(retry.until))
}

/// Tells what the gateway refused, and which rules are closed for want of a key.
fn warn(want: &Arc<Want>, record: &Record, draft: &mut Draft) {
    let network = &record.network;
    let closed = network
        .problem
        .clone()
        .filter(|problem| record.is_live() && network.warned.as_ref() != Some(problem))
        .map(Warning::KeysNotUpdated);
    let denied = network.denials.pending.iter().cloned();
    for warning in closed.into_iter().chain(denied.map(Warning::EgressDenied)) {
        draft.push(Action::Warn {
            want: Arc::clone(want),
            warning,
        });
    }
}
