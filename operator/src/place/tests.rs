//! Placement as tables.

use std::collections::BTreeMap;

use agentvm_crds::agentnode::JailLevel;
use k8s_openapi::api::core::v1::Taint;

use super::{Candidate, CellBounds, Demand, Heard, Used, place};
use crate::nodes::{AgentFacts, CoreFacts, NodeFacts};
use crate::resources::Resources;

const MIB: u64 = 1 << 20;

#[derive(Clone)]
struct Bed {
    name: &'static str,
    facts: NodeFacts,
    heard: Heard,
    used: Used,
}

fn bed(name: &'static str) -> Bed {
    Bed {
        name,
        facts: NodeFacts {
            core: Some(CoreFacts::default()),
            agent: Some(AgentFacts {
                ready: true,
                jail: JailLevel::Full,
                capacity: amount(1024, 4000, 10),
                cells: CellBounds::default(),
            }),
        },
        heard: Heard::Fresh,
        used: Used::default(),
    }
}

impl Bed {
    fn core(mut self, change: impl FnOnce(&mut CoreFacts)) -> Self {
        change(self.facts.core.as_mut().unwrap());
        self
    }

    fn agent(mut self, change: impl FnOnce(&mut AgentFacts)) -> Self {
        change(self.facts.agent.as_mut().unwrap());
        self
    }

    fn used(mut self, used: Resources) -> Self {
        self.used.resources = used;
        self
    }

    /// It runs so many cells, of which one may be the VM's namespace's, with so many VMs.
    fn cells(mut self, cells: u64, own_cell: Option<u64>) -> Self {
        (self.used.cells, self.used.own_cell) = (cells, own_cell);
        self
    }

    /// It runs so many cells at most, with so many VMs each.
    fn bounds(self, cells: u64, vms_each: u64) -> Self {
        self.agent(|agent| {
            agent.cells = CellBounds {
                cells: Some(cells),
                vms_each: Some(vms_each),
            };
        })
    }

    fn silent(mut self) -> Self {
        self.heard = Heard::Silent;
        self
    }

    fn without_node(mut self) -> Self {
        self.facts.core = None;
        self
    }

    fn tainted(self, key: &str) -> Self {
        let taint = Taint {
            key: key.into(),
            value: None,
            effect: "NoSchedule".into(),
            time_added: None,
        };
        self.core(|core| core.taints.push(taint))
    }
}

fn amount(memory_mib: u64, cpu_millicores: u64, vms: u64) -> Resources {
    Resources {
        memory_bytes: memory_mib * MIB,
        cpu_millicores,
        vms,
    }
}

fn small() -> Demand {
    Demand {
        resources: amount(64, 250, 1),
        ..Demand::default()
    }
}

fn outcome(demand: &Demand, beds: &[Bed], require: JailLevel) -> String {
    let candidates = beds.iter().map(|bed| Candidate {
        name: bed.name,
        facts: &bed.facts,
        heard: bed.heard,
        used: bed.used,
    });
    match place(demand, candidates, require) {
        Ok(name) => name.to_owned(),
        Err(reasons) => reasons.to_string(),
    }
}

#[test]
fn each_obstacle_is_named() {
    let cases = [
        (vec![], "0/0 nodes: no node runs an agent"),
        (
            vec![bed("n1").used(amount(1000, 0, 1))],
            "0/1 nodes: 1 insufficient memory",
        ),
        (
            vec![bed("n1").used(amount(0, 3900, 1))],
            "0/1 nodes: 1 insufficient cpu",
        ),
        (
            vec![bed("n1").used(amount(0, 0, 10))],
            "0/1 nodes: 1 insufficient VM slots",
        ),
        (vec![bed("n1").tainted("gpu")], "0/1 nodes: 1 taint gpu"),
        (
            vec![bed("n1").core(|core| core.unschedulable = true)],
            "0/1 nodes: 1 cordoned",
        ),
        (vec![bed("n1").silent()], "0/1 nodes: 1 not heard from"),
        (
            vec![bed("n1").agent(|agent| agent.ready = false)],
            "0/1 nodes: 1 not ready",
        ),
        (
            vec![bed("n1").agent(|agent| agent.jail = JailLevel::Partial)],
            "0/1 nodes: 1 jail too weak",
        ),
        (
            vec![bed("n1").without_node()],
            "0/1 nodes: 1 without Node object",
        ),
        (
            vec![
                bed("n1").tainted("gpu"),
                bed("n2").used(amount(1000, 0, 1)),
                bed("n3").used(amount(1000, 0, 1)),
            ],
            "0/3 nodes: 2 insufficient memory, 1 taint gpu",
        ),
    ];
    for (beds, expected) in cases {
        assert_eq!(outcome(&small(), &beds, JailLevel::Full), expected);
    }
}

#[test]
fn a_selector_must_match_every_label() {
    let demand = Demand {
        node_selector: BTreeMap::from([("zone".into(), "a".into()), ("disk".into(), "ssd".into())]),
        ..small()
    };
    let half = bed("n1").core(|core| core.labels = BTreeMap::from([("zone".into(), "a".into())]));
    let whole = bed("n2").core(|core| {
        core.labels = BTreeMap::from([("zone".into(), "a".into()), ("disk".into(), "ssd".into())]);
    });
    assert_eq!(
        outcome(&demand, std::slice::from_ref(&half), JailLevel::Full),
        "0/1 nodes: 1 not matching nodeSelector"
    );
    assert_eq!(outcome(&demand, &[half, whole], JailLevel::Full), "n2");
}

