//! Which cells end: those that no VM needs.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Action, Draft};
use crate::observed::{CellState, Lack, Observed, needing_cells};

/// How long a cell is kept that no VM needs.
const IDLE_KEPT: Duration = Duration::from_mins(1);

/// Ends cells that no VM needs after a while, and at once where other namespaces wait for one:
/// as many as those are.
pub(super) fn stop_idle(observed: &Observed, draft: &mut Draft) {
    let needed = needing_cells(&observed.vms);
    let mut to_make_room_for = short_of_cells(observed, &needed);
    for (namespace, cell) in &observed.cells {
        let CellState::Up { idle_since, .. } = cell else {
            continue;
        };
        if needed.contains(namespace.as_str()) {
            continue;
        }
        let makes_room = to_make_room_for > 0;
        if makes_room
            || idle_since.is_some_and(|since| draft.is_due(since.saturating_add(IDLE_KEPT)))
        {
            to_make_room_for = to_make_room_for.saturating_sub(1);
            draft.push(Action::StopCell {
                namespace: namespace.clone(),
            });
        }
    }
}

/// How many namespaces wait for a cell that none makes room for yet.
fn short_of_cells(observed: &Observed, needed: &BTreeSet<&str>) -> usize {
    let waiting = observed.cells.iter().filter(|(namespace, cell)| {
        let lacks_room = matches!(
            cell,
            CellState::Waiting {
                lack: Lack::Room,
                ..
            }
        );
        lacks_room && needed.contains(namespace.as_str())
    });
    let stopping = observed.cells.values();
    let stopping = stopping.filter(|cell| matches!(cell, CellState::Stopping { .. }));
    waiting.count().saturating_sub(stopping.count())
}
