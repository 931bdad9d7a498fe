//! Ends the largest cell before the container runs out of memory; before that, keeps files from
//! growing.
//!
//! Kubernetes kills a container whole when its memory is used up. One cell less is the smaller
//! loss: the namespaces of the others go on. Files are memory that a guest can do without: a
//! write that fails is a smaller loss still.

mod cgroup;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::Settings;
use super::cells::Cells;
use cgroup::{Reading, Source};

/// How often memory is looked at: it takes guests longer to touch a tenth of a container.
const EVERY: Duration = Duration::from_millis(250);

/// How long an end takes to show: its memory is not given back at once.
const SETTLE: Duration = Duration::from_secs(2);

/// How far before the end of the largest cell files stop growing, where nobody says, percent.
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
        let Some(victim) = choose(reading, settings.memory_percent, &cells.resident()) else {
            continue;
        };
        tracing::warn!(
            namespace = %victim,
            used_bytes = reading.used,
            limit_bytes = reading.limit,
            "memory is nearly used up: the largest cell is ended"
        );
        cells.kill(&victim).await;
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

/// The cell to end: the largest, where `percent` of the limit are used.
fn choose(reading: Reading, percent: u64, resident: &[(String, u64)]) -> Option<String> {
    if !reading.is_at(percent) {
        return None;
    }
    let largest = resident.iter().max_by_key(|(_, bytes)| *bytes);
    largest.map(|(namespace, _)| namespace.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d10_the_largest_cell_goes_when_the_share_is_reached_and_none_before() {
        let resident = [
            ("a".to_owned(), 30),
            ("b".to_owned(), 50),
            ("c".to_owned(), 9),
        ];
        let choose = |used| choose(Reading { used, limit: 1000 }, 88, &resident);
        assert_eq!(choose(0), None);
        assert_eq!(choose(879), None);
        assert_eq!(choose(880), Some("b".to_owned()));
        assert_eq!(choose(2000), Some("b".to_owned()));
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