#[test]
fn a_weaker_jail_is_taken_where_the_operator_allows_it() {
    let weak = bed("n1").agent(|agent| agent.jail = JailLevel::Partial);
    assert_eq!(outcome(&small(), &[weak], JailLevel::Partial), "n1");
}

#[test]
fn a_vm_that_fits_exactly_is_placed() {
    let full_but_one = bed("n1").used(amount(960, 3750, 9));
    assert_eq!(outcome(&small(), &[full_but_one], JailLevel::Full), "n1");
}

#[test]
fn the_node_with_most_left_wins_then_the_name() {
    let cases = [
        (
            vec![
                bed("n1").used(amount(512, 1000, 2)),
                bed("n2").used(amount(128, 1000, 2)),
            ],
            "n2",
        ),
        (vec![bed("n2"), bed("n1")], "n1"),
        (vec![bed("n1"), bed("n2")], "n1"),
        // A bigger node has a larger share left.
        (
            vec![
                bed("n1"),
                bed("n2").agent(|agent| agent.capacity = amount(8192, 16000, 100)),
            ],
            "n2",
        ),
    ];
    for (beds, expected) in cases {
        assert_eq!(outcome(&small(), &beds, JailLevel::Full), expected);
    }
}

#[test]
fn a_node_that_promises_nothing_takes_nothing() {
    let empty = bed("n1").agent(|agent| agent.capacity = Resources::default());
    assert_eq!(
        outcome(&small(), &[empty], JailLevel::Full),
        "0/1 nodes: 1 insufficient memory"
    );
}

#[test]
fn files_are_held_in_the_nodes_memory_and_the_obstacle_says_so() {
    let demand = |memory_mib: u64, has_files: bool| Demand {
        resources: amount(memory_mib, 250, 1),
        has_files,
        ..Demand::default()
    };
    let both = "0/1 nodes: 1 insufficient memory (limits.memory + limits.storage)";
    let cases = [
        (demand(1024, true), "n1"),
        (demand(1025, true), both),
        (demand(1025, false), "0/1 nodes: 1 insufficient memory"),
    ];
    for (demand, expected) in cases {
        assert_eq!(outcome(&demand, &[bed("n1")], JailLevel::Full), expected);
    }
}

#[test]
fn d10_a_vm_of_one_more_namespace_needs_a_free_cell() {
    let full = |own_cell| bed("n1").bounds(200, 10).cells(200, own_cell);
    let none = "insufficient cells (--max-cells: VMs of 200 namespaces at once)";
    let cases = [
        (vec![full(None)], format!("0/1 nodes: 1 {none}")),
        (vec![full(Some(3))], "n1".to_owned()),
        (vec![full(Some(0))], "n1".to_owned()),
        (
            vec![bed("n1").bounds(200, 10).cells(199, None)],
            "n1".to_owned(),
        ),
        // With a larger share of everything else left, but no cell.
        (
            vec![full(None), bed("n2").used(amount(512, 2000, 5))],
            "n2".to_owned(),
        ),
        (
            vec![
                full(None),
                bed("n2").bounds(200, 10).cells(201, None),
                bed("n3").bounds(1, 10).cells(1, None),
            ],
            format!(
                "0/3 nodes: 2 {none}, 1 insufficient cells (--max-cells: VMs of 1 namespace at once)"
            ),
        ),
    ];
    for (beds, expected) in cases {
        assert_eq!(outcome(&small(), &beds, JailLevel::Full), expected);
    }
}

#[test]
fn d10_a_cell_that_is_full_takes_no_more_of_its_namespace() {
    let bed = |vms| bed("n1").bounds(5, 3).cells(2, Some(vms));
    assert_eq!(outcome(&small(), &[bed(2)], JailLevel::Full), "n1");
    assert_eq!(
        outcome(&small(), &[bed(3)], JailLevel::Full),
        "0/1 nodes: 1 insufficient VM slots in the namespace's cell (--max-vms-per-cell: 3)"
    );
}

#[test]
fn an_agent_that_does_not_say_how_many_cells_it_runs_takes_any_number() {
    let old = bed("n1").cells(100_000, None);
    assert_eq!(outcome(&small(), &[old], JailLevel::Full), "n1");
    let old = bed("n1").cells(100_000, Some(9));
    assert_eq!(outcome(&small(), &[old], JailLevel::Full), "n1");
}

#[test]
fn many_different_taints_do_not_make_an_endless_message() {
    let names: [&'static str; 12] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
    let beds: Vec<Bed> = names
        .into_iter()
        .map(|name| bed(name).tainted(name))
        .collect();
    let message = outcome(&small(), &beds, JailLevel::Full);
    assert!(message.starts_with("0/12 nodes: 1 taint a, "), "{message}");
    assert!(message.ends_with(", 4 for other reasons"), "{message}");
}
