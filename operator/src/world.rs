//! Everything the watches have told, put together: nodes, policies, claims, and the VMs that
//! wait for room.
//!
//! No network and no clock: every method takes what happened and says which VMs to look at
//! again. One lock guards all of it, so that "it fits nowhere" and "it waits" are one step and
//! no freed room is missed between the two.

mod outgrown;
mod retry;
mod wake;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use agentvm_crds::agentnode::JailLevel;
use agentvm_crds::agentvm::{AgentVM, Assignment, Phase};
use agentvm_crds::{AgentNode, AgentPolicy};
use agentvm_policy::PolicyRules;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Namespace, Node, Toleration};
use kube::{Resource as _, ResourceExt};

pub use outgrown::Holding;
pub use wake::{Cause, Key, Placement, Wake};

use crate::decoded::Decoded;
use crate::ledger::{Claim, Ledger, Room};
use crate::nodes::{Change, Nodes, Standing};
use crate::place::{Demand, Heard, place};
use crate::policies::{Policies, Unreadable};
use crate::resources::Resources;
use crate::validate;

#[derive(Clone, Debug)]
struct Known {
    uid: String,
    node: Option<String>,
    over: bool,
    broken: bool,
    since: Instant,
}

#[derive(Clone, Debug)]
struct Waiting {
    /// Who waited first is tried first.
    turn: u64,
    demand: Demand,
    told: String,
}

/// See the module.
#[derive(Debug)]
pub struct World {
    require_jail: JailLevel,
    nodes: Nodes,
    policies: Policies,
    ledger: Ledger,
    vms: BTreeMap<Key, Known>,
    waiting: BTreeMap<Key, Waiting>,
    next_turn: u64,
}

impl World {
    /// A world without anything; VMs are placed on nodes whose jail is at least `require_jail`.
    pub fn new(require_jail: JailLevel) -> Self {
        Self {
            require_jail,
            nodes: Nodes::default(),
            policies: Policies::default(),
            ledger: Ledger::default(),
            vms: BTreeMap::new(),
            waiting: BTreeMap::new(),
            next_turn: 0,
        }
    }

    /// A core Node was seen, or is gone.
    pub fn node(&mut self, name: &str, node: Option<&Node>, now: Instant) -> Wake {
        let before = self.nodes.standing(name, now);
        let taints = self.nodes.taints(name);
        let change = self.nodes.set_core(name, node);
        let mut wake = self.after_node(name, change, before, now);
        if self.nodes.taints(name) != taints {
            wake.keys
                .extend(self.keys_where(|known| known.node.as_deref() == Some(name)));
        }
        wake
    }

    /// An `AgentNode` was seen, or is gone. One that can't be read counts as not there.
    pub fn agent_node(&mut self, name: &str, node: Option<&Decoded<AgentNode>>) -> Wake {
        let node = node.and_then(|node| node.0.as_ref().ok());
        let status = node.and_then(|node| node.status.as_ref());
        let cells = status.map_or(&[][..], |status| &status.cells);
        let freed = self.ledger.report_cells(name, cells);
        let mut wake = Wake::after(self.nodes.set_agent(name, node));
        wake.waiting = wake.waiting.max(freed.cause());
        wake
    }

    /// A Lease of the system namespace was seen, or is gone.
    pub fn lease(
        &mut self,
        name: &str,
        lease: Option<&Lease>,
        now: Instant,
        wall: Timestamp,
    ) -> Wake {
        let Some(node) = name.strip_prefix(Nodes::LEASE_PREFIX) else {
            return Wake::default();
        };
        let before = self.nodes.standing(node, now);
        let change = self.nodes.set_lease(node, lease, now, wall);
        self.after_node(node, change, before, now)
    }

    /// Time has passed: VMs of nodes that fell silent are looked at.
    pub fn tick(&mut self, now: Instant) -> Wake {
        let silent: BTreeSet<String> = self.nodes.fallen_silent(now).into_iter().collect();
        Wake {
            keys: self.keys_where(|known| {
                known
                    .node
                    .as_ref()
                    .is_some_and(|node| silent.contains(node))
            }),
            waiting: None,
        }
    }

    /// When [`World::tick`] has something to do next.
    pub fn next_tick(&self) -> Option<Instant> {
        self.nodes.next_expiry()
    }

    /// A namespace was seen, or is gone.
    pub fn namespace(&mut self, name: &str, namespace: Option<&Namespace>) -> Wake {
        if self
            .policies
            .set_namespace(name, namespace.map(ResourceExt::labels))
        {
            self.wake_namespaces(&BTreeSet::from([name.to_owned()]))
        } else {
            Wake::default()
        }
    }

