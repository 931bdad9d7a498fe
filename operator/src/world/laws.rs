//! Laws of placement, whatever happens in whatever order.
//!
//! A small cluster is the truth: what the API server holds. The world is told of it late, twice
//! or not at all, and its writes are refused or end without an answer. What is assigned fits.

mod cluster;

use proptest::prelude::*;

use cluster::{CELLS, Cluster, MIB, NAMESPACES, NODES, Spec, Step, VMS, Vm, Write, name};

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
