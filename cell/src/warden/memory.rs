//! Ends the process that is most over before the container runs out of memory; before that, keeps
//! files from growing.
//!
//! Kubernetes kills a container whole when its memory is used up. One cell less is the smaller
//! loss: the namespaces of the others go on. A compilation that is tried again is a smaller loss
//! still, and so are files, which are memory that a guest can do without. Machine code that is on
//! disk too is none.

mod cgroup;
mod choose;
mod pace;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::Settings;
use super::cells::Cells;
use super::modules::Modules;
use cgroup::{Reading, Source};
pub(super) use choose::{Weight, Who};

/// How long an end takes to show once its process is gone.
const SETTLE: Duration = Duration::from_millis(100);

/// How long a process may take to be gone. Until then its memory is, in part, and what is left of
/// it must not cost another one.
const GONE_WITHIN: Duration = Duration::from_secs(5);

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
pub(super) async fn watch(cells: Arc<Cells>, modules: Arc<Modules>, settings: &Settings) {
    let Some(source) = source(&settings.cgroup_dir) else {
        tracing::info!(
            "the container has no memory limit that can be read: no cell is ended for memory"
        );
        return std::future::pending().await;
    };
    let cores = super::machine::cores();
    let percent = settings.memory_percent;
    let growth_percent = settings
        .growth_percent
        .unwrap_or_else(|| percent.saturating_sub(BEFORE_THE_END_PERCENT));
    let mut refused = false;
    loop {
        let Ok(reading) = source.read() else {
            tokio::time::sleep(pace::EVERY).await;
            continue;
        };
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
        if reading.is_at(percent) {
            let given_back = modules.let_go();
            if given_back > 0 {
                tracing::warn!(
                    given_back,
                    used_bytes = reading.used,
                    limit_bytes = reading.limit,
                    "memory is nearly used up: machine code that was kept for cells to come is only on disk now"
                );
                continue;
            }
            let compilers = modules.compilers();
            let mut all = cells.weigh();
            all.extend(compilers.weigh());
            if let Some(chosen) = choose::choose(reading, percent, &all) {
                end(chosen, (reading, percent), &cells, compilers).await;
            }
        }
        tokio::time::sleep(pace::pause(reading, percent, cores)).await;
    }
}

/// Ends a process, and waits until its memory is given back.
async fn end(
    chosen: &Weight,
    (reading, percent): (Reading, u64),
    cells: &Cells,
    compilers: &super::compilers::Compilers,
) {
    let message = chosen.sentence(reading, percent);
    tracing::warn!(
        who = ?chosen.who,
        resident_bytes = chosen.resident,
        promised_bytes = chosen.promised,
        used_bytes = reading.used,
        limit_bytes = reading.limit,
        "memory is nearly used up: a process is ended"
    );
    let ending = async {
        match &chosen.who {
            Who::Cell(namespace) => cells.kill_for_memory(namespace, message).await,
            Who::Compiler(pid) => compilers.shed(*pid).await,
        }
    };
    if tokio::time::timeout(GONE_WITHIN, ending).await.is_err() {
        tracing::warn!(who = ?chosen.who, "it was killed and is not gone yet");
    }
    tokio::time::sleep(SETTLE).await;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_stop_growing_at_the_share_and_grow_again_well_below_it() {
        let refuses = |used, before| refuses_growth(Reading { used, limit: 1000 }, 80, before);
        assert!(!refuses(799, false));
        assert!(refuses(800, false));
        assert!(refuses(799, true));
        assert!(refuses(750, true));
        assert!(!refuses(749, true));
    }
}
