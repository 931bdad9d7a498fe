//! Placement: which node a VM goes to, or why none takes it.
//!
//! Filter, then score. A node that passes every filter scores by what it would have left
//! (the mean of the free shares of memory, CPU and slots); the highest score wins, then the
//! fewest VMs, then the name, so that the same input always gives the same node.

mod obstacle;
mod taint;

use std::cmp::Reverse;
use std::collections::BTreeMap;

use agentvm_crds::agentnode::JailLevel;
use k8s_openapi::api::core::v1::Toleration;

pub use obstacle::{Obstacle, Unplaceable};
pub(crate) use taint::evicting;

use crate::guards::{Guard, is_on};
use crate::nodes::NodeFacts;
use crate::resources::Resources;

/// What a VM needs of a node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Demand {
    /// What it holds for as long as it is assigned.
    pub resources: Resources,
    /// Whether files have a part in `resources.memory_bytes`.
    pub has_files: bool,
    /// Labels that the Node must carry.
    pub node_selector: BTreeMap<String, String>,
    /// Taints that it tolerates.
    pub tolerations: Vec<Toleration>,
}

/// One node as placement sees it.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// The Node's name.
    pub name: &'a str,
    /// What its objects say.
    pub facts: &'a NodeFacts,
    /// Whether its agent is heard from.
    pub heard: Heard,
    /// What is held there.
    pub used: Used,
}

/// What is held on a node, as a VM of one namespace finds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// What the VMs assigned to it hold.
    pub resources: Resources,
    /// Cells, of whatever namespace.
    pub cells: u64,
    /// VMs in its own namespace's cell; `None` where that has none there.
    pub own_cell: Option<u64>,
}

/// How many cells a node runs, and how many VMs each; what its agent does not say is not bounded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CellBounds {
    /// Cells: one for each namespace with VMs there.
    pub cells: Option<u64>,
    /// VMs of one namespace.
    pub vms_each: Option<u64>,
}

/// Whether a node's agent renews its Lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A renewal was observed within the Lease's duration.
    Fresh,
    /// None was.
    Silent,
}

/// Picks the node for `demand`.
///
/// # Errors
/// Says for every candidate what stands in the way.
pub fn place<'a>(
    demand: &Demand,
    candidates: impl IntoIterator<Item = Candidate<'a>>,
    require_jail: JailLevel,
) -> Result<&'a str, Unplaceable> {
    let mut reasons = Unplaceable::default();
    let mut best = None;
    for candidate in candidates {
        if let Some(obstacle) = obstacle(demand, &candidate, require_jail) {
            reasons.add(obstacle);
        } else {
            let rank = (
                score(demand, &candidate),
                Reverse(candidate.used.resources.vms),
                Reverse(candidate.name),
            );
            best = best.max(Some(rank));
        }
    }
    best.map(|(_, _, Reverse(name))| name).ok_or(reasons)
}

/// The first thing that keeps `demand` off this node, cheapest to explain first.
fn obstacle(
    demand: &Demand,
    candidate: &Candidate<'_>,
    require_jail: JailLevel,
) -> Option<Obstacle> {
    let facts = candidate.facts;
    let (Some(core), Some(agent)) = (&facts.core, &facts.agent) else {
        return Some(Obstacle::NoNodeObject);
    };
    if core.unschedulable {
        return Some(Obstacle::Unschedulable);
    }
    if let Some(key) = taint::untolerated(&core.taints, &demand.tolerations) {
        return Some(Obstacle::Taint(key.to_owned()));
    }
    if demand
        .node_selector
        .iter()
        .any(|(key, value)| core.labels.get(key) != Some(value))
    {
        return Some(Obstacle::Selector);
    }
    if candidate.heard == Heard::Silent {
        return Some(Obstacle::Silent);
    }
    if !agent.ready {
        return Some(Obstacle::NotReady);
    }
    if agent.jail < require_jail {
        return Some(Obstacle::Jail);
    }
    let free = agent.capacity.minus(candidate.used.resources);
    let shortage = shortage(demand, free).filter(|_| is_on(Guard::Sums));
    let lack = || lack_of_cells(agent.cells, candidate.used).filter(|_| is_on(Guard::Cells));
    shortage.or_else(lack)
}

fn shortage(demand: &Demand, free: Resources) -> Option<Obstacle> {
    let needed = demand.resources;
    if needed.memory_bytes > free.memory_bytes {
        Some(if demand.has_files {
            Obstacle::MemoryAndStorage
        } else {
            Obstacle::Memory
        })
    } else if needed.cpu_millicores > free.cpu_millicores {
        Some(Obstacle::Cpu)
    } else if needed.vms > free.vms {
        Some(Obstacle::Slots)
    } else {
        None
    }
}

/// A VM goes into its namespace's cell, and takes one more where there is none yet.
fn lack_of_cells(bounds: CellBounds, used: Used) -> Option<Obstacle> {
    let CellBounds { cells, vms_each } = bounds;
    let Used {
        cells: there,
        own_cell,
        ..
    } = used;
    let no_cell = cells.filter(|most| own_cell.is_none() && there >= *most);
    let no_slot = vms_each.filter(|most| own_cell.unwrap_or_default() >= *most);
    let no_slot = no_slot.map(Obstacle::SlotsOfCell);
    no_cell.map(Obstacle::Cells).or(no_slot)
}

/// Parts per million free after placing, summed over the resources.
fn score(demand: &Demand, candidate: &Candidate<'_>) -> u64 {
    let Some(agent) = &candidate.facts.agent else {
        return 0;
    };
    let capacity = agent.capacity;
    let left = capacity
        .minus(candidate.used.resources)
        .minus(demand.resources);
    [
        (left.memory_bytes, capacity.memory_bytes),
        (left.cpu_millicores, capacity.cpu_millicores),
        (left.vms, capacity.vms),
    ]
    .into_iter()
    .map(|(free, of)| share_ppm(free, of))
    .sum()
}

fn share_ppm(free: u64, of: u64) -> u64 {
    let share = u128::from(free) * 1_000_000 / u128::from(of.max(1));
    u64::try_from(share).unwrap_or(u64::MAX).min(1_000_000)
}

#[cfg(test)]
mod tests;
