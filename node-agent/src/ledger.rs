//! What every VM has used over all its runs, kept a while after its end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use agentvm_cell_api::cell::{FilesystemOperations, Usage, VmState};
use agentvm_cell_api::gateway;
use agentvm_crds::agentvm::Phase;
use agentvm_policy::{EndReason, LimitField};

use crate::clock::Moment;
use crate::desired::{Desired, Ruling, Uid};
use crate::egress;
use crate::observed::{Ended, Observed, Record, Run};

/// How long the series of a VM that ended stay.
const KEPT_AFTER_END: Duration = Duration::from_mins(5);

/// What every VM has used over all its runs.
#[derive(Debug, Default)]
pub struct Ledger {
    entries: BTreeMap<Uid, Entry>,
}

/// What one VM has used over its runs that ended.
#[derive(Clone, Debug, Default)]
struct Entry {
    past: Usage,
    past_network: gateway::Usage,
    exits: BTreeMap<EndReason, u64>,
    row: Option<Row>,
    over_since: Option<Moment>,
}

/// Everything that metrics say of VMs at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// One row for each VM; no two of the same namespace and name.
    pub rows: Vec<Row>,
    /// Whether every VM of the node is known.
    pub surveyed: bool,
    /// The namespaces whose cells are in use.
    pub cells_in_use: BTreeSet<String>,
}

/// One VM.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// UID of its object.
    pub uid: Uid,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Whether its object is still this node's.
    pub is_there: bool,
    /// Whether a run of it is held by a cell and has not ended.
    pub is_live: bool,
    /// Where it is in its life.
    pub phase: Phase,
    /// Runs after the first.
    pub restarts: u32,
    /// Ends by reason.
    pub exits: BTreeMap<EndReason, u64>,
    /// What its runs that ended have used; the current one comes on top.
    pub past: Usage,
    /// What it has used of the network that no gateway counts any more; the rest comes on top.
    pub past_network: gateway::Usage,
    /// Whether it may make requests.
    pub has_network: bool,
    /// Its memory limit, where it is decided.
    pub memory_limit_bytes: Option<u64>,
    /// What its files may hold, where it has mounts and that is decided.
    pub storage_limit: Option<StorageLimit>,
    /// The limits that press its run.
    pub limits_pressure: BTreeSet<LimitField>,
    /// Requests that an `Audit` policy would have refused.
    pub audited: usize,
}

/// What a VM's files may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StorageLimit {
    /// Bytes.
    pub bytes: u64,
    /// Inodes.
    pub inodes: u64,
}

impl Ledger {
    /// A run ended.
    pub fn ended(&mut self, ended: Ended) {
        let Ended { uid, end } = ended;
        let entry = self.entries.entry(uid).or_default();
        *entry.exits.entry(end.reason).or_default() += 1;
        entry.past = sum(&entry.past, &end.usage);
    }

    /// What was used of the network is no longer counted by a gateway.
    pub fn used(&mut self, uid: Uid, used: &gateway::Usage) {
        let entry = self.entries.entry(uid).or_default();
        entry.past_network = egress::sum(&entry.past_network, used);
    }

    /// How everything is now; forgets what ended long ago.
    pub fn snapshot(&mut self, desired: &Desired, observed: &Observed, now: Moment) -> Snapshot {
        for (uid, record) in &observed.vms {
            let entry = self.entries.entry(uid.clone()).or_default();
            entry.row = Some(row(uid, record, desired, entry, now));
            if record.finished {
                entry.over_since = entry.over_since.or(Some(now));
            } else {
                entry.over_since = None;
            }
        }
        self.entries.retain(|uid, entry| {
            if !observed.vms.contains_key(uid) {
                entry.over_since = entry.over_since.or(Some(now));
            }
            entry
                .over_since
                .is_none_or(|since| now.saturating_sub(since) < KEPT_AFTER_END)
                || observed.vms.contains_key(uid)
        });
        Snapshot {
            rows: self.rows(now, observed),
            surveyed: observed.surveyed,
            cells_in_use: observed.cells_in_use().map(str::to_owned).collect(),
        }
    }