    /// A policy was seen.
    pub fn policy(&mut self, policy: &Decoded<AgentPolicy>) -> Wake {
        let touched = self.policies.set(policy);
        self.wake_namespaces(&touched)
    }

    /// A policy is gone.
    pub fn policy_gone(&mut self, name: &str) -> Wake {
        let touched = self.policies.remove(name);
        self.wake_namespaces(&touched)
    }

    /// An `AgentVM` was seen.
    pub fn vm(&mut self, key: &Key, vm: &Decoded<AgentVM>, now: Instant) -> Wake {
        let uid = vm.meta().uid.clone().unwrap_or_default();
        let (assignment, over) = match &vm.0 {
            Ok(vm) => (vm.assignment().cloned(), is_over(vm)),
            Err(broken) => {
                let phase: Option<Phase> = broken.part("/status/phase");
                (
                    broken.part::<Assignment>("/status/assignment"),
                    phase.is_some_and(Phase::is_final),
                )
            }
        };
        let resources = validate::resources(
            vm,
            self.policies
                .of(&key.namespace)
                .as_deref()
                .unwrap_or_default(),
        );
        let epoch = assignment.as_ref().map_or(0, |assignment| assignment.epoch);
        let released = vm.0.as_ref().is_ok_and(is_released);
        let assignment = assignment.filter(|_| !released);
        let claim = assignment.as_ref().filter(|_| !over).map(
            |Assignment {
                 node_name, claimed, ..
             }| {
                let recorded = claimed.as_ref().and_then(Resources::recorded);
                let known = self.ledger.granted_bytes(&uid, node_name);
                Claim::seen(node_name, &key.namespace, epoch, resources, recorded, known)
            },
        );
        let mut freed = self.ledger.observe(&uid, epoch, claim.as_ref());
        let since = self
            .vms
            .get(key)
            .filter(|known| known.uid == uid)
            .map_or(now, |known| known.since);
        let known = Known {
            uid,
            node: assignment.map(|it| it.node_name),
            over,
            broken: vm.0.is_err(),
            since,
        };
        if known.node.is_some() || known.over || known.broken {
            self.waiting.remove(key);
        }
        let uid = known.uid.clone();
        if let Some(before) = self.vms.insert(key.clone(), known)
            && before.uid != uid
            && self.ledger.remove(&before.uid) == Room::Freed
        {
            freed = Room::Freed;
        }
        Wake {
            keys: BTreeSet::from([key.clone()]),
            waiting: freed.cause(),
        }
    }

    /// An `AgentVM` is gone.
    pub fn vm_gone(&mut self, key: &Key) -> Wake {
        self.waiting.remove(key);
        let freed = self
            .vms
            .remove(key)
            .map_or(Room::Same, |known| self.ledger.remove(&known.uid));
        Wake {
            keys: BTreeSet::new(),
            waiting: freed.cause(),
        }
    }

    /// The policies that hold in a namespace.
    pub fn policies_of(&self, namespace: &str) -> Result<Vec<PolicyRules>, Unreadable> {
        self.policies.of(namespace)
    }

    /// Why a node must let go of a VM with these tolerations, if it must.
    pub fn evicts(&self, node: &str, tolerations: &[Toleration]) -> Option<String> {
        self.nodes.evicts(node, tolerations)
    }

    /// What a VM holds on its node, which is what its assignment is to say from now on. Where its
    /// spec asks for more memory by now, it gets that if the node has it.
    pub fn hold(&mut self, key: &Key) -> Holding {
        let holding = self.holding(key);
        if let (Some(known), Some(claimed)) = (self.vms.get(key), holding.claimed) {
            self.ledger.grant(&known.uid, claimed.memory_bytes);
        }
        holding
    }

    /// How a node stands towards its VMs.
    pub fn standing(&self, node: &str, now: Instant) -> Standing {
        self.nodes.standing(node, now)
    }

