//! Which of the waiting VMs are worth trying again, as much as fits together.

use std::collections::BTreeMap;
use std::time::Instant;

use super::{Cause, Key, Waiting, World};
use crate::place::{Used, place};
use crate::resources::Resources;

impl World {
    /// The waiting VMs for which it is worth trying again, as much as fits together.
    pub fn retry_waiting(&self, cause: Cause, now: Instant) -> Vec<Key> {
        let mut promised = Promised::default();
        let mut keys = Vec::new();
        let mut in_turn: Vec<(&Key, &Waiting)> = self.waiting.iter().collect();
        in_turn.sort_by_key(|(_, waiting)| waiting.turn);
        for (key, waiting) in in_turn {
            let uid = self.vms.get(key).map_or("", |known| known.uid.as_str());
            let used = |node: &str| {
                let held = self.ledger.used_by_others(node, &key.namespace, uid);
                promised.beside(node, &key.namespace, held)
            };
            let found = place(
                &waiting.demand,
                self.nodes.candidates(now, &used),
                self.require_jail,
            );
            match found {
                Ok(node) => {
                    let before = used(node);
                    let (node, demand) = (node.to_owned(), waiting.demand.resources);
                    promised.add(node, &key.namespace, demand, before);
                    keys.push(key.clone());
                }
                Err(reasons)
                    if cause == Cause::NodeChanged && reasons.to_string() != waiting.told =>
                {
                    keys.push(key.clone());
                }
                Err(_) => {}
            }
        }
        keys
    }
}

/// What was promised to some of the waiting VMs, by node, on top of what is held.
#[derive(Debug, Default)]
struct Promised(BTreeMap<String, Share>);

/// What was promised of one node.
#[derive(Debug, Default)]
struct Share {
    resources: Resources,
    /// Cells that it does not run yet.
    new_cells: u64,
    /// VMs by namespace.
    vms: BTreeMap<String, u64>,
}

impl Promised {
    /// What is held and promised, for a VM of `namespace`.
    fn beside(&self, node: &str, namespace: &str, held: Used) -> Used {
        let Some(share) = self.0.get(node) else {
            return held;
        };
        let own = share.vms.get(namespace).copied();
        let own_cell = match (held.own_cell, own) {
            (None, None) => None,
            (held, own) => Some(
                held.unwrap_or_default()
                    .saturating_add(own.unwrap_or_default()),
            ),
        };
        Used {
            resources: held.resources.plus(share.resources),
            cells: held.cells.saturating_add(share.new_cells),
            own_cell,
        }
    }

    /// Promises `demand` to a VM of `namespace`, who found `before`.
    fn add(&mut self, node: String, namespace: &str, demand: Resources, before: Used) {
        let share = self.0.entry(node).or_default();
        share.resources = share.resources.plus(demand);
        share.new_cells += u64::from(before.own_cell.is_none());
        *share.vms.entry(namespace.to_owned()).or_default() += 1;
    }
}
