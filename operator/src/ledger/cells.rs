//! Which namespaces have a cell on which node.
//!
//! A namespace has one where a VM of it holds anything, and for as long as the node's agent says
//! that it is in use: a VM that was deleted runs on to the end of its grace.

use std::collections::BTreeMap;

use super::Room;
use crate::guards::{Guard, is_on};

/// The cells of every node.
#[derive(Clone, Debug, Default)]
pub(super) struct Cells {
    nodes: BTreeMap<String, BTreeMap<String, Cell>>,
}

/// One namespace's cell on one node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Cell {
    /// VMs that hold something there.
    vms: u64,
    /// Whether the node's agent says that it is in use.
    is_reported: bool,
}

impl Cells {
    /// How many there are on `node`.
    pub(super) fn count(&self, node: &str) -> u64 {
        let cells = self.nodes.get(node).map_or(0, BTreeMap::len);
        u64::try_from(cells).unwrap_or(u64::MAX)
    }

    /// The VMs of `namespace` that hold something on `node`; `None` where it has no cell there.
    pub(super) fn vms(&self, node: &str, namespace: &str) -> Option<u64> {
        let cell = self.nodes.get(node)?.get(namespace)?;
        Some(cell.vms)
    }

    /// One more VM of `namespace` holds something on `node`.
    pub(super) fn enter(&mut self, node: &str, namespace: &str) {
        let cell = self.cell(node, namespace);
        cell.vms = cell.vms.saturating_add(1);
    }

    /// One VM fewer does.
    pub(super) fn leave(&mut self, node: &str, namespace: &str) {
        let cell = self.cell(node, namespace);
        cell.vms = cell.vms.saturating_sub(1);
        self.sweep(node);
    }

    /// Takes over which cells are in use by the word of the node's agent.
    pub(super) fn report(&mut self, node: &str, namespaces: &[String]) -> Room {
        let before = self.count(node);
        for cell in self
            .nodes
            .get_mut(node)
            .into_iter()
            .flat_map(BTreeMap::values_mut)
        {
            cell.is_reported = false;
        }
        for namespace in namespaces {
            self.cell(node, namespace).is_reported = is_on(Guard::CellsInUse);
        }
        self.sweep(node);
        if self.count(node) < before {
            Room::Freed
        } else {
            Room::Same
        }
    }

    fn cell(&mut self, node: &str, namespace: &str) -> &mut Cell {
        let cells = self.nodes.entry(node.to_owned()).or_default();
        cells.entry(namespace.to_owned()).or_default()
    }

    /// Drops what nobody needs.
    fn sweep(&mut self, node: &str) {
        if let Some(cells) = self.nodes.get_mut(node) {
            cells.retain(|_, cell| *cell != Cell::default());
            if cells.is_empty() {
                self.nodes.remove(node);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Cells, Room};

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn a_namespace_has_one_cell_for_all_its_vms_until_the_last_one_left() {
        let mut cells = Cells::default();
        for namespace in ["heron", "heron", "egret"] {
            cells.enter("n1", namespace);
        }
        assert_eq!((cells.count("n1"), cells.count("n2")), (2, 0));
        assert_eq!(cells.vms("n1", "heron"), Some(2));
        cells.leave("n1", "heron");
        assert_eq!((cells.count("n1"), cells.vms("n1", "heron")), (2, Some(1)));
        cells.leave("n1", "heron");
        assert_eq!((cells.count("n1"), cells.vms("n1", "heron")), (1, None));
    }

    #[test]
    fn a_cell_whose_vms_have_left_is_there_until_its_agent_says_otherwise() {
        let mut cells = Cells::default();
        cells.enter("n1", "heron");
        assert_eq!(cells.report("n1", &names(&["heron", "egret"])), Room::Same);
        cells.leave("n1", "heron");
        assert_eq!((cells.count("n1"), cells.vms("n1", "heron")), (2, Some(0)));
        assert_eq!(cells.report("n1", &names(&["egret"])), Room::Freed);
        assert_eq!((cells.count("n1"), cells.vms("n1", "heron")), (1, None));
        assert_eq!(cells.report("n1", &[]), Room::Freed);
        assert_eq!(cells.report("n1", &[]), Room::Same);
        assert!(cells.nodes.is_empty());
    }

    #[test]
    fn what_an_agent_has_not_seen_yet_counts_all_the_same() {
        let mut cells = Cells::default();
        cells.enter("n1", "heron");
        assert_eq!(cells.report("n1", &[]), Room::Same);
        assert_eq!(cells.vms("n1", "heron"), Some(1));
    }
}
