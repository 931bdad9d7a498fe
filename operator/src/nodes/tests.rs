//! Freshness, standing and what is read of the three objects.

use std::time::{Duration, Instant};

use agentvm_crds::agentnode::{AgentNode, AgentNodeStatus, Jail, JailLevel, NodeCapacity};
use agentvm_crds::agentvm::Quantity;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::{Node, NodeSpec, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime, Time};

use super::{Change, Nodes, OUT_OF_SERVICE, Standing, agent_facts};
use crate::place::{CellBounds, Heard, Used};
use crate::resources::Resources;

const WALL: Timestamp = Timestamp::UNIX_EPOCH;

fn lease(holder: &str, renewed: Timestamp) -> Lease {
    Lease {
        spec: Some(LeaseSpec {
            holder_identity: Some(holder.into()),
            renew_time: Some(MicroTime(renewed)),
            lease_duration_seconds: Some(40),
            ..LeaseSpec::default()
        }),
        ..Lease::default()
    }
}

fn after(seconds: i64) -> Timestamp {
    WALL.checked_add(SignedDuration::from_secs(seconds))
        .unwrap()
}

fn node(taints: Vec<Taint>) -> Node {
    Node {
        spec: Some(NodeSpec {
            taints: Some(taints),
            ..NodeSpec::default()
        }),
        ..Node::default()
    }
}

fn seconds(value: u64) -> Duration {
    Duration::from_secs(value)
}

#[test]
fn a_lease_is_fresh_for_its_duration_after_a_change_was_seen() {
    let start = Instant::now();
    let mut nodes = Nodes::default();
    nodes.set_core("n1", Some(&node(vec![])));
    assert_eq!(
        nodes.set_lease("n1", Some(&lease("a", WALL)), start, WALL),
        Change::Changed
    );
    assert_eq!(nodes.standing("n1", start + seconds(39)), Standing::Fresh);
    assert_eq!(nodes.standing("n1", start + seconds(40)), Standing::Silent);
    // A relist shows the same Lease again: that is no renewal.
    nodes.set_lease("n1", Some(&lease("a", WALL)), start + seconds(39), WALL);
    assert_eq!(nodes.standing("n1", start + seconds(40)), Standing::Silent);
    assert_eq!(
        nodes.set_lease(
            "n1",
            Some(&lease("a", after(41))),
            start + seconds(41),
            WALL
        ),
        Change::Changed
    );
    assert_eq!(nodes.standing("n1", start + seconds(80)), Standing::Fresh);
}

#[test]
fn a_node_that_died_before_the_operator_started_is_not_taken_for_alive() {
    let start = Instant::now();
    let mut nodes = Nodes::default();
    nodes.set_core("n1", Some(&node(vec![])));
    nodes.set_lease("n1", Some(&lease("a", WALL)), start, after(3600));
    assert_eq!(nodes.heard("n1", start), Heard::Silent);
}

#[test]
fn after_an_outage_nothing_is_told_to_vms_before_a_whole_duration_was_watched_in_vain() {
    let start = Instant::now();
    let mut nodes = Nodes::default();
    nodes.set_core("n1", Some(&node(vec![])));
    nodes.set_lease("n1", Some(&lease("a", WALL)), start, after(3600));
    assert_eq!(nodes.standing("n1", start + seconds(39)), Standing::Fresh);
    assert_eq!(nodes.standing("n1", start + seconds(40)), Standing::Silent);
    assert_eq!(nodes.next_expiry(), Some(start + seconds(40)));
}

#[test]
fn a_writer_whose_clock_is_ahead_or_behind_counts_from_its_next_renewal() {
    let start = Instant::now();
    for skew in [-7200, 7200] {
        let mut nodes = Nodes::default();
        nodes.set_core("n1", Some(&node(vec![])));
        nodes.set_lease("n1", Some(&lease("a", after(skew))), start, WALL);
        nodes.set_lease(
            "n1",
            Some(&lease("a", after(skew + 10))),
            start + seconds(10),
            WALL,
        );
        assert_eq!(
            nodes.heard("n1", start + seconds(49)),
            Heard::Fresh,
            "skew {skew}"
        );
        assert_eq!(
            nodes.heard("n1", start + seconds(50)),
            Heard::Silent,
            "skew {skew}"
        );
    }
}

