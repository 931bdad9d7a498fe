//! The table itself, and one VM in it: plain data that somebody else locks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use agentvm_cell_api::cell::{End, Usage, VmSpec, VmState, VmStatus};
use agentvm_runtime::VmHandle;

use crate::cell::log::VmLog;

/// One VM.
#[derive(Debug)]
pub(in crate::cell) struct Entry {
    pub(super) spec: VmSpec,
    pub(super) state: VmState,
    pub(super) version: u64,
    /// When its `PUT` arrived.
    pub(super) asked: Instant,
    pub(super) start_latency: Duration,
    pub(super) started_unix_ms: Option<u64>,
    pub(super) end: Option<End>,
    pub(super) handle: VmHandle,
    pub(super) log: Arc<VmLog>,
    /// Its fencing deadline has passed and it was stopped for that.
    pub(super) fenced: bool,
}

/// All VMs of a cell.
#[derive(Debug)]
pub(in crate::cell) struct Table {
    /// Starts above 0, which asks for everything at once.
    pub(super) version: u64,
    pub(super) entries: BTreeMap<String, Entry>,
}

impl Table {
    /// VMs that have not ended.
    pub(in crate::cell) fn live(&self) -> usize {
        self.entries
            .values()
            .filter(|entry| entry.state != VmState::Ended)
            .count()
    }

    /// True where every VM is forgotten.
    pub(in crate::cell) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Deadlines of VMs that have not ended and were not stopped for theirs.
    pub(super) fn deadlines(&self) -> impl Iterator<Item = (&str, u64)> {
        let open = |entry: &Entry| entry.state != VmState::Ended && !entry.fenced;
        self.entries
            .iter()
            .filter(move |(_, entry)| open(entry))
            .filter_map(|(uid, entry)| Some((uid.as_str(), entry.spec.fence_deadline_boottime_ms?)))
    }

    /// Changes one VM and counts the change.
    pub(super) fn change(
        &mut self,
        uid: &str,
        change: impl FnOnce(&mut Entry),
    ) -> Option<VmStatus> {
        let entry = self.entries.get_mut(uid)?;
        self.version += 1;
        entry.version = self.version;
        change(entry);
        Some(entry.status(uid))
    }
}

impl Entry {
    /// A VM that is about to start.
    pub(in crate::cell) fn new(
        spec: VmSpec,
        asked: Instant,
        handle: VmHandle,
        log: Arc<VmLog>,
    ) -> Self {
        Self {
            spec,
            state: VmState::Starting,
            version: 0,
            asked,
            start_latency: Duration::ZERO,
            started_unix_ms: None,
            end: None,
            handle,
            log,
            fenced: false,
        }
    }

    pub(super) fn status(&self, uid: &str) -> VmStatus {
        VmStatus {
            uid: uid.to_owned(),
            spec: self.spec.clone(),
            state: self.state,
            version: self.version,
            started_unix_ms: self.started_unix_ms,
            end: self.end.clone(),
        }
    }

    pub(super) fn usage(&self) -> Usage {
        if let Some(end) = &self.end {
            return end.usage.clone();
        }
        let agentvm_runtime::Usage {
            cpu,
            throttled,
            fuel,
            memory_bytes,
            memory_peak_bytes,
            denials,
        } = self.handle.usage();
        let counts = self.log.counts();
        Usage {
            cpu_ns: nanos(cpu),
            throttled_ns: nanos(throttled),
            fuel,
            memory_bytes,
            memory_peak_bytes,
            log_bytes: counts.bytes,
            log_dropped_bytes: counts.dropped,
            denials: denials
                .into_iter()
                .map(|(name, count)| (name.to_owned(), count))
                .collect(),
            start_latency_ns: nanos(self.start_latency),
        }
    }

    /// Takes over the fields that may change while a VM runs.
    pub(super) fn update(&mut self, spec: VmSpec) {
        let limits = spec.grants.limits;
        self.handle.set_cpu_millicores(limits.cpu_millicores);
        self.log.set_rate(limits.log_rate_bytes_per_second);
        self.spec = spec;
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
