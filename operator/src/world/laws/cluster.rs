//! A small cluster: what the API server holds, and what the world was told of it.

use std::collections::BTreeMap;
use std::time::Instant;

use agentvm_crds::AgentVM;
use agentvm_crds::agentnode::JailLevel;
use serde_json::json;

use crate::decoded::Decoded;
use crate::place::Demand;
use crate::resources::Resources;
use crate::validate;
use crate::world::tests::{Offer, add_node_of};
use crate::world::{Key, Placement, World};

pub(super) const MIB: u64 = 1 << 20;
pub(super) const VMS: usize = 6;
/// The VMs belong to one after another of these.
pub(super) const NAMESPACES: [&str; 3] = ["heron", "egret", "stork"];
/// Name, memory in MiB, millicores and VMs of each node.
pub(super) const NODES: [(&str, u64, u64, u64); 2] = [("n1", 256, 1_000, 3), ("n2", 384, 1_500, 4)];
/// Cells of each node, and VMs in each.
pub(super) const CELLS: (u64, u64) = (2, 2);

/// What a manifest asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spec {
    pub(super) memory_mib: u64,
    pub(super) storage_mib: u64,
    pub(super) has_mounts: bool,
    pub(super) cpu_millicores: u64,
}

/// What becomes of the write of an assignment.
#[derive(Clone, Copy, Debug)]
pub(super) enum Write {
    Done,
    /// Another write came first.
    Refused,
    /// It was done, and the answer was lost.
    DoneUnheard,
    /// It was not done, and that was not heard either.
    LostUnheard,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// Its manifest is changed, or it is made.
    Change(usize, Spec),
    /// The operator looks at it.
    Look(usize, Write),
    /// The watch shows it as it is.
    Show(usize),
    /// The watch shows it once more as it was shown last.
    ShowAgain(usize),
    End(usize),
    Delete(usize),
    /// The agent of a VM that must leave has let go of it.
    LetGo(usize),
    /// Another leader begins, which is told of the VMs in an order that starts with this one.
    NewLeader(usize),
}

#[derive(Clone, Debug)]
pub(super) struct Vm {
    uid: String,
    spec: Spec,
    /// The node and the epoch, from the first assignment on.
    pub(super) assignment: Option<(&'static str, i64)>,
    /// What the assignment says that it holds.
    claimed: Option<Resources>,
    is_over: bool,
    released: Option<i64>,
}

pub(super) struct Cluster {
    pub(super) world: World,
    now: Instant,
    pub(super) truth: BTreeMap<usize, Vm>,
    shown: BTreeMap<usize, Vm>,
    made: u32,
}

impl Vm {
    fn object(&self) -> Decoded<AgentVM> {
        let Spec {
            memory_mib,
            storage_mib,
            has_mounts,
            cpu_millicores,
        } = self.spec;
        let mounts = if has_mounts {
            json!([{"path": "/work", "emptyDir": {}}])
        } else {
            json!([])
        };
        let mut object = json!({
            "apiVersion": "agentvm.dev/v1alpha1", "kind": "AgentVM",
            "metadata": {"name": "a", "namespace": "lab", "uid": self.uid},
            "spec": {"image": "r/a", "mounts": mounts, "limits": {
                "memory": format!("{memory_mib}Mi"), "storage": format!("{storage_mib}Mi"),
                "cpu": format!("{cpu_millicores}m"),
            }},
            "status": {"phase": if self.is_over { "Complete" } else { "Pending" }},
        });
        if let Some((node, epoch)) = self.assignment {
            object["status"]["assignment"] = json!({"nodeName": node, "epoch": epoch});
            if let Some(claimed) = self.claimed {
                object["status"]["assignment"]["claimed"] = json!(claimed.to_record());
            }
        }
        if let Some(released) = self.released {
            object["status"]["releasedEpoch"] = json!(released);
        }
        serde_json::from_value(object).unwrap()
    }

    fn epoch(&self) -> i64 {
        self.assignment.map_or(0, |(_, epoch)| epoch)
    }

    fn needs_a_node(&self) -> bool {
        !self.is_over && (self.assignment.is_none() || self.released == Some(self.epoch()))
    }

    pub(super) fn resources(&self) -> Resources {
        validate::resources(&self.object(), &[])
    }

    /// What it counts for: what is not free yet included.
    pub(super) fn counted(&self) -> Resources {
        self.resources().at_least(self.claimed.unwrap_or_default())
    }
}

impl Cluster {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self {
            world: empty(now),
            now,
            truth: BTreeMap::new(),
            shown: BTreeMap::new(),
            made: 0,
        }
    }