    /// One row for each name: an object that was made anew replaces the old one.
    fn rows(&self, now: Moment, observed: &Observed) -> Vec<Row> {
        let mut rows: BTreeMap<(String, String), Row> = BTreeMap::new();
        for (uid, entry) in &self.entries {
            let expired = entry
                .over_since
                .is_some_and(|since| now.saturating_sub(since) >= KEPT_AFTER_END);
            let Some(row) = entry.row.as_ref().filter(|_| !expired) else {
                continue;
            };
            let is_there = observed.vms.contains_key(uid);
            let name = (row.namespace.clone(), row.name.clone());
            if is_there || !rows.contains_key(&name) {
                let is_live = row.is_live && is_there;
                rows.insert(
                    name,
                    Row {
                        is_there,
                        is_live,
                        ..row.clone()
                    },
                );
            }
        }
        rows.into_values().collect()
    }
}

fn row(uid: &Uid, record: &Record, desired: &Desired, entry: &Entry, now: Moment) -> Row {
    let want = desired.vms.get(uid);
    let verdict = want.and_then(|want| match &want.ruling {
        Ruling::Granted(verdict) => Some(verdict),
        Ruling::Unknown(_) | Ruling::Invalid(_) | Ruling::Refused(_) => None,
    });
    let held = match &record.run {
        Run::Live { spec, .. } => Some(spec.as_ref()),
        Run::Ended { .. } | Run::None => None,
    };
    let limits = held
        .map(|spec| spec.grants.limits)
        .or_else(|| verdict.map(|verdict| verdict.grants.limits));
    let has_mounts = held.map_or_else(
        || want.is_some_and(|want| !want.mounts.is_empty()),
        |spec| !spec.mounts.is_empty(),
    );
    Row {
        uid: uid.clone(),
        namespace: record.namespace.clone(),
        name: record.name.clone(),
        is_there: true,
        is_live: record.is_live(),
        phase: phase(record),
        restarts: record.restarts,
        exits: entry.exits.clone(),
        past: entry.past.clone(),
        past_network: entry.past_network.clone(),
        has_network: verdict.is_some_and(|verdict| verdict.grants.network),
        memory_limit_bytes: limits.map(|limits| limits.memory_bytes),
        storage_limit: limits.filter(|_| has_mounts).map(|limits| StorageLimit {
            bytes: limits.storage_bytes,
            inodes: limits.inodes,
        }),
        limits_pressure: record.limits_pressure(now),
        audited: verdict.map_or(0, |verdict| verdict.audited.len()),
    }
}

fn phase(record: &Record) -> Phase {
    if let Run::Live {
        state: VmState::Running | VmState::Stopping,
        ..
    } = &record.run
    {
        return Phase::Running;
    }
    let told = record.told.key.as_ref().map(crate::report::Key::phase);
    told.filter(|phase| *phase != Phase::Running)
        .unwrap_or(Phase::Starting)
}

/// The use of two runs together: what adds up is added, memory is the later run's.
pub fn sum(past: &Usage, run: &Usage) -> Usage {
    let mut denials = past.denials.clone();
    for (interface, count) in &run.denials {
        let total = denials.entry(interface.clone()).or_default();
        *total = total.saturating_add(*count);
    }
    Usage {
        cpu_ns: past.cpu_ns.saturating_add(run.cpu_ns),
        throttled_ns: past.throttled_ns.saturating_add(run.throttled_ns),
        fuel: past.fuel.saturating_add(run.fuel),
        memory_bytes: run.memory_bytes,
        memory_peak_bytes: past.memory_peak_bytes.max(run.memory_peak_bytes),
        log_bytes: past.log_bytes.saturating_add(run.log_bytes),
        log_dropped_bytes: past.log_dropped_bytes.saturating_add(run.log_dropped_bytes),
        denials,
        start_latency_ns: run.start_latency_ns,
        storage_bytes: run.storage_bytes,
        storage_peak_bytes: past.storage_peak_bytes.max(run.storage_peak_bytes),
        inodes: run.inodes,
        filesystem: FilesystemOperations {
            ok: past.filesystem.ok.saturating_add(run.filesystem.ok),
            quota: past.filesystem.quota.saturating_add(run.filesystem.quota),
            host: past.filesystem.host.saturating_add(run.filesystem.host),
            other: past.filesystem.other.saturating_add(run.filesystem.other),
        },
    }
}
