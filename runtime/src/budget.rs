//! Everything that is counted or bounded over the whole life of a VM. One object, shared by all
//! that runs for it.

mod cpu;
mod denials;
mod exchanges;
mod fuel;
mod memory;
mod quota;

use std::time::Duration;

use self::cpu::Cpu;
pub(crate) use self::denials::Closed;
use self::denials::Denials;
use self::exchanges::Exchanges;
use self::fuel::Fuel;
use self::memory::Memory;
use crate::usage::Usage;

/// The one budget of a VM.
#[derive(Debug)]
pub(crate) struct Budget {
    pub(crate) cpu: Cpu,
    pub(crate) fuel: Fuel,
    pub(crate) memory: Memory,
    pub(crate) denials: Denials,
    pub(crate) exchanges: Exchanges,
}

impl Budget {
    pub(crate) fn new(cpu_millicores: u64, memory_bytes: u64, connections: u64) -> Self {
        Self {
            cpu: Cpu::new(cpu_millicores, memory_bytes),
            fuel: Fuel::default(),
            memory: Memory::new(memory_bytes),
            denials: Denials::default(),
            exchanges: Exchanges::new(connections),
        }
    }

    /// Charges `used` to the CPU time, on whatever thread it was used.
    pub(crate) fn charge_cpu(&self, used: Duration) {
        self.cpu.charge(used);
    }

    /// What is used of it so far.
    pub(crate) fn usage(&self) -> Usage {
        Usage {
            cpu: self.cpu.used(),
            throttled: self.cpu.throttled(),
            fuel: self.fuel.used(),
            memory_bytes: self.memory.held(),
            memory_peak_bytes: self.memory.peak(),
            denials: self.denials.counts(),
        }
    }
}
