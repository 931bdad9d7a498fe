//! What the machine and the container leave for cells, judged before the first one is started.

use std::path::Path;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{Settings, memory};

/// Memory maps that a running VM takes of `vm.max_map_count`.
const MAPS_PER_VM: u64 = agentvm_policy::budget::MAPS_PER_VM.value;
/// Cells at once, where nobody says.
const CELLS: u32 = agentvm_policy::budget::CELLS.u32();
/// Memory of a cell without VMs.
const EMPTY_CELL_BYTES: u64 = agentvm_policy::budget::EMPTY_CELL_BYTES.value;
/// Which part of the container's memory empty cells may take together.
const EMPTY_CELLS_PART: u64 = 8;
/// Threads of a cell beside one for each core.
const THREADS_PER_CELL: u64 = agentvm_policy::budget::CELL_HELPERS.value + 5;
/// Threads of the warden and its compilers.
const OTHER_THREADS: u64 =
    agentvm_policy::budget::WARDEN_THREADS.value + agentvm_policy::budget::COMPILERS.value + 1;
/// Maps of a cell's own: its program, its threads, its channels.
const MAPS_PER_CELL: u64 = agentvm_policy::budget::MAPS_PER_CELL.value;
/// The file with the most maps that a process may have.
const MAX_MAP_COUNT: &str = "/proc/sys/vm/max_map_count";
/// Below this a warden, one cell and the compiler of a small module get nowhere: each start would
/// end in the kernel's hands.
const LEAST_MEMORY_MIB: u64 = 64;

/// Why no cell can run here.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// The kernel's answer can't be read.
    #[error("{MAX_MAP_COUNT} can't be read")]
    Unreadable(#[source] std::io::Error),
    /// Not one VM fits.
    #[error("vm.max_map_count is {got} on this node, and one VM takes {}: raise it on the node, such as by `sysctl -w vm.max_map_count=65530`", MAPS_PER_CELL + MAPS_PER_VM)]
    Maps {
        /// The setting.
        got: u64,
    },
    /// The container is too small.
    #[error(
        "the container's memory limit is {got_mib} MiB, and a warden with one cell needs {LEAST_MEMORY_MIB}: raise the limit (the chart's value node.cells.resources.limits.memory)"
    )]
    Memory {
        /// The limit.
        got_mib: u64,
    },
}

/// How many cells there can be, and how many VMs in each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Slots {
    /// VMs at once.
    pub(super) count: u32,
    /// Cells at once.
    pub(super) cells: u32,
    /// One sentence on why they are fewer than was asked for; empty where they are not.
    pub(super) shortage: String,
}

/// Fails where not even one VM could run, and cuts the setting to what the kernel can map.
pub(super) fn assess(settings: &Settings) -> Result<Slots, MachineError> {
    let limit = memory::limit(&settings.cgroup_dir);
    if let Some(limit) = limit {
        enough_memory(limit)?;
    }
    let slots = Slots {
        cells: settings
            .max_cells
            .unwrap_or_else(|| cells(limit, max_threads(&settings.cgroup_dir), cores())),
        ..slots(settings.max_vms_per_cell, max_map_count()?)?
    };
    if !slots.shortage.is_empty() {
        tracing::warn!("{}", slots.shortage);
    }
    Ok(slots)
}

/// `vm.max_map_count`.
pub(super) fn max_map_count() -> Result<u64, MachineError> {
    let text =
        std::fs::read_to_string(Path::new(MAX_MAP_COUNT)).map_err(MachineError::Unreadable)?;
    let number = text.trim().parse();
    number.map_err(|error| MachineError::Unreadable(std::io::Error::other(error)))
}

fn enough_memory(limit_bytes: u64) -> Result<(), MachineError> {
    let got_mib = limit_bytes >> 20;
    if got_mib < LEAST_MEMORY_MIB {
        return Err(MachineError::Memory { got_mib });
    }
    Ok(())
}

/// As many cells as are cheap for a container with these limits, one at least.
fn cells(limit_bytes: Option<u64>, max_threads: Option<u64>, cores: u64) -> u32 {
    let by_memory = limit_bytes.map_or(u64::MAX, |bytes| {
        bytes / EMPTY_CELLS_PART / EMPTY_CELL_BYTES
    });
    let by_threads = max_threads.map_or(u64::MAX, |threads| {
        threads.saturating_sub(OTHER_THREADS) / (THREADS_PER_CELL + cores)
    });
    u32::try_from(by_memory.min(by_threads))
        .unwrap_or(u32::MAX)
        .clamp(1, CELLS)
}

