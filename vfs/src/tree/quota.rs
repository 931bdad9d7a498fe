//! What is held, and what may be held: of the VM, and of each mount.

use crate::guards::{self, Guard};
use crate::{Budget, Error, Growth};

/// The number of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct VolumeId(u8);

/// What one mount holds and may hold.
#[derive(Default)]
pub(crate) struct Volume {
    pub(crate) max_bytes: Option<u64>,
    pub(crate) read_only: bool,
    pub(crate) bytes: u64,
}

/// What the VM and its mounts hold and may hold.
pub(crate) struct Quota {
    pub(crate) budget: Budget,
    pub(crate) bytes: u64,
    pub(crate) inodes: u64,
    pub(crate) peak: u64,
    pub(crate) growth: Growth,
    /// Whether the host, not a quota, is why the call at hand finds no space.
    pub(crate) refused_by_host: bool,
    pub(crate) volumes: Vec<Volume>,
}

impl VolumeId {
    /// As a guest sees it: counts from 1.
    pub(crate) fn device(self) -> u64 {
        u64::from(self.0) + 1
    }

    pub(crate) fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl Quota {
    pub(crate) fn new(budget: Budget) -> Self {
        Self {
            budget,
            bytes: 0,
            inodes: 0,
            peak: 0,
            growth: Growth::Allowed,
            refused_by_host: false,
            volumes: Vec::new(),
        }
    }

    /// There are at most `MAX_MOUNTS` and one.
    pub(crate) fn add(&mut self, volume: Volume) -> VolumeId {
        let id = u8::try_from(self.volumes.len()).unwrap_or(u8::MAX);
        self.volumes.push(volume);
        VolumeId(id)
    }

    fn volume(&self, id: VolumeId) -> Option<&Volume> {
        self.volumes.get(id.index())
    }

    /// Refuses where the volume can't be changed.
    pub(crate) fn writable(&self, id: VolumeId) -> Result<(), Error> {
        let read_only = self.volume(id).is_none_or(|volume| volume.read_only);
        if read_only && guards::is_on(Guard::ReadOnlyMount) {
            return Err(Error::ReadOnly);
        }
        Ok(())
    }

    /// The largest file that the volume could ever hold.
    pub(crate) fn largest_file(&self, id: VolumeId) -> u64 {
        if !guards::is_on(Guard::FileSizeCap) {
            return 1 << 48;
        }
        let most = self.volume(id).and_then(|volume| volume.max_bytes);
        most.unwrap_or(u64::MAX).min(self.budget.bytes)
    }

    /// Bytes that may still be taken, and what more of them is refused with.
    pub(crate) fn room(&mut self, id: VolumeId) -> (u64, Error) {
        if self.growth == Growth::Refused && guards::is_on(Guard::HostGrowth) {
            self.refused_by_host = true;
            return (0, Error::NoSpace);
        }
        let left = if guards::is_on(Guard::ByteQuota) {
            self.budget.bytes.saturating_sub(self.bytes)
        } else {
            u64::MAX
        };
        let volume = self.volume(id);
        let most = volume.and_then(|volume| volume.max_bytes);
        let most = most.filter(|_| guards::is_on(Guard::MountQuota));
        let held = volume.map_or(0, |volume| volume.bytes);
        match most.map(|most| most.saturating_sub(held)) {
            Some(most) if most < left => (most, Error::Quota),
            Some(_) | None => (left, Error::NoSpace),
        }
    }

    /// Refuses what there is no room for; what takes nothing is never refused.
    pub(crate) fn check(&mut self, id: VolumeId, bytes: u64, inodes: u64) -> Result<(), Error> {
        if bytes == 0 && inodes == 0 {
            return Ok(());
        }
        let (room, refusal) = self.room(id);
        if bytes > room {
            return Err(refusal);
        }
        let left = self.budget.inodes.saturating_sub(self.inodes);
        if inodes > left && guards::is_on(Guard::InodeQuota) {
            return Err(Error::NoSpace);
        }
        Ok(())
    }

    pub(crate) fn take(&mut self, id: VolumeId, bytes: u64, inodes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
        self.inodes = self.inodes.saturating_add(inodes);
        self.peak = self.peak.max(self.bytes);
        if let Some(volume) = self.volumes.get_mut(id.index()) {
            volume.bytes = volume.bytes.saturating_add(bytes);
        }
    }

    pub(crate) fn give_back(&mut self, id: VolumeId, bytes: u64, inodes: u64) {
        self.bytes = self.bytes.saturating_sub(bytes);
        self.inodes = self.inodes.saturating_sub(inodes);
        if let Some(volume) = self.volumes.get_mut(id.index()) {
            volume.bytes = volume.bytes.saturating_sub(bytes);
        }
    }
}
