//! Laws of placement, whatever happens in whatever order.
//!
//! A small cluster is the truth: what the API server holds. The world is told of it late, twice
//! or not at all, and its writes are refused or end without an answer. What is assigned fits.

use std::collections::BTreeMap;
use std::time::Instant;

use agentvm_crds::AgentVM;
use agentvm_crds::agentnode::JailLevel;
use proptest::prelude::*;
use serde_json::json;

use super::tests::{Offer, add_node_of};
use super::{Key, Placement, World};
use crate::decoded::Decoded;
use crate::place::Demand;
use crate::resources::Resources;
use crate::validate;

const MIB: u64 = 1 << 20;
const VMS: usize = 6;
/// The VMs belong to one after another of these.
const NAMESPACES: [&str; 3] = ["heron", "egret", "stork"];
/// Name, memory in MiB, millicores and VMs of each node.
const NODES: [(&str, u64, u64, u64); 2] = [("n1", 256, 1_000, 3), ("n2", 384, 1_500, 4)];
/// Cells of each node, and VMs in each.
const CELLS: (u64, u64) = (2, 2);

/// What a manifest asks for.
#[derive(Clone, Copy, Debug)]
struct Spec {
    memory_mib: u64,
    storage_mib: u64,
    has_mounts: bool,
    cpu_millicores: u64,
}

/// What becomes of the write of an assignment.
#[derive(Clone, Copy, Debug)]
enum Write {
    Done,
    /// Another write came first.
    Refused,
    /// It was done, and the answer was lost.
    DoneUnheard,
    /// It was not done, and that was not heard either.
    LostUnheard,
}

#[derive(Clone, Copy, Debug)]
enum Step {
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
struct Vm {
    uid: String,
    spec: Spec,
    /// The node and the epoch, from the first assignment on.
    assignment: Option<(&'static str, i64)>,
    /// What the assignment says that it holds.
    claimed: Option<Resources>,
    is_over: bool,
    released: Option<i64>,
}

struct Cluster {
    world: World,
    now: Instant,
    truth: BTreeMap<usize, Vm>,
    shown: BTreeMap<usize, Vm>,
    made: u32,
}

fn spec() -> impl Strategy<Value = Spec> {
    (1_u64..=3, 1_u64..=2, any::<bool>(), 1_u64..=6).prop_map(
        |(memory, storage, has_mounts, cpu)| Spec {
            memory_mib: memory * 64,
            storage_mib: storage * 64,
            has_mounts,
            cpu_millicores: cpu * 100,
        },
    )
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let write = prop_oneof![
        4 => Just(Write::Done),
        1 => Just(Write::Refused),
        2 => Just(Write::DoneUnheard),
        1 => Just(Write::LostUnheard),
    ];
    let step = prop_oneof![
        4 => (0..VMS, spec()).prop_map(|(vm, spec)| Step::Change(vm, spec)),
        6 => (0..VMS, write).prop_map(|(vm, write)| Step::Look(vm, write)),
        3 => (0..VMS).prop_map(Step::Show),
        1 => (0..VMS).prop_map(Step::ShowAgain),
        1 => (0..VMS).prop_map(Step::End),
        1 => (0..VMS).prop_map(Step::Delete),
        1 => (0..VMS).prop_map(Step::LetGo),
        1 => (0..VMS).prop_map(Step::NewLeader),
    ];
    proptest::collection::vec(step, 1..80)
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

    fn resources(&self) -> Resources {
        validate::resources(&self.object(), &[])
    }

    /// What it counts for: what is not free yet included.
    fn counted(&self) -> Resources {
        self.resources().at_least(self.claimed.unwrap_or_default())
    }
}

impl Cluster {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            world: empty(now),
            now,
            truth: BTreeMap::new(),
            shown: BTreeMap::new(),
            made: 0,
        }
    }

    fn take(&mut self, step: Step) {
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
    fn hold(&mut self, index: usize, write: Write) {
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
    fn settle(&mut self) {
        for index in 0..VMS {
            self.show(index);
        }
    }

    /// The VMs on a node, and their numbers.
    fn on<'a>(&'a self, node: &'a str) -> impl Iterator<Item = (usize, &'a Vm)> {
        let here = self.truth.iter().filter(move |(_, vm)| {
            let on_it = vm.assignment.is_some_and(|(name, _)| name == node);
            on_it && !vm.is_over && vm.released != Some(vm.epoch())
        });
        here.map(|(index, vm)| (*index, vm))
    }

    /// What they hold, and what they ask for.
    fn held(&self, node: &str) -> Resources {
        let counted = self.on(node).map(|(_, vm)| vm.counted());
        counted.fold(Resources::default(), Resources::plus)
    }

    /// How many of them each namespace has.
    fn by_namespace(&self, node: &str) -> BTreeMap<&'static str, u64> {
        let mut counts = BTreeMap::new();
        for (index, _) in self.on(node) {
            *counts.entry(namespace(index)).or_default() += 1;
        }
        counts
    }

