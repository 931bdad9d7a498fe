//! Mounted files of running VMs: which objects are read when, and which VMs have older content.

use std::collections::BTreeMap;
use std::time::Duration;

use agentvm_cell_api::cell::VmState;
use agentvm_cell_api::mounts::{Mount, MountSource};
use agentvm_crds::{AskedMount, ObjectKind};

use super::{Observed, Record, Retry, Run};
use crate::clock::Moment;
use crate::desired::{Desired, Want};
use crate::mounts::{self, Content, Contents, MAX_FILE_BYTES, Object, Values};
use crate::problem::Problem;

/// How often each object is read that a VM of this node mounts: a change reaches every guest
/// within this and the time that a read and an update take.
pub const EVERY: Duration = Duration::from_secs(20);

/// One object that a running VM mounts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// A read is on its way.
    pub busy: bool,
    /// Not before this; `None` before the first read.
    pub until: Option<Moment>,
    /// What was read last.
    values: Option<Values>,
}

/// What one run lacks of its files.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LiveFiles {
    /// Mounts whose files are older than their object, by their place; with the new files.
    pending: BTreeMap<usize, Mount>,
    /// What the run was compared with.
    compared: BTreeMap<Object, Values>,
    /// The wait after an update that failed.
    pub retry: Option<Retry>,
    /// Why the newest content does not reach the guest.
    pub problem: Option<String>,
    /// The last of these that was told.
    pub warned: Option<String>,
}

/// When an object is read for the first time after `since`: objects are spread evenly, and each
/// has its place whoever asks.
pub fn first_read(object: &Object, since: Moment) -> Moment {
    let Object {
        kind,
        namespace,
        name,
    } = object;
    let kind = match kind {
        ObjectKind::ConfigMap => "c",
        ObjectKind::Secret => "s",
    };
    // FNV-1a: nobody gains by collisions.
    let bytes = [kind, namespace, "/", name]
        .into_iter()
        .flat_map(str::bytes);
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let every = u64::try_from(EVERY.as_millis()).unwrap_or(u64::MAX);
    // The low bits of FNV are the weakest.
    since.saturating_add(Duration::from_millis((hash >> 17) % every))
}

impl LiveFiles {
    /// The mounts to update next, by their place: as many as one request can carry.
    pub fn batch(&self) -> impl Iterator<Item = (usize, &Mount)> {
        let mut total = 0_usize;
        self.pending
            .iter()
            .take_while(move |(_, mount)| {
                let first = total == 0;
                total = total.saturating_add(bytes_of(mount)).max(1);
                first || total <= MAX_FILE_BYTES
            })
            .map(|(index, mount)| (*index, mount))
    }

    /// True where nothing is newer than what the run has.
    pub fn is_current(&self) -> bool {
        self.pending.is_empty()
    }

    /// The run has these mounts now, and had those before.
    pub(super) fn has(&mut self, held: &[Mount], before: &[Mount]) {
        if held != before {
            // An update may arrive after a younger read was compared with what there was.
            self.compared.clear();
        }
        self.pending
            .retain(|index, mount| held.get(*index).and_then(Mount::sha256) != mount.sha256());
        if self.pending.is_empty() {
            self.retry = None;
        }
    }

    /// An update went through.
    pub(super) fn updated(&mut self) {
        self.retry = None;
        self.problem = None;
        self.warned = None;
    }

    /// Whether the run was not compared with this content yet.
    fn is_news(&mut self, read: &Read<'_>) -> bool {
        let Some(values) = read.values else {
            self.compared.remove(read.object);
            return true;
        };
        let known = self.compared.insert(read.object.clone(), values.clone());
        known.is_none_or(|known| !known.is_same(values))
    }

    /// Compares what a run holds with what an object holds now.
    fn compare(&mut self, want: &Want, held: &[Mount], read: &mut Read<'_>) {
        if !self.is_news(read) {
            return;
        }
        self.problem = None;
        for (index, (asked, held)) in want.mounts.iter().zip(held).enumerate() {
            if mounts::object_of(&want.namespace, asked).as_ref() != Some(read.object) {
                continue;
            }
            match read.mount(asked) {
                Ok(new) if new.sha256() == held.sha256() => {
                    self.pending.remove(&index);
                }
                Ok(new) => {
                    self.pending.insert(index, new);
                    self.retry = None;
                }
                // The old content stays, as it does for the kubelet: the object is gone, may not be
                // read any more, or lacks a key.
                Err(problem) => self.problem = Some(problem.message),
            }
        }
        if self.pending.is_empty() && self.problem.is_none() {
            self.warned = None;
        }
    }
}

