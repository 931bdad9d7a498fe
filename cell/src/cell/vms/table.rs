//! The table itself, and one VM in it: plain data that somebody else locks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use agentvm_cell_api::cell::{End, FilesystemOperations, Usage, VmSpec, VmState, VmStatus};
use agentvm_cell_api::mounts::{Mount, MountSource};
use agentvm_cell_api::problem::Problem;
use agentvm_runtime::VmHandle;
use agentvm_runtime::vfs::{self, Filesystem, Growth};

use crate::cell::limits::{Presses, Share, Used};
use crate::cell::log::VmLog;
use crate::cell::mounts;
use crate::cell::network::VmNetwork;
use crate::cell::pressure::Refusals;

/// One VM.
#[derive(Debug)]
pub(in crate::cell) struct Entry {
    /// Without the files of its mounts.
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
    /// Its way out; `None` where it has none.
    pub(super) network: Option<VmNetwork>,
    /// `None` after the end, unless it is to be kept.
    pub(super) filesystem: Option<Filesystem>,
    /// Whether its files may grow, or the host refused it memory.
    pub(super) storage_pressure: bool,
    pub(super) refusals: Refusals,
    /// Its limits that are nearly used up.
    pub(super) presses: Presses,
    /// Its fencing deadline has passed and it was stopped for that.
    pub(super) fenced: bool,
}

/// All VMs of a cell.
#[derive(Debug)]
pub(in crate::cell) struct Table {
    /// Starts above 0, which asks for everything at once.
    pub(super) version: u64,
    pub(super) entries: BTreeMap<String, Entry>,
    /// Whether files may grow.
    pub(super) growth: Growth,
}

impl Table {
    /// VMs that have not ended.
    pub(in crate::cell) fn live(&self) -> usize {
        self.entries
            .values()
            .filter(|entry| entry.state != VmState::Ended)
            .count()
    }

    /// What the VMs that have not ended may hold of the node's memory together.
    pub(in crate::cell) fn promised_bytes(&self) -> u64 {
        let live = self.entries.values().filter(|entry| entry.end.is_none());
        live.map(Entry::promised_bytes).fold(0, u64::saturating_add)
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
        spec: &VmSpec,
        asked: Instant,
        handle: VmHandle,
        log: Arc<VmLog>,
        filesystem: Filesystem,
        network: Option<VmNetwork>,
    ) -> Self {
        Self {
            spec: spec.without_files(),
            state: VmState::Starting,
            version: 0,
            asked,
            start_latency: Duration::ZERO,
            started_unix_ms: None,
            end: None,
            handle,
            log,
            network,
            filesystem: Some(filesystem),
            storage_pressure: false,
            refusals: Refusals::default(),
            presses: Presses::default(),
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
            storage_pressure: self.storage_pressure,
            limits_pressure: self.presses.fields().clone(),
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
        let vfs::Usage {
            bytes,
            inodes,
            peak_bytes,
            operations,
            refused_by_quota,
            refused_by_host,
            errors,
        } = self
            .filesystem
            .as_ref()
            .map(Filesystem::usage)
            .unwrap_or_default();
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
            storage_bytes: bytes,
            storage_peak_bytes: peak_bytes,
            inodes,
            filesystem: FilesystemOperations {
                ok: operations,
                quota: refused_by_quota,
                host: refused_by_host,
                other: errors,
            },
        }
    }

    /// Takes over the fields that may change while a VM runs. Where files don't fit, the mount
    /// keeps its old ones, and says so by its digest; everything before it holds.
    pub(super) fn update(&mut self, spec: &VmSpec) -> Result<(), Problem> {
        let limits = spec.grants.limits;
        self.handle.set_cpu_millicores(limits.cpu_millicores);
        self.handle.set_connections(limits.connections);
        self.log.set_limits(&limits);
        if let Some(network) = &self.network {
            network.set_limits(&limits);
        }
        let held = std::mem::take(&mut self.spec.mounts);
        self.spec = VmSpec {
            mounts: held,
            ..spec.without_files()
        };
        let now = mounts::now();
        for (held, asked) in self.spec.mounts.iter_mut().zip(&spec.mounts) {
            if let Some(filesystem) = &self.filesystem
                && held.sha256() != asked.sha256()
            {
                swap(filesystem, asked, now)?;
                *held = asked.without_files();
            }
        }
        Ok(())
    }

    /// Looks at how much of its limits is used; true where others press it than before.
    pub(super) fn look(&mut self, now: Duration) -> bool {
        if self.end.is_some() {
            return false;
        }
        let limits = self.spec.grants.limits;
        let used = self.handle.usage();
        let files = self.filesystem.as_ref().map(Filesystem::usage);
        let used = Used {
            memory: share(used.memory_bytes, limits.memory_bytes),
            storage: share(files.unwrap_or_default().bytes, limits.storage_bytes),
            fuel: share(used.fuel, limits.fuel.unwrap_or(0)),
            log_total: share(self.log.counts().taken, limits.log_total_bytes),
            throttled: used.throttled,
        };
        self.presses.look(&used, now)
    }

    /// What it may hold of the node's memory: its own, and its files, where it has any.
    pub(super) fn promised_bytes(&self) -> u64 {
        let limits = self.spec.grants.limits;
        let files = if self.spec.mounts.is_empty() {
            0
        } else {
            limits.storage_bytes
        };
        limits.memory_bytes.saturating_add(files)
    }

    /// Has the mark of a VM whose files can't grow follow what is the case; true where it moved.
    pub(super) fn mark(&mut self, growth: Growth, now: Duration) -> bool {
        let refused = self
            .filesystem
            .as_ref()
            .filter(|filesystem| !filesystem.is_empty() && self.end.is_none())
            .map(|filesystem| filesystem.usage().refused_by_host);
        let pressed = refused.is_some_and(|count| {
            let recent = self.refusals.recent(count, growth, now);
            recent || growth == Growth::Refused
        });
        std::mem::replace(&mut self.storage_pressure, pressed) != pressed
    }
}

fn share(used: u64, limit: u64) -> Share {
    Share { used, limit }
}

fn swap(filesystem: &Filesystem, asked: &Mount, now: vfs::Timestamp) -> Result<(), Problem> {
    match &asked.source {
        MountSource::Files {
            files: Some(files), ..
        } => mounts::swap(filesystem, &asked.path, files, now),
        MountSource::Files { files: None, .. } | MountSource::EmptyDir { .. } => {
            Err(mounts::without_files(&asked.path))
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