    pub(super) fn take(&mut self, step: Step) {
        match step {
            Step::Change(index, spec) => {
                self.made += 1;
                let uid = format!("uid-{}", self.made);
                let vm = self.truth.entry(index).or_insert(Vm {
                    uid,
                    spec,
                    assignment: None,
                    claimed: None,
                    is_over: false,
                    released: None,
                });
                vm.spec = spec;
                self.show(index);
            }
            Step::Look(index, write) => self.look(index, write),
            Step::Show(index) => self.show(index),
            Step::ShowAgain(index) => {
                if let Some(vm) = self.shown.get(&index) {
                    self.world.vm(&name(index), &vm.object(), self.now);
                }
            }
            Step::End(index) => {
                if let Some(vm) = self.truth.get_mut(&index) {
                    vm.is_over = vm.assignment.is_some();
                }
            }
            Step::Delete(index) => {
                self.truth.remove(&index);
                if self.shown.remove(&index).is_some() {
                    self.world.vm_gone(&name(index));
                }
            }
            Step::LetGo(index) => {
                let must = self.world.hold(&name(index)).outgrown.is_some();
                if let Some(vm) = self.truth.get_mut(&index).filter(|_| must) {
                    vm.released = Some(vm.epoch());
                }
            }
            Step::NewLeader(first) => {
                self.world = empty(self.now);
                for index in (first..VMS).chain(0..first) {
                    self.show(index);
                }
            }
        }
    }

    fn show(&mut self, index: usize) {
        if let Some(vm) = self.truth.get(&index) {
            self.world.vm(&name(index), &vm.object(), self.now);
            self.shown.insert(index, vm.clone());
        }
    }

    /// As `reconcile` does it for a VM that has a node: what it holds is written down, unless
    /// that is not what was shown any more.
    pub(super) fn hold(&mut self, index: usize, write: Write) {
        let Some(claimed) = self.world.hold(&name(index)).claimed else {
            return;
        };
        let shown = self.shown.get(&index).map(|vm| (&vm.uid, vm.epoch()));
        if let Some(truth) = self.truth.get_mut(&index)
            && Some((&truth.uid, truth.epoch())) == shown
            && matches!(write, Write::Done | Write::DoneUnheard)
        {
            truth.claimed = Some(claimed);
        }
    }

    /// As `reconcile` does it: by what the watch has shown, and by a write that is refused where
    /// that is not the truth any more.
    fn look(&mut self, index: usize, write: Write) {
        self.hold(index, write);
        let Some(vm) = self.shown.get(&index).filter(|vm| vm.needs_a_node()) else {
            return;
        };
        let (uid, epoch) = (vm.uid.clone(), vm.epoch() + 1);
        let demand = Demand {
            resources: vm.resources(),
            has_files: vm.spec.has_mounts,
            ..Demand::default()
        };
        let placement = self
            .world
            .place_or_wait(&name(index), &uid, epoch, &demand, self.now);
        let Placement::Node(node) = placement else {
            return;
        };
        let node = NODES.into_iter().find(|(name, ..)| *name == node);
        let is_shown =
            |truth: &Vm| (&truth.uid, truth.epoch(), truth.is_over) == (&uid, epoch - 1, false);
        let truth = self.truth.get_mut(&index).filter(|truth| is_shown(truth));
        match (write, truth, node) {
            (Write::Done | Write::DoneUnheard, Some(truth), Some((node, ..))) => {
                truth.assignment = Some((node, epoch));
                truth.claimed = Some(demand.resources);
                if matches!(write, Write::DoneUnheard) {
                    self.world.maybe_assigned(&uid, epoch);
                }
            }
            (Write::LostUnheard, ..) => self.world.maybe_assigned(&uid, epoch),
            (Write::Refused | Write::Done | Write::DoneUnheard, ..) => {
                self.world.not_assigned(&uid, epoch);
            }
        }
    }

    /// Has the watch catch up with everything.
    pub(super) fn settle(&mut self) {
        for index in 0..VMS {
            self.show(index);
        }
    }

    /// The VMs on a node, and their numbers.
    pub(super) fn on<'a>(&'a self, node: &'a str) -> impl Iterator<Item = (usize, &'a Vm)> {
        let here = self.truth.iter().filter(move |(_, vm)| {
            let on_it = vm.assignment.is_some_and(|(name, _)| name == node);
            on_it && !vm.is_over && vm.released != Some(vm.epoch())
        });
        here.map(|(index, vm)| (*index, vm))
    }

    /// What they hold, and what they ask for.
    pub(super) fn held(&self, node: &str) -> Resources {
        let counted = self.on(node).map(|(_, vm)| vm.counted());
        counted.fold(Resources::default(), Resources::plus)
    }

    /// How many of them each namespace has.
    pub(super) fn by_namespace(&self, node: &str) -> BTreeMap<&'static str, u64> {
        let mut counts = BTreeMap::new();
        for (index, _) in self.on(node) {
            *counts.entry(namespace(index)).or_default() += 1;
        }
        counts
    }

    /// The memory that they were given, whatever they ask for.
    pub(super) fn given_bytes(&self, node: &str) -> u64 {
        let claimed = self.on(node).filter_map(|(_, vm)| vm.claimed);
        claimed.map(|claimed| claimed.memory_bytes).sum()
    }
}

/// A leader's world before it is told of any VM.
fn empty(now: Instant) -> World {
    let mut world = World::new(JailLevel::Full);
    for (name, memory, cpu, vms) in NODES {
        let offer = Offer {
            memory: &format!("{memory}Mi"),
            cpu_millicores: cpu,
            vms,
            cells: Some(CELLS),
            in_use: &[],
        };
        add_node_of(&mut world, name, &offer, now);
    }
    world
}

pub(super) fn name(index: usize) -> Key {
    Key {
        namespace: namespace(index).to_owned(),
        name: format!("vm{index}"),
    }
}

pub(super) fn namespace(index: usize) -> &'static str {
    NAMESPACES[index % NAMESPACES.len()]
}
