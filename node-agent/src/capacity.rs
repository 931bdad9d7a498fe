//! What the VMs of this node may use in sum.

use std::path::Path;

use agentvm_cell_api::warden::Info;

/// Memory maps that one VM takes of `vm.max_map_count`.
const MAPS_PER_VM: u64 = agentvm_policy::budget::MAPS_PER_VM.value;
/// Of the memory that there is, what VMs get: the rest is for agent, warden, cells' own code
/// and, on a whole machine, everybody else.
const MEMORY_PERCENT: u64 = 80;

/// What was given as the node's capacity; the rest is derived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capacity {
    /// Bytes of memory.
    pub memory_bytes: Option<u64>,
    /// Thousandths of cores.
    pub cpu_millicores: Option<u64>,
    /// VMs at once.
    pub vms: Option<u32>,
    /// How much of it VMs may be promised.
    pub overcommit: Overcommit,
}

/// How much VMs may be promised in sum, in percent of what there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overcommit {
    /// Of the CPU.
    pub cpu_percent: u16,
    /// Of the memory.
    pub memory_percent: u16,
}

impl Default for Overcommit {
    /// Nothing is promised twice.
    fn default() -> Self {
        Self {
            cpu_percent: 100,
            memory_percent: 100,
        }
    }
}

/// A capacity with nothing left open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decided {
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Thousandths of cores.
    pub cpu_millicores: u64,
    /// VMs at once.
    pub vms: u32,
    /// Cells at once; `None` where the warden does not say.
    pub cells: Option<u32>,
    /// VMs in one cell.
    pub vms_per_cell: u32,
}

impl Capacity {
    /// Derives what was not given from the machine and from the warden's facts, and scales what
    /// may be promised.
    pub fn decide(&self, info: &Info) -> Decided {
        let Overcommit {
            cpu_percent,
            memory_percent,
        } = self.overcommit;
        let memory_bytes = self
            .memory_bytes
            .unwrap_or_else(|| vms_part(machine_memory_bytes()));
        let cpu_millicores = self.cpu_millicores.unwrap_or_else(machine_millicores);
        Decided {
            memory_bytes: percent_of(memory_bytes, memory_percent),
            cpu_millicores: percent_of(cpu_millicores, cpu_percent),
            vms: self.vms.unwrap_or_else(|| vms_by_maps(info)),
            cells: (info.max_cells > 0).then_some(info.max_cells),
            vms_per_cell: vms_by_maps(info),
        }
    }
}

/// Of the memory that the cells have, what VMs get.
pub fn vms_part(bytes: u64) -> u64 {
    bytes / 100 * MEMORY_PERCENT
}

fn percent_of(value: u64, percent: u16) -> u64 {
    value.saturating_mul(u64::from(percent)) / 100
}

/// VMs that one cell can hold and the kernel can map.
fn vms_by_maps(info: &Info) -> u32 {
    let by_maps = u32::try_from(info.max_map_count / MAPS_PER_VM).unwrap_or(u32::MAX);
    info.max_vms_per_cell.min(by_maps)
}

fn machine_millicores() -> u64 {
    std::thread::available_parallelism()
        .map_or(1000, |cores| u64::try_from(cores.get()).unwrap_or(1) * 1000)
}

/// The machine's memory, or the container's limit where that is less.
fn machine_memory_bytes() -> u64 {
    let total = std::fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| mem_total_bytes(&text))
        .unwrap_or(1 << 30);
    let limits = [
        "/sys/fs/cgroup/memory.max",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
    ];
    limits
        .into_iter()
        .filter_map(|path| limit_bytes(Path::new(path)))
        .fold(total, u64::min)
}

fn mem_total_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

fn limit_bytes(path: &Path) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use agentvm_cell_api::warden::{Compiles, JailLevel};

    use super::*;

    fn info(max_vms_per_cell: u32, max_map_count: u64) -> Info {
        Info {
            version: String::new(),
            engine: String::new(),
            jail: JailLevel::Full,
            jail_message: String::new(),
            max_vms_per_cell,
            max_cells: 1,
            max_map_count,
            shortage: String::new(),
            stopping: false,
            pid: 1,
            resident_bytes: 0,
            compiles: Compiles::default(),
        }
    }

    #[test]
    fn vms_are_bounded_by_slots_and_by_memory_maps() {
        assert_eq!(vms_by_maps(&info(1_000, 65_530)), 1_000);
        assert_eq!(vms_by_maps(&info(50_000, 65_530)), 10_921);
    }

    #[test]
    fn what_is_given_is_not_derived() {
        let given = Capacity {
            memory_bytes: Some(7),
            cpu_millicores: Some(8),
            vms: Some(9),
            overcommit: Overcommit::default(),
        };
        let decided = given.decide(&info(1_000, 65_530));
        assert_eq!(
            decided,
            Decided {
                memory_bytes: 7,
                cpu_millicores: 8,
                vms: 9,
                cells: Some(1),
                vms_per_cell: 1_000,
            }
        );
    }

    #[test]
    fn a_warden_that_does_not_say_how_many_cells_it_runs_bounds_none() {
        let old = Info {
            max_cells: 0,
            ..info(1_000, 65_530)
        };
        assert_eq!(Capacity::default().decide(&old).cells, None);
    }

    #[test]
    fn what_may_be_promised_is_a_part_or_a_multiple_of_what_there_is() {
        let there_is = Capacity {
            memory_bytes: Some(4 << 30),
            cpu_millicores: Some(2_000),
            vms: Some(9),
            overcommit: Overcommit {
                cpu_percent: 300,
                memory_percent: 75,
            },
        };
        let decided = there_is.decide(&info(1_000, 65_530));
        assert_eq!(
            (decided.memory_bytes, decided.cpu_millicores, decided.vms),
            (3 << 30, 6_000, 9)
        );
        assert_eq!(percent_of(u64::MAX, 1_000), u64::MAX / 100);
    }

    #[test]
    fn what_is_derived_is_scaled_too() {
        let plain = Capacity::default().decide(&info(1, 65_530));
        let doubled = Capacity {
            overcommit: Overcommit {
                cpu_percent: 200,
                memory_percent: 100,
            },
            ..Capacity::default()
        };
        let doubled = doubled.decide(&info(1, 65_530));
        assert_eq!(doubled.cpu_millicores, 2 * plain.cpu_millicores);
        assert_eq!(doubled.memory_bytes, plain.memory_bytes);
    }

    #[test]
    fn the_kernels_memory_table_is_read() {
        assert_eq!(
            mem_total_bytes("MemFree: 1 kB\nMemTotal:       16384 kB\n"),
            Some(16 << 20)
        );
        assert_eq!(mem_total_bytes("nothing"), None);
    }
}
