//! What the gateway has of each VM, and what it says of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use agentvm_cell_api::gateway::{Denial, Usage};
use agentvm_crds::conditions::ImageReason;
use agentvm_policy::LimitField;

use super::{LimitsPressure, Observed, Record, Retry, Run, outcome::next_retry};
use crate::backoff::{Backoff, CALL, FETCH};
use crate::clock::Moment;
use crate::desired::{Desired, Uid};
use crate::egress::{self, OfRun, Terms};
use crate::mounts::{Content, Contents, Object};
use crate::problem::{Problem, StartReason};

/// A gateway that is being started again is no news: that it is away is told of a VM that waits
/// for it only after as many attempts, which take three seconds.
const UNTOLD_ATTEMPTS: u32 = 4;
/// How often the gateway is asked for the last numbers of a run that is over.
const ATTEMPTS_AT_END: u32 = 3;
/// Denials that are told of one VM in one window; the metrics count all.
const TOLD_IN_WINDOW: usize = 8;
/// How long such a window is.
const WINDOW: Duration = Duration::from_mins(10);
/// Where a limit begins to press, and where it ends to, in percent.
const PRESSES: (u128, u128) = (80, 50);

/// The gateway, while it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// Which process it is.
    pub instance: String,
    /// VMs that have rules there of which nobody here knows why.
    pub strays: BTreeSet<Uid>,
}

/// What the gateway has of one VM, and what it said of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Network {
    /// What it was given for this run.
    pub held: Option<Held>,
    /// A request is on its way.
    pub busy: bool,
    /// The wait after a request that failed.
    pub retry: Option<Retry>,
    /// Objects that hold other keys now.
    pub newer: Contents,
    /// Why a rule is not open that should be.
    pub problem: Option<String>,
    /// The last of these that was told.
    pub warned: Option<String>,
    /// The run that the rules were for is over.
    pub over: bool,
    /// A start failed after they were given: the next one reads the keys again.
    pub stale: bool,
    /// What the run has used, as it was last heard.
    pub usage: Usage,
    /// What the run has used that no gateway counts any more.
    pub so_far: Usage,
    /// What the last run had used that is over.
    pub last: Usage,
    /// Bytes that it sent in runs that are over, or through a gateway that has ended.
    pub sent_bytes: u64,
    /// What is to be told.
    pub denials: Denials,
    /// Which of the network's limits press.
    pub pressure: LimitsPressure,
}

/// What the gateway was given for one run.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    /// The process that has it.
    pub instance: String,
    /// All but the keys.
    pub terms: Arc<Terms>,
    /// The objects that keys are of.
    pub contents: Contents,
    /// Why rules were left out.
    pub lacking: Vec<Problem>,
}

/// Denials that are to be told.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Denials {
    /// In the order in which they came.
    pub pending: Vec<Denial>,
    since: Option<Moment>,
    told: usize,
}

impl Denials {
    fn add(&mut self, denial: Denial, now: Moment) {
        let is_over = |since: Moment| now.saturating_sub(since) >= WINDOW;
        if self.since.is_none_or(is_over) {
            self.since = Some(now);
            self.told = 0;
        }
        if self.told < TOLD_IN_WINDOW {
            self.told += 1;
            self.pending.push(denial);
        }
    }
}

impl Network {
    /// True where the gateway that answers now has these very terms, and no newer keys are known.
    pub fn is_given(&self, terms: &Terms, gateway: Option<&Gateway>) -> bool {
        let instance = gateway.map(|gateway| gateway.instance.as_str());
        self.newer.is_empty()
            && !self.stale
            && self.held.as_ref().is_some_and(|held| {
                Some(held.instance.as_str()) == instance && *held.terms == *terms
            })
    }

    /// True where every rule is open that should be.
    pub fn is_whole(&self) -> bool {
        self.held
            .as_ref()
            .is_some_and(|held| held.lacking.is_empty())
    }

    /// Bytes of bodies that it has sent in its whole life.
    pub fn sent(&self) -> u64 {
        self.sent_bytes.saturating_add(self.usage.sent_bytes)
    }

    /// True while what the run has used is still asked for.
    pub fn is_leaving(&self) -> bool {
        self.over && self.held.is_some()
    }

