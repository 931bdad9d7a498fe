//! Panics in host code made for guests, of cells that have ended as well.

use std::collections::BTreeMap;

use agentvm_cell_api::cell::Stats;
use agentvm_cell_api::warden::Cell;

/// Panics by the process that they were in; none is kept of one without.
#[derive(Debug, Default)]
pub(super) struct HostPanics {
    by_instance: BTreeMap<String, u64>,
}

impl HostPanics {
    /// Takes in what cells say now.
    pub(super) fn observe(&mut self, cells: &[(Cell, Stats)]) {
        for (cell, stats) in cells {
            if stats.host_panics > 0 {
                let count = self.by_instance.entry(cell.instance.clone()).or_default();
                *count = (*count).max(stats.host_panics);
            }
        }
    }

    /// How many there were since the agent started, as far as cells were asked.
    pub(super) fn total(&self) -> u64 {
        self.by_instance.values().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(instance: &str, host_panics: u64) -> (Cell, Stats) {
        let cell = Cell {
            namespace: "tenant-ns".to_owned(),
            socket: String::new(),
            pid: 1,
            instance: instance.to_owned(),
            started_unix_ms: 0,
        };
        let stats = Stats {
            host_panics,
            ..Stats::default()
        };
        (cell, stats)
    }

    #[test]
    fn l11_panics_of_a_cell_that_has_ended_stay_counted_once() {
        let mut panics = HostPanics::default();
        let mut total = |cells: &[(Cell, Stats)]| {
            panics.observe(cells);
            panics.total()
        };
        assert_eq!(total(&[cell("a", 0), cell("b", 2)]), 2);
        assert_eq!(total(&[cell("a", 1)]), 3);
        assert_eq!(total(&[]), 3);
        assert_eq!(total(&[cell("b", 2), cell("c", 1)]), 4);
    }
}
