//! Ends the largest cell before the container runs out of memory.
//!
//! Kubernetes kills a container whole when its memory is used up. One cell less is the smaller
//! loss: the namespaces of the others go on.

mod cgroup;

use std::sync::Arc;
use std::time::Duration;

use super::Settings;
use super::cells::Cells;
use cgroup::{Reading, Source};

/// How often memory is looked at: it takes guests longer to touch a tenth of a container.
const EVERY: Duration = Duration::from_millis(250);

/// How long an end takes to show: its memory is not given back at once.
const SETTLE: Duration = Duration::from_secs(2);

/// Watches the container's memory. Never ends; without a limit it has nothing to do.
pub(super) async fn watch(cells: Arc<Cells>, settings: &Settings) {
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let Some(source) = Source::find(&own, &settings.cgroup_dir) else {
        tracing::info!(
            "the container has no memory limit that can be read: no cell is ended for memory"
        );
        return std::future::pending().await;
    };
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Ok(reading) = source.read() else { continue };
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

/// The cell to end: the largest, where `percent` of the limit are used.
fn choose(reading: Reading, percent: u64, resident: &[(String, u64)]) -> Option<String> {
    let Reading { used, limit } = reading;
    if u128::from(used) * 100 < u128::from(limit) * u128::from(percent) {
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
