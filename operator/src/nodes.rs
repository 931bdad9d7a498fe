//! What is known of the nodes: core Node, `AgentNode` and Lease put together.
//!
//! A Lease is judged by this process's monotonic clock: fresh for as long as a *changed*
//! Lease was seen less than its duration ago. The writer's clock is read once, for the first
//! sight of a Lease, where it says how old that Lease probably is: a node that died before this
//! operator started is not taken for alive, and a live one whose clock is wrong becomes fresh
//! with its next renewal.
//!
//! Placement is cautious and goes by that. What the VMs of a node are told goes by whole durations
//! watched in vain: after an outage of the API server nobody has renewed for a while, and it would
//! be no help to write "not heard from" into every VM and take it back ten seconds later.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use agentvm_crds::AgentNode;
use agentvm_crds::agentnode::JailLevel;
use agentvm_crds::quantity;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Taint, Toleration};

use crate::place::{Candidate, CellBounds, Heard, Used, evicting};
use crate::resources::Resources;

/// The taint by which an administrator says that a node is down for good.
pub const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

/// What the objects of one node say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeFacts {
    /// The core Node; `None` where there is none.
    pub core: Option<CoreFacts>,
    /// The `AgentNode`; `None` where no agent was ever there.
    pub agent: Option<AgentFacts>,
}

/// What placement reads of a core Node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CoreFacts {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its taints.
    pub taints: Vec<Taint>,
    /// Whether it is cordoned.
    pub unschedulable: bool,
}

/// What placement reads of an `AgentNode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AgentFacts {
    /// Its condition `Ready`.
    pub ready: bool,
    /// How much of the jail its kernel allows.
    pub jail: JailLevel,
    /// What the sum of limits may reach; nothing where it is not told or can't be read.
    pub capacity: Resources,
    /// How many cells it runs.
    pub cells: CellBounds,
}

/// How a node stands towards the VMs that are assigned to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Its agent is heard from.
    Fresh,
    /// Its agent is not heard from: cut off or dead, nobody here can tell.
    Silent,
    /// It has no Node object.
    Gone,
    /// It carries the out-of-service taint.
    OutOfService,
}

/// Whether a change of a node may matter to placement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It may.
    Changed,
    /// It does not.
    Same,
}

/// Every node.
#[derive(Debug, Default)]
pub struct Nodes {
    facts: BTreeMap<String, NodeFacts>,
    leases: BTreeMap<String, LeaseSeen>,
}

#[derive(Clone, Debug)]
struct LeaseSeen {
    renewal: Option<Timestamp>,
    holder: String,
    /// When it was last written, as far as can be told.
    seen_at: Option<Instant>,
    /// When it was last seen to change, or first seen at all.
    watched_since: Instant,
    duration: Duration,
    reported: Heard,
}

impl LeaseSeen {
    /// What placement goes by.
    fn heard(&self, now: Instant) -> Heard {
        let fresh = !self.holder.is_empty()
            && self
                .seen_at
                .is_some_and(|seen_at| now.saturating_duration_since(seen_at) < self.duration);
        if fresh { Heard::Fresh } else { Heard::Silent }
    }

    /// What its VMs are told.
    fn told(&self, now: Instant) -> Heard {
        let watched = now.saturating_duration_since(self.watched_since);
        if watched < self.duration {
            Heard::Fresh
        } else {
            Heard::Silent
        }
    }
}

impl Nodes {
    /// The prefix of the name of a node's Lease.
    pub const LEASE_PREFIX: &'static str = "node-";
    const DEFAULT_LEASE: Duration = Duration::from_secs(40);
    const LONGEST_LEASE: Duration = Duration::from_mins(10);

    /// Takes over a core Node, or its absence.
    pub fn set_core(&mut self, name: &str, node: Option<&Node>) -> Change {
        let core = node.map(core_facts);
        self.update(name, |facts| facts.core = core)
    }

    /// Takes over an `AgentNode`, or its absence.
    pub fn set_agent(&mut self, name: &str, node: Option<&AgentNode>) -> Change {
        let agent = node.map(agent_facts);
        self.update(name, |facts| facts.agent = agent)
    }

    /// Takes over a node's Lease, or its absence. `wall` is the time by this machine's clock.
    pub fn set_lease(
        &mut self,
        name: &str,
        lease: Option<&Lease>,
        now: Instant,
        wall: Timestamp,
    ) -> Change {
        let Some(lease) = lease else {
            return if self.leases.remove(name).is_some() {
                Change::Changed
            } else {
                Change::Same
            };
        };
        let before = self.leases.get(name).cloned();
        let mut seen = lease_seen(lease, now);
        match &before {
            Some(before) if before.renewal == seen.renewal && before.holder == seen.holder => {
                (seen.seen_at, seen.watched_since) = (before.seen_at, before.watched_since);
            }
            Some(_) => {}
            None => seen.seen_at = first_sight(seen.renewal, now, wall),
        }
        seen.reported = seen.told(now);
        let change = match before {
            Some(before) if before.heard(now) == seen.heard(now) => Change::Same,
            Some(_) | None => Change::Changed,
        };
        self.leases.insert(name.to_owned(), seen);
        change
    }

    /// The nodes whose Lease ran out since this was asked last.
    pub fn fallen_silent(&mut self, now: Instant) -> Vec<String> {
        let mut silent = Vec::new();
        for (name, lease) in &mut self.leases {
            if lease.reported == Heard::Fresh && lease.told(now) == Heard::Silent {
                lease.reported = Heard::Silent;
                silent.push(name.clone());
            }
        }
        silent
    }

