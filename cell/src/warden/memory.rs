//! Ends the cell that is most over before the container runs out of memory; before that, keeps
//! files from growing.
//!
//! Kubernetes kills a container whole when its memory is used up. One cell less is the smaller
//! loss: the namespaces of the others go on. Files are memory that a guest can do without: a
//! write that fails is a smaller loss still.

mod cgroup;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::Settings;
use super::cells::{Cells, Weight};
use cgroup::{Reading, Source};

/// What a cell takes of its own, besides what its VMs were promised.
const OWN_BYTES: u64 = agentvm_policy::budget::CELL_OWN_BYTES.value;

/// How often memory is looked at: it takes guests longer to touch a tenth of a container.
const EVERY: Duration = Duration::from_millis(250);

/// How long an end takes to show: its memory is not given back at once.
const SETTLE: Duration = Duration::from_secs(2);

/// How far before the end of a cell files stop growing, where nobody says, percent.
const BEFORE_THE_END_PERCENT: u64 = 8;

/// How far below the share at which files stop growing they may grow again, percent: memory that
/// is freed at the edge must not have them switched to and fro.
const HYSTERESIS_PERCENT: u64 = 5;

/// The container's limit in bytes, where it has one.
pub(super) fn limit(cgroup_dir: &Path) -> Option<u64> {
    source(cgroup_dir)?.read().ok().map(|reading| reading.limit)
}

fn source(cgroup_dir: &Path) -> Option<Source> {
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    Source::find(&own, cgroup_dir)
}

/// Watches the container's memory. Never ends; without a limit it has nothing to do.
pub(super) async fn watch(cells: Arc<Cells>, settings: &Settings) {
    let Some(source) = source(&settings.cgroup_dir) else {
        tracing::info!(
            "the container has no memory limit that can be read: no cell is ended for memory"
        );
        return std::future::pending().await;
    };
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let growth_percent = settings.growth_percent.unwrap_or_else(|| {
        settings
            .memory_percent
            .saturating_sub(BEFORE_THE_END_PERCENT)
    });
    let mut refused = false;
    loop {
        ticks.tick().await;
        let Ok(reading) = source.read() else { continue };
        let refuse = refuses_growth(reading, growth_percent, refused);
        if refuse != refused {
            refused = refuse;
            tracing::warn!(
                refused,
                used_bytes = reading.used,
                limit_bytes = reading.limit,
                "memory pressure: whether VMs' files may grow has changed"
            );
            cells.refuse_growth(refused);
        }
        let Some(victim) = choose(reading, settings.memory_percent, &cells.weigh()) else {
            continue;
        };
        let message = victim.sentence(reading, settings.memory_percent);
        tracing::warn!(
            namespace = %victim.cell.namespace,
            resident_bytes = victim.cell.resident,
            promised_bytes = victim.cell.promised,
            used_bytes = reading.used,
            limit_bytes = reading.limit,
            "memory is nearly used up: a cell is ended"
        );
        cells.kill_for_memory(&victim.cell.namespace, message).await;
        tokio::time::sleep(SETTLE).await;
    }
}

/// Whether files may not grow, where that was so or not before.
fn refuses_growth(reading: Reading, percent: u64, refused: bool) -> bool {
    let edge = if refused {
        percent.saturating_sub(HYSTERESIS_PERCENT)
    } else {
        percent
    };
    reading.is_at(edge)
}

/// The cell to end, and by how much it is over.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Victim {
    cell: Weight,
    over: u64,
}

impl Victim {
    fn of(cell: &Weight) -> Self {
        let allowed = cell.promised.saturating_add(OWN_BYTES);
        Self {
            over: cell.resident.saturating_sub(allowed),
            cell: cell.clone(),
        }
    }

    /// What is remembered of it.
    fn sentence(&self, reading: Reading, percent: u64) -> String {
        let Self { cell, over } = self;
        let [used, limit, resident, promised, over_mib] = [
            reading.used,
            reading.limit,
            cell.resident,
            cell.promised,
            *over,
        ]
        .map(|bytes| bytes >> 20);
        let namespace = &cell.namespace;
        let why = if *over > 0 {
            format!(
                "{over_mib} MiB more than its VMs were promised ({promised} MiB) and a cell needs"
            )
        } else {
            format!(
                "the most of all, and no cell held more than its VMs were promised ({promised} MiB): the node has promised more than it has"
            )
        };
        format!(
            "{used} MiB of the container's {limit} MiB of memory were used, and at {percent} % a cell is ended: \
             namespace {namespace} held {resident} MiB, {why}"
        )
    }
}

/// The cell to end where `percent` of the limit are used: the one that is most over what its VMs
/// were promised; where none is, the largest.
fn choose(reading: Reading, percent: u64, cells: &[Weight]) -> Option<Victim> {
    if !reading.is_at(percent) {
        return None;
    }
    let all = cells.iter().map(Victim::of);
    all.max_by_key(|victim| (victim.over, victim.cell.resident))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn cell(namespace: &str, promised_mib: u64, resident_mib: u64) -> Weight {
        Weight {
            namespace: namespace.to_owned(),
            promised: promised_mib * MIB,
            resident: resident_mib * MIB,
        }
    }

    fn at(used_mib: u64) -> Reading {
        Reading {
            used: used_mib * MIB,
            limit: 1000 * MIB,
        }
    }

    #[test]
    fn d10_the_cell_that_is_most_over_its_promise_goes_and_not_the_largest() {
        let cells = [
            cell("large", 500, 500),
            cell("over", 50, 180),
            cell("empty", 0, 20),
        ];
        let chosen = |used| choose(at(used), 88, &cells).map(|victim| victim.cell.namespace);
        assert_eq!(chosen(0), None);
        assert_eq!(chosen(879), None);
        assert_eq!(chosen(880).as_deref(), Some("over"));
        assert_eq!(chosen(2000).as_deref(), Some("over"));
        let said = choose(at(880), 88, &cells).unwrap().sentence(at(880), 88);
        let own = OWN_BYTES / MIB;
        let expected = format!(
            "880 MiB of the container's 1000 MiB of memory were used, and at 88 % a cell is ended: namespace over held \
             180 MiB, {} MiB more than its VMs were promised (50 MiB) and a cell needs",
            130 - own
        );
        assert_eq!(said, expected);
    }

    #[test]
    fn d10_where_no_cell_is_over_the_largest_goes() {
        let cells = [
            cell("a", 400, 300),
            cell("b", 600, 500),
            cell("c", 0, OWN_BYTES / MIB),
        ];
        let victim = choose(at(900), 88, &cells).unwrap();
        assert_eq!((victim.cell.namespace.as_str(), victim.over), ("b", 0));
        let said = victim.sentence(at(900), 88);
        assert!(
            said.ends_with("the node has promised more than it has"),
            "{said}"
        );
    }

    #[test]
    fn files_stop_growing_at_the_share_and_grow_again_well_below_it() {
        let refuses = |used, before| refuses_growth(Reading { used, limit: 1000 }, 80, before);
        assert!(!refuses(799, false));
        assert!(refuses(800, false));
        assert!(refuses(799, true));
        assert!(refuses(750, true));
        assert!(!refuses(749, true));
    }

    #[test]
    fn without_cells_nothing_is_ended() {
        assert_eq!(
            choose(
                Reading {
                    used: 10,
                    limit: 10
                },
                88,
                &[]
            ),
            None
        );
    }
}