    /// Picks a node for a VM and counts the room at once, or has the VM wait.
    pub fn place_or_wait(
        &mut self,
        key: &Key,
        uid: &str,
        epoch: i64,
        demand: &Demand,
        now: Instant,
    ) -> Placement {
        if self.ledger.holds(uid, epoch) {
            return Placement::UnderWay;
        }
        let ledger = &self.ledger;
        let found = place(
            demand,
            self.nodes
                .candidates(now, |node| ledger.used_by_others(node, &key.namespace, uid)),
            self.require_jail,
        );
        match found.map(str::to_owned) {
            Ok(node) => {
                self.waiting.remove(key);
                self.ledger.assume(
                    uid,
                    &Claim::decided(&node, &key.namespace, epoch, demand.resources),
                );
                Placement::Node(node)
            }
            Err(reasons) => {
                let turn = self
                    .waiting
                    .get(key)
                    .map_or(self.next_turn, |before| before.turn);
                self.next_turn = self.next_turn.saturating_add(1);
                let told = reasons.to_string();
                self.waiting.insert(
                    key.clone(),
                    Waiting {
                        turn,
                        demand: demand.clone(),
                        told,
                    },
                );
                Placement::None(reasons)
            }
        }
    }

    /// The write of an assignment was refused: its room is free again.
    pub fn not_assigned(&mut self, uid: &str, epoch: i64) -> Wake {
        Wake {
            keys: BTreeSet::new(),
            waiting: self.ledger.forget(uid, epoch).cause(),
        }
    }

    /// The write of an assignment ended without an answer: its room stays counted.
    pub fn maybe_assigned(&mut self, uid: &str, epoch: i64) {
        self.ledger.doubt(uid, epoch);
    }

    /// A VM needs no room any more: refused, suspended, or being deleted.
    pub fn stop_waiting(&mut self, key: &Key) {
        self.waiting.remove(key);
    }

    /// When a VM was first seen here.
    pub fn first_seen(&self, key: &Key) -> Option<Instant> {
        self.vms.get(key).map(|known| known.since)
    }

    /// Counts for the metrics.
    pub fn census(&self, now: Instant) -> Census {
        Census {
            vms: self.vms.len(),
            waiting: self.waiting.len(),
            undecodable: self.vms.values().filter(|known| known.broken).count(),
            nodes_fresh: self.nodes.count(now, Heard::Fresh),
            nodes_silent: self.nodes.count(now, Heard::Silent),
        }
    }

    fn holding(&self, key: &Key) -> Holding {
        let seen = self.vms.get(key).and_then(|known| {
            let claim = self.ledger.observed(&known.uid)?;
            Some((known.uid.as_str(), claim))
        });
        let Some((uid, claim)) = seen else {
            return Holding::default();
        };
        let free_bytes = self.nodes.capacity(&claim.node).map(|capacity| {
            let others = self.ledger.granted_bytes_to_others(&claim.node, uid);
            capacity.memory_bytes.saturating_sub(others)
        });
        Holding::of(claim, free_bytes)
    }

    fn after_node(&self, name: &str, change: Change, before: Standing, now: Instant) -> Wake {
        let mut wake = Wake::after(change);
        if self.nodes.standing(name, now) != before {
            wake.keys = self.keys_where(|known| known.node.as_deref() == Some(name));
        }
        wake
    }

    fn wake_namespaces(&self, namespaces: &BTreeSet<String>) -> Wake {
        let alive = self
            .vms
            .iter()
            .filter(|(key, known)| !known.over && namespaces.contains(&key.namespace));
        Wake {
            keys: alive.map(|(key, _)| key.clone()).collect(),
            waiting: None,
        }
    }

    fn keys_where(&self, wanted: impl Fn(&Known) -> bool) -> BTreeSet<Key> {
        let chosen = self
            .vms
            .iter()
            .filter(|(_, known)| !known.over && wanted(known));
        chosen.map(|(key, _)| key.clone()).collect()
    }
}

/// Whether a VM has ended for good. One that was refused before it had a node has not: it is
/// looked at again when its spec or a policy changes.
pub fn is_over(vm: &AgentVM) -> bool {
    match vm.phase() {
        Some(Phase::Complete) => true,
        Some(Phase::Failed) => vm.assignment().is_some(),
        Some(
            Phase::Pending | Phase::Starting | Phase::Running | Phase::BackOff | Phase::Suspended,
        )
        | None => false,
    }
}

/// Whether the agent of its node has let go of it.
pub fn is_released(vm: &AgentVM) -> bool {
    let released = vm.status.as_ref().and_then(|status| status.released_epoch);
    released.is_some() && released == vm.assignment().map(|assignment| assignment.epoch)
}

/// What [`World::census`] counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// VMs known.
    pub vms: usize,
    /// VMs that fit on no node.
    pub waiting: usize,
    /// VMs that can't be decoded.
    pub undecodable: usize,
    /// Nodes with an agent that is heard from.
    pub nodes_fresh: usize,
    /// Nodes with an agent that is not.
    pub nodes_silent: usize,
}

#[cfg(test)]
mod laws;
#[cfg(test)]
mod tests;
