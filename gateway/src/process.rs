//! What the whole process shares: the VMs, their reports, and facts about itself.

use std::fs::File;
use std::net::IpAddr;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use agentvm_cell_api::gateway::Info;
use rand::Rng as _;
use rustix::time::{ClockId, clock_gettime};

use crate::channels::Channels;
use crate::ledger::Ledger;
use crate::namespaces::Namespaces;
use crate::panics;

/// One gateway.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) instance: String,
    pub(crate) jail_message: String,
    pub(crate) namespaces: Arc<Namespaces>,
    pub(crate) channels: Arc<Channels>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) memory: Memory,
    /// The addresses of its network.
    pub(crate) addresses: Vec<IpAddr>,
}

impl Process {
    /// The facts that the agent asks for.
    pub(crate) fn info(&self) -> Info {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        Info {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            instance: self.instance.clone(),
            pid: std::process::id(),
            jail_message: self.jail_message.clone(),
            channels: self.channels.count(),
            host_panics: panics::count(),
            resident_bytes: self.memory.resident_bytes(),
            cpu_ns: u64::try_from(cpu.tv_sec).unwrap_or(0) * 1_000_000_000
                + u64::try_from(cpu.tv_nsec).unwrap_or(0),
            access_log_dropped: self.ledger.access_log.dropped(),
        }
    }
}

/// An id that no other process has.
pub(crate) fn instance() -> String {
    format!("{:032x}", rand::rng().random::<u128>())
}

/// The process's memory, from a file that is opened before the jail closes.
#[derive(Debug)]
pub(crate) struct Memory {
    statm: File,
    page_bytes: u64,
}

impl Memory {
    /// Opens `/proc/self/statm` for later. The page size comes from a file as well.
    pub(crate) fn open() -> std::io::Result<Self> {
        Ok(Self {
            statm: File::open("/proc/self/statm")?,
            page_bytes: u64::try_from(rustix::param::page_size()).unwrap_or(4096),
        })
    }

    fn resident_bytes(&self) -> u64 {
        let mut text = [0; 128];
        let length = self.statm.read_at(&mut text, 0).unwrap_or(0);
        let text = String::from_utf8_lossy(text.get(..length).unwrap_or_default());
        let pages = text.split_ascii_whitespace().nth(1);
        let pages: u64 = pages.and_then(|pages| pages.parse().ok()).unwrap_or(0);
        pages * self.page_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_a_name_of_its_own() {
        assert!(Memory::open().unwrap().resident_bytes() > 0);
        assert_ne!(instance(), instance());
        assert_eq!(instance().len(), 32);
    }
}