    /// The memory that they were given, whatever they ask for.
    fn given_bytes(&self, node: &str) -> u64 {
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

fn name(index: usize) -> Key {
    Key {
        namespace: namespace(index).to_owned(),
        name: format!("vm{index}"),
    }
}

fn namespace(index: usize) -> &'static str {
    NAMESPACES[index % NAMESPACES.len()]
}

/// What a hundred changes of one manifest leave, with the operator in between.
fn storm() -> impl Strategy<Value = Vec<Step>> {
    let write = prop_oneof![
        Just(Write::Done),
        Just(Write::Refused),
        Just(Write::DoneUnheard),
        Just(Write::LostUnheard),
    ];
    let step = prop_oneof![
        5 => spec().prop_map(|spec| Step::Change(0, spec)),
        3 => write.prop_map(|write| Step::Look(0, write)),
        1 => Just(Step::Show(0)),
        1 => Just(Step::ShowAgain(0)),
    ];
    proptest::collection::vec(step, 150)
}

proptest! {
    #[test]
    fn e18_of_a_hundred_changes_the_last_one_counts_and_one_assignment_is_made(steps in storm()) {
        let mut cluster = Cluster::new();
        let mut assignments = Vec::new();
        for step in steps {
            cluster.take(step);
            assignments.extend(cluster.truth.get(&0).and_then(|vm| vm.assignment));
            assignments.dedup();
        }
        prop_assert!(assignments.len() <= 1, "{assignments:?}");
        cluster.settle();
        for (node, ..) in NODES {
            let is_here = assignments.contains(&(node, 1));
            let last = cluster.truth.get(&0).filter(|_| is_here).map(Vm::counted);
            let counted = cluster.world.ledger.used(node);
            // A write whose answer is still out may stand, until there is another.
            let open = assignments.is_empty() && counted.vms == 1;
            prop_assert!(open || counted == last.unwrap_or_default(), "{node}: {counted:?}");
        }
    }

    #[test]
    fn once_everything_is_shown_what_is_counted_is_what_is_held(steps in steps()) {
        let mut cluster = Cluster::new();
        for step in steps {
            // What never was assigned stays counted while its write may stand.
            if !matches!(step, Step::Look(_, Write::LostUnheard)) {
                cluster.take(step);
            }
        }
        cluster.settle();
        for (node, ..) in NODES {
            let ledger = &cluster.world.ledger;
            prop_assert_eq!(ledger.used(node), cluster.held(node));
            let by_namespace = cluster.by_namespace(node);
            let cells = by_namespace.len().try_into().unwrap();
            for namespace in NAMESPACES {
                let used = ledger.used_by_others(node, namespace, "");
                let vms = by_namespace.get(namespace).copied();
                prop_assert_eq!((used.cells, used.own_cell), (cells, vms));
            }
        }
    }

    #[test]
    fn what_is_given_fits_but_for_cpu_that_was_raised(steps in steps()) {
        let mut cluster = Cluster::new();
        for (at, step) in steps.iter().enumerate() {
            let before: Vec<_> = cluster.truth.values().map(|vm| vm.assignment).collect();
            cluster.take(*step);
            let is_placed = matches!(step, Step::Look(..))
                && before != cluster.truth.values().map(|vm| vm.assignment).collect::<Vec<_>>();
            for (node, memory_mib, cpu, vms) in NODES {
                let given = cluster.given_bytes(node);
                prop_assert!(given <= memory_mib * MIB, "{node} at {at}: {given}");
                let held = cluster.held(node);
                prop_assert!(held.vms <= vms, "{node} at {at}: {held:?}");
                let cells = cluster.by_namespace(node);
                let (most, vms_each) = CELLS;
                prop_assert!(u64::try_from(cells.len()).unwrap() <= most, "{node} at {at}: {cells:?}");
                prop_assert!(cells.values().all(|vms| *vms <= vms_each), "{node} at {at}: {cells:?}");
                let Step::Look(index, _) = step else { continue };
                if is_placed && cluster.on(node).any(|(here, _)| here == *index) {
                    prop_assert!(held.cpu_millicores <= cpu, "{node} at {at}: {held:?}");
                    prop_assert!(held.memory_bytes <= memory_mib * MIB, "{node} at {at}: {held:?}");
                }
            }
        }
    }

    #[test]
    fn whoever_leads_in_the_end_a_vm_has_what_it_asks_for_or_must_leave(steps in steps(), first in 0..VMS) {
        let mut cluster = Cluster::new();
        for step in steps {
            cluster.take(step);
        }
        cluster.take(Step::NewLeader(first));
        for index in 0..VMS {
            cluster.hold(index, Write::Done);
        }
        cluster.settle();
        for (node, memory_mib, ..) in NODES {
            let holding = (0..VMS).map(|index| (index, cluster.world.hold(&name(index))));
            let stay = holding.filter(|(_, holding)| holding.outgrown.is_none());
            let stay: Vec<usize> = stay.map(|(index, _)| index).collect();
            let stay = cluster.on(node).filter(|(index, _)| stay.contains(index));
            let asked: u64 = stay.map(|(_, vm)| vm.resources().memory_bytes).sum();
            prop_assert!(asked <= memory_mib * MIB, "{node}: {asked}");
        }
    }
}