#[test]
fn a_released_lease_takes_no_vm_and_is_no_news_to_those_it_has_until_it_lasts() {
    let start = Instant::now();
    let mut nodes = Nodes::default();
    nodes.set_core("n1", Some(&node(vec![])));
    nodes.set_lease("n1", Some(&lease("a", WALL)), start, WALL);
    assert_eq!(
        nodes.set_lease("n1", Some(&lease("", after(1))), start + seconds(1), WALL),
        Change::Changed
    );
    assert_eq!(nodes.heard("n1", start + seconds(1)), Heard::Silent);
    assert_eq!(nodes.standing("n1", start + seconds(40)), Standing::Fresh);
    assert_eq!(nodes.standing("n1", start + seconds(41)), Standing::Silent);
}

#[test]
fn silence_is_told_once_and_when_to_look_is_known() {
    let start = Instant::now();
    let mut nodes = Nodes::default();
    nodes.set_lease("n1", Some(&lease("a", WALL)), start, WALL);
    assert_eq!(nodes.next_expiry(), Some(start + seconds(40)));
    assert!(nodes.fallen_silent(start + seconds(39)).is_empty());
    assert_eq!(nodes.fallen_silent(start + seconds(40)), ["n1"]);
    assert!(nodes.fallen_silent(start + seconds(41)).is_empty());
    assert_eq!(nodes.next_expiry(), None);
}

#[test]
fn a_node_without_object_is_gone_and_a_tainted_one_out_of_service() {
    let start = Instant::now();
    let mut nodes = Nodes::default();
    nodes.set_lease("n1", Some(&lease("a", WALL)), start, WALL);
    assert_eq!(nodes.standing("n1", start), Standing::Gone);
    let taint = Taint {
        key: OUT_OF_SERVICE.into(),
        effect: "NoExecute".into(),
        ..Taint::default()
    };
    nodes.set_core("n1", Some(&node(vec![taint])));
    assert_eq!(nodes.standing("n1", start), Standing::OutOfService);
}

#[test]
fn a_renewal_alone_does_not_concern_placement() {
    let start = Instant::now();
    let mut nodes = Nodes::default();
    nodes.set_lease("n1", Some(&lease("a", WALL)), start, WALL);
    assert_eq!(
        nodes.set_lease(
            "n1",
            Some(&lease("a", after(10))),
            start + seconds(10),
            WALL
        ),
        Change::Same
    );
    assert_eq!(nodes.set_core("n1", Some(&node(vec![]))), Change::Changed);
    assert_eq!(nodes.set_core("n1", Some(&node(vec![]))), Change::Same);
}

#[test]
fn only_nodes_with_an_agent_are_candidates() {
    let start = Instant::now();
    let mut nodes = Nodes::default();
    nodes.set_core("plain", Some(&node(vec![])));
    nodes.set_agent("n1", Some(&AgentNode::default()));
    let names: Vec<&str> = nodes
        .candidates(start, |_| Used::default())
        .map(|one| one.name)
        .collect();
    assert_eq!(names, ["n1"]);
    assert_eq!(nodes.count(start, Heard::Silent), 1);
}

#[test]
fn capacity_that_cannot_be_read_is_none() {
    let mut agent = AgentNode {
        status: Some(AgentNodeStatus {
            allocatable: Some(NodeCapacity {
                memory: Quantity("2Gi".into()),
                cpu: Quantity("1500m".into()),
                vms: 7,
                cells: None,
                vms_per_cell: None,
            }),
            jail: Some(Jail {
                level: JailLevel::Full,
                message: String::new(),
            }),
            conditions: vec![Condition {
                type_: "Ready".into(),
                status: "True".into(),
                reason: "Ready".into(),
                message: String::new(),
                observed_generation: None,
                last_transition_time: Time(WALL),
            }],
            ..AgentNodeStatus::default()
        }),
        ..AgentNode::default()
    };
    let facts = agent_facts(&agent);
    assert!(facts.ready);
    assert_eq!(
        facts.capacity,
        Resources {
            memory_bytes: 2 << 30,
            cpu_millicores: 1500,
            vms: 7
        }
    );
    assert_eq!(facts.cells, CellBounds::default(), "not said, not bounded");
    let allocatable = agent.status.as_mut().unwrap().allocatable.as_mut().unwrap();
    (allocatable.cells, allocatable.vms_per_cell) = (Some(200), Some(-1));
    allocatable.memory = Quantity("much".into());
    allocatable.vms = -1;
    assert_eq!(
        agent_facts(&agent).capacity,
        Resources {
            memory_bytes: 0,
            cpu_millicores: 1500,
            vms: 0
        }
    );
    let bounds = CellBounds {
        cells: Some(200),
        vms_each: Some(0),
    };
    assert_eq!(agent_facts(&agent).cells, bounds);
}