/// Threads that the container may have, in version 2 of the interface or 1; `None` where they are
/// not bounded.
fn max_threads(cgroup_dir: &Path) -> Option<u64> {
    let read = |file: &str| std::fs::read_to_string(cgroup_dir.join(file)).ok();
    let text = read("pids.max").or_else(|| read("pids/pids.max"))?;
    text.trim().parse().ok()
}

/// Cores that this container may use.
pub(super) fn cores() -> u64 {
    std::thread::available_parallelism().map_or(1, |cores| u64::try_from(cores.get()).unwrap_or(1))
}

/// Lets the warden have as many descriptors as it may: each cell, and each module that waits or is
/// held, takes some.
pub(super) fn raise_open_files() {
    let now = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: now.maximum,
        maximum: now.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the warden keeps the descriptors that it has");
    }
}

fn slots(asked: u32, max_map_count: u64) -> Result<Slots, MachineError> {
    let by_maps = max_map_count.saturating_sub(MAPS_PER_CELL) / MAPS_PER_VM;
    let count = asked.min(u32::try_from(by_maps).unwrap_or(u32::MAX));
    if count == 0 && asked > 0 {
        return Err(MachineError::Maps { got: max_map_count });
    }
    let wanted = u64::from(asked) * MAPS_PER_VM + MAPS_PER_CELL;
    let shortage = if count == asked {
        String::new()
    } else {
        format!(
            "vm.max_map_count is {max_map_count} on this node, so that a cell holds {count} VMs and not {asked}: \
             raise it to {wanted} or more, and restart the container"
        )
    };
    Ok(Slots {
        count,
        cells: CELLS,
        shortage,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_holds_what_was_asked_for_where_the_kernel_can_map_it() {
        let slots = slots(10_000, 65_530).unwrap();
        assert_eq!((slots.count, slots.shortage.as_str()), (10_000, ""));
    }

    #[test]
    fn too_few_maps_cut_the_vms_and_the_sentence_says_what_would_be_enough() {
        let cut = slots(1_000, 2_048).unwrap();
        assert_eq!(cut.count, 320);
        assert!(
            cut.shortage.contains("holds 320 VMs and not 1000"),
            "{}",
            cut.shortage
        );
        assert!(
            cut.shortage.contains("raise it to 6128"),
            "{}",
            cut.shortage
        );
        assert_eq!(slots(1_000, 6_128).unwrap().count, 1_000);
    }

    #[test]
    fn a_small_container_runs_few_cells() {
        const GIB: u64 = 1 << 30;
        for (limit, most) in [
            (None, 200),
            (Some(64 * GIB), 200),
            (Some(2 * GIB), 64),
            (Some(GIB / 2), 16),
            (Some(1), 1),
        ] {
            assert_eq!(cells(limit, None, 2), most, "{limit:?}");
        }
    }

    #[test]
    fn a_container_with_few_threads_runs_few_cells() {
        let groups = tempfile::tempdir().unwrap();
        assert_eq!(max_threads(groups.path()), None);
        std::fs::write(groups.path().join("pids.max"), "max\n").unwrap();
        assert_eq!(max_threads(groups.path()), None);
        std::fs::write(groups.path().join("pids.max"), "1024\n").unwrap();
        let threads = max_threads(groups.path());
        assert_eq!(threads, Some(1024));
        // 35 are the warden's and its compilers', and 13 each cell's on four cores.
        assert_eq!(cells(None, threads, 4), 76);
        assert_eq!(cells(None, Some(1), 4), 1);
    }

    #[test]
    fn where_no_vm_fits_nothing_is_started() {
        let refused = slots(1, 133).unwrap_err().to_string();
        assert!(
            refused.contains("is 133 on this node, and one VM takes 134"),
            "{refused}"
        );
        assert_eq!(slots(1, 134).unwrap().count, 1);
        let refused = enough_memory((64 << 20) - 1).unwrap_err().to_string();
        assert!(refused.contains("is 63 MiB"), "{refused}");
        assert!(enough_memory(64 << 20).is_ok());
    }
}