/// One answer, and what it makes of the mounts that show it: many VMs have the same.
struct Read<'a> {
    object: &'a Object,
    /// `None` where there is nothing to be read.
    values: Option<&'a Values>,
    contents: Contents,
    made: Vec<(AskedMount, Result<Mount, Problem>)>,
}

impl Read<'_> {
    fn mount(&mut self, asked: &AskedMount) -> Result<Mount, Problem> {
        if let Some((_, made)) = self.made.iter().find(|(known, _)| known == asked) {
            return made.clone();
        }
        let made = mounts::mount(&self.object.namespace, asked, &self.contents);
        self.made.push((asked.clone(), made.clone()));
        made
    }
}

impl Observed {
    /// A read of an object has come to its end. One that failed changes nothing.
    pub(super) fn content_read(
        &mut self,
        object: Object,
        result: Result<Content, String>,
        desired: &Desired,
        now: Moment,
    ) {
        let known = self.readings.remove(&object).and_then(|old| old.values);
        let content = match result {
            // The same content keeps its place in memory, by which a run knows it.
            Ok(Content::Found(new)) => {
                let values = known.filter(|old| *old == new).unwrap_or(new);
                Some(Content::Found(values))
            }
            Ok(content @ (Content::Missing | Content::Forbidden(_))) => Some(content),
            Err(_) => None,
        };
        let values = content.as_ref().and_then(values_of).cloned();
        if let Some(content) = &content {
            self.compare(&object, content, desired);
            self.compare_keys(&object, content, desired);
        }
        let reading = Reading {
            busy: false,
            until: Some(now.saturating_add(EVERY)),
            values,
        };
        self.readings.insert(object, reading);
    }

    fn compare(&mut self, object: &Object, content: &Content, desired: &Desired) {
        let mut read = Read {
            object,
            values: values_of(content),
            contents: Contents::from([(object.clone(), content.clone())]),
            made: Vec::new(),
        };
        for (uid, want) in &desired.vms {
            if want.namespace == object.namespace
                && mounts::objects(&want.namespace, &want.mounts).contains(object)
                && let Some(record) = self.vms.get_mut(uid)
            {
                record.compare_files(want, &mut read);
            }
        }
    }

    /// Forgets objects that no running VM mounts or takes keys from any more.
    pub(super) fn tidy_readings(&mut self, desired: &Desired) {
        if self.readings.is_empty() {
            return;
        }
        let live = desired
            .vms
            .iter()
            .filter(|(uid, _)| self.vms.get(*uid).is_some_and(Record::is_live));
        let used: std::collections::BTreeSet<Object> =
            live.flat_map(|(_, want)| want.objects()).collect();
        self.readings
            .retain(|object, reading| reading.busy || used.contains(object));
    }
}

impl Record {
    fn compare_files(&mut self, want: &Want, read: &mut Read<'_>) {
        let Run::Live {
            spec,
            state: VmState::Starting | VmState::Running,
            ..
        } = &self.run
        else {
            return;
        };
        // One that does not have the mounts that are asked for is about to be run again.
        if mounts::are_as_asked(&spec.mounts, &want.mounts) {
            self.files.compare(want, &spec.mounts, read);
        }
    }
}

fn values_of(content: &Content) -> Option<&Values> {
    match content {
        Content::Found(values) => Some(values),
        Content::Missing | Content::Forbidden(_) => None,
    }
}

fn bytes_of(mount: &Mount) -> usize {
    match &mount.source {
        MountSource::Files {
            files: Some(files), ..
        } => files.values().map(|file| file.data.len()).sum(),
        MountSource::Files { files: None, .. } | MountSource::EmptyDir { .. } => 0,
    }
}

#[cfg(test)]
mod tests;