    /// When the next fresh Lease runs out if nothing is heard.
    pub fn next_expiry(&self) -> Option<Instant> {
        self.leases
            .values()
            .filter(|lease| lease.reported == Heard::Fresh)
            .filter_map(|lease| lease.watched_since.checked_add(lease.duration))
            .min()
    }

    /// How a node stands towards its VMs.
    pub fn standing(&self, name: &str, now: Instant) -> Standing {
        let Some(core) = self.facts.get(name).and_then(|facts| facts.core.as_ref()) else {
            return Standing::Gone;
        };
        if is_out_of_service(&core.taints) {
            return Standing::OutOfService;
        }
        match self
            .leases
            .get(name)
            .map_or(Heard::Silent, |lease| lease.told(now))
        {
            Heard::Fresh => Standing::Fresh,
            Heard::Silent => Standing::Silent,
        }
    }

    /// Why a node must let go of a VM with these tolerations, if it must.
    pub fn evicts(&self, name: &str, tolerations: &[Toleration]) -> Option<String> {
        let core = self.facts.get(name)?.core.as_ref()?;
        let Taint {
            key, effect, value, ..
        } = evicting(&core.taints, tolerations)?;
        let value = value.as_deref().unwrap_or_default();
        Some(format!(
            "node {name} has the taint {key}={value}:{effect}, which spec.tolerations does not tolerate"
        ))
    }

    /// What the VMs of a node may hold in sum; `None` where no agent has said so.
    pub fn capacity(&self, name: &str) -> Option<Resources> {
        let agent = self.facts.get(name)?.agent.as_ref()?;
        Some(agent.capacity)
    }

    /// The taints of a node.
    pub fn taints(&self, name: &str) -> Vec<Taint> {
        let core = self.facts.get(name).and_then(|facts| facts.core.as_ref());
        core.map(|core| core.taints.clone()).unwrap_or_default()
    }

    /// Every node that has an agent, for placement.
    pub fn candidates<'a>(
        &'a self,
        now: Instant,
        used: impl Fn(&str) -> Used + 'a,
    ) -> impl Iterator<Item = Candidate<'a>> + 'a {
        self.facts
            .iter()
            .filter(|(_, facts)| facts.agent.is_some())
            .map(move |(name, facts)| Candidate {
                name,
                facts,
                heard: self.heard(name, now),
                used: used(name),
            })
    }

    /// How many nodes have an agent, by whether it is heard from.
    pub fn count(&self, now: Instant, which: Heard) -> usize {
        let agents = self.facts.iter().filter(|(_, facts)| facts.agent.is_some());
        agents
            .filter(|(name, _)| self.heard(name, now) == which)
            .count()
    }

    fn heard(&self, name: &str, now: Instant) -> Heard {
        self.leases
            .get(name)
            .map_or(Heard::Silent, |lease| lease.heard(now))
    }

    fn update(&mut self, name: &str, change: impl FnOnce(&mut NodeFacts)) -> Change {
        let facts = self.facts.entry(name.to_owned()).or_default();
        let before = facts.clone();
        change(facts);
        let outcome = if *facts == before {
            Change::Same
        } else {
            Change::Changed
        };
        if *facts == NodeFacts::default() {
            self.facts.remove(name);
        }
        outcome
    }
}

/// Whether these taints say that the node is down for good.
pub fn is_out_of_service(taints: &[Taint]) -> bool {
    taints.iter().any(|taint| taint.key == OUT_OF_SERVICE)
}

fn core_facts(node: &Node) -> CoreFacts {
    let spec = node.spec.as_ref();
    CoreFacts {
        labels: node.metadata.labels.clone().unwrap_or_default(),
        taints: spec
            .and_then(|spec| spec.taints.clone())
            .unwrap_or_default(),
        unschedulable: spec.and_then(|spec| spec.unschedulable).unwrap_or_default(),
    }
}

fn agent_facts(node: &AgentNode) -> AgentFacts {
    let Some(status) = &node.status else {
        return AgentFacts::default();
    };
    let allocatable = status.allocatable.as_ref();
    let count = |value: i64| u64::try_from(value).unwrap_or_default();
    let capacity = allocatable.map(|allocatable| Resources {
        memory_bytes: quantity::whole(&allocatable.memory.0).unwrap_or_default(),
        cpu_millicores: quantity::milli(&allocatable.cpu.0).unwrap_or_default(),
        vms: count(allocatable.vms),
    });
    let cells = allocatable.map(|allocatable| CellBounds {
        cells: allocatable.cells.map(count),
        vms_each: allocatable.vms_per_cell.map(count),
    });
    AgentFacts {
        ready: status
            .conditions
            .iter()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True"),
        jail: status
            .jail
            .as_ref()
            .map(|jail| jail.level)
            .unwrap_or_default(),
        capacity: capacity.unwrap_or_default(),
        cells: cells.unwrap_or_default(),
    }
}

fn lease_seen(lease: &Lease, now: Instant) -> LeaseSeen {
    let spec = lease.spec.clone().unwrap_or_default();
    let seconds = spec
        .lease_duration_seconds
        .and_then(|seconds| u64::try_from(seconds).ok());
    LeaseSeen {
        renewal: spec.renew_time.map(|time| time.0),
        holder: spec.holder_identity.unwrap_or_default(),
        seen_at: Some(now),
        watched_since: now,
        duration: seconds
            .map_or(Nodes::DEFAULT_LEASE, Duration::from_secs)
            .min(Nodes::LONGEST_LEASE),
        reported: Heard::Silent,
    }
}

/// When a Lease that was never seen before counts as renewed.
fn first_sight(renewal: Option<Timestamp>, now: Instant, wall: Timestamp) -> Option<Instant> {
    let age = Duration::try_from(wall.duration_since(renewal?)).unwrap_or_default();
    now.checked_sub(age)
}

#[cfg(test)]
mod tests;
