//! What the kernel says of a process.

use std::fs;

/// What a process holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Holds {
    /// Bytes in memory.
    pub(crate) resident: u64,
    pub(crate) threads: u64,
    pub(crate) descriptors: u64,
    pub(crate) maps: u64,
}

impl Holds {
    /// What it holds now.
    pub(crate) fn of(pid: u32) -> Self {
        let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
        let count = |directory: &str| fs::read_dir(format!("/proc/{pid}/{directory}")).unwrap();
        Self {
            resident: kilobytes(&read("status"), "VmRSS:") << 10,
            threads: len(count("task").count()),
            descriptors: len(count("fd").count()),
            maps: len(read("maps").lines().count()),
        }
    }

    /// The larger figure of each.
    pub(crate) fn max(self, other: Self) -> Self {
        Self {
            resident: self.resident.max(other.resident),
            threads: self.threads.max(other.threads),
            descriptors: self.descriptors.max(other.descriptors),
            maps: self.maps.max(other.maps),
        }
    }
}

/// The most bytes that a process ever had in memory.
pub(crate) fn peak_resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    kilobytes(&status, "VmHWM:") << 10
}

fn kilobytes(status: &str, name: &str) -> u64 {
    let rest = status.lines().find_map(|line| line.strip_prefix(name));
    let number = rest.unwrap().trim().trim_end_matches(" kB");
    number.parse().unwrap()
}

fn len(count: usize) -> u64 {
    u64::try_from(count).unwrap()
}