    /// The keys that are known, the newest of each.
    pub fn contents(&self) -> Contents {
        let held = self.held.as_ref().map(|held| held.contents.clone());
        let mut contents = held.unwrap_or_default();
        contents.extend(self.newer.clone());
        contents
    }

    /// The run is over: what it held is no longer its own.
    pub(super) fn end(&mut self) {
        self.newer.clear();
        self.problem = None;
        self.warned = None;
        self.pressure = LimitsPressure::default();
        self.over = true;
        if let Some(held) = &mut self.held {
            // Nothing of a Secret is kept for a run that is over.
            held.contents.clear();
        } else {
            self.settle(None);
        }
    }

    /// No gateway counts for the run any more: what it has used there, as far as that is known.
    fn settle(&mut self, used: Option<Usage>) -> Usage {
        let used = used.unwrap_or_else(|| self.usage.clone());
        self.sent_bytes = self.sent_bytes.saturating_add(used.sent_bytes);
        self.so_far = egress::sum(&self.so_far, &used);
        if self.over {
            self.last = std::mem::take(&mut self.so_far);
        }
        self.usage = Usage::default();
        self.held = None;
        self.over = false;
        self.stale = false;
        used
    }

    fn see(&mut self, usage: Usage, limit_bytes: u64, now: Moment) {
        self.usage = usage;
        let sent = self.sent();
        let (begin, end) = PRESSES;
        let most = if self.pressure.told(now).is_empty() {
            begin
        } else {
            end
        };
        let presses = u128::from(sent) * 100 >= u128::from(limit_bytes) * most;
        let pressing = if presses && limit_bytes > 0 {
            BTreeSet::from([LimitField::Egress])
        } else {
            BTreeSet::new()
        };
        self.pressure.see(&pressing, now);
    }
}

/// What came of giving the gateway a VM's rules.
pub type Given = Result<Held, Problem>;

impl Observed {
    /// The gateway answers; these VMs have rules there.
    pub(super) fn gateway_up(&mut self, instance: String, vms: &BTreeMap<Uid, Usage>) {
        let mut strays: BTreeSet<Uid> = vms.keys().cloned().collect();
        for (uid, record) in &mut self.vms {
            let network = &mut record.network;
            network.retry = None;
            match &network.held {
                Some(held) if held.instance == instance && vms.contains_key(uid) => {
                    strays.remove(uid);
                }
                Some(held) if held.instance == instance => network.stale = true,
                // What that one knew of the run is gone with it.
                Some(_) if network.over => {
                    let used = network.settle(None);
                    self.used.push((uid.clone(), used));
                }
                Some(_) => {
                    let used = std::mem::take(&mut network.usage);
                    network.sent_bytes = network.sent_bytes.saturating_add(used.sent_bytes);
                    network.so_far = egress::sum(&network.so_far, &used);
                    self.used.push((uid.clone(), used));
                }
                None => {}
            }
        }
        self.gateway = Some(Gateway { instance, strays });
    }

    /// The gateway does not answer.
    pub(super) fn gateway_away(&mut self) {
        self.gateway = None;
        for (uid, record) in &mut self.vms {
            if record.network.is_leaving() && !record.network.busy {
                let used = record.network.settle(None);
                self.used.push((uid.clone(), used));
            }
        }
    }

    /// The gateway says what its VMs have used.
    pub(super) fn network_used(&mut self, instance: &str, vms: BTreeMap<Uid, Usage>, now: Moment) {
        for (uid, usage) in vms {
            if let Some(record) = self.vms.get_mut(&uid)
                && let Some(held) = &record.network.held
                && held.instance == instance
                && !record.network.over
            {
                let limit = held.terms.limits.egress_bytes;
                record.network.see(usage, limit, now);
            }
        }
    }

    /// The gateway refused requests.
    pub(super) fn denied(&mut self, denials: Vec<Denial>, now: Moment) {
        for denial in denials {
            if let Some(record) = self.vms.get_mut(&denial.uid) {
                record.network.denials.add(denial, now);
            }
        }
    }

    /// The gateway was given a VM's rules, or not.
    pub(super) fn rules_given(&mut self, uid: &Uid, result: Given, now: Moment) {
        if let Some(gateway) = &mut self.gateway {
            gateway.strays.remove(uid);
        }
        if let Some(record) = self.vms.get_mut(uid) {
            record.rules_given(result, now);
        }
    }

    /// The gateway has nothing of a VM any more, or does not say so: then it is asked again, but
    /// nobody waits for it for ever, and for one that has ended nobody waits at all.
    pub(super) fn rules_taken(
        &mut self,
        uid: &Uid,
        result: Result<Option<Usage>, String>,
        now: Moment,
    ) {
        let is_up = self.gateway.is_some();
        if let Some(gateway) = &mut self.gateway {
            gateway.strays.remove(uid);
        }
        let Some(record) = self.vms.get_mut(uid) else {
            self.used
                .extend(result.ok().flatten().map(|used| (uid.clone(), used)));
            return;
        };
        let is_live = record.is_live();
        let network = &mut record.network;
        network.busy = false;
        if result.is_err() && is_up {
            let retry = next_retry(network.retry, CALL, now);
            network.retry = Some(retry);
            if is_live || retry.history < Backoff::after(ATTEMPTS_AT_END) {
                return;
            }
        }
        network.retry = None;
        let used = network.settle(result.ok().flatten());
        self.used.push((uid.clone(), used));
    }

    /// A read of a Secret has come to its end: which VMs add a key of it that is another now?
    pub(super) fn compare_keys(&mut self, object: &Object, content: &Content, desired: &Desired) {
        for (uid, want) in &desired.vms {
            if want.namespace == object.namespace
                && let Some(record) = self.vms.get_mut(uid)
                && record.is_live()
            {
                record.network.compare(object, content);
            }
        }
    }
}

impl Network {
    fn compare(&mut self, object: &Object, content: &Content) {
        let Some(held) = &mut self.held else {
            return;
        };
        let Some(known) = held.contents.get_mut(object) else {
            return;
        };
        if known == content {
            // The same content keeps one place in memory.
            known.clone_from(content);
            self.newer.remove(object);
        } else {
            self.newer.insert(object.clone(), content.clone());
        }
    }
}

impl Record {
    /// What only its run knows, of what the gateway is told.
    pub fn of_run(&self) -> OfRun {
        let fence_deadline_boottime_ms = match &self.run {
            Run::Live { spec, .. } => spec.fence_deadline_boottime_ms,
            Run::Ended { .. } | Run::None => None,
        };
        OfRun {
            sent_bytes: self.network.sent_bytes,
            fence_deadline_boottime_ms,
        }
    }

    fn rules_given(&mut self, result: Given, now: Moment) {
        let is_live = self.is_live();
        self.network.busy = false;
        match result {
            Ok(held) => {
                self.network.stale = false;
                let lacking = held.lacking.first().cloned();
                self.network
                    .newer
                    .retain(|object, content| held.contents.get(object) != Some(content));
                self.network.problem = lacking.as_ref().map(|problem| problem.message.clone());
                if self.network.problem.is_none() {
                    self.network.warned = None;
                }
                // It may have ended meanwhile.
                self.network.over = !is_live && self.network.over;
                self.network.held = Some(held);
                match lacking {
                    Some(problem) if !is_live => {
                        self.network.retry = Some(next_retry(self.network.retry, FETCH, now));
                        self.hindered(problem);
                    }
                    Some(_) => self.network.retry = None,
                    None => {
                        self.network.retry = None;
                        self.unhindered();
                    }
                }
            }
            Err(problem) => self.rules_refused(problem, is_live, now),
        }
    }

    fn rules_refused(&mut self, problem: Problem, is_live: bool, now: Moment) {
        let away = problem.reason == StartReason::Image(ImageReason::GatewayUnavailable);
        let schedule = if away { CALL } else { FETCH };
        let retry = next_retry(self.network.retry, schedule, now);
        self.network.retry = Some(retry);
        if is_live {
            self.network.problem = (!away).then_some(problem.message);
        } else if !away || retry.history >= Backoff::after(UNTOLD_ATTEMPTS) {
            self.hindered(problem);
        }
    }

    /// What kept it from its rules is over.
    fn unhindered(&mut self) {
        let is_of_network = |problem: &Problem| {
            matches!(
                problem.reason,
                StartReason::Image(
                    ImageReason::GatewayUnavailable
                        | ImageReason::InvalidKey
                        | ImageReason::SecretNotFound
                        | ImageReason::SecretForbidden
                        | ImageReason::KeyNotFound
                )
            )
        };
        if self.problem.as_ref().is_some_and(is_of_network) && !self.finished {
            self.problem = None;
        }
    }
}
