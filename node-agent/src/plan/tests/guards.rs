//! Each guard on, and off: with the guard off, what it holds back happens.

use agentvm_crds::agentpolicy::PolicyLimits;
use agentvm_crds::agentvm::{AgentVM, LimitsSpec, RestartPolicy};
use agentvm_crds::{AgentPolicy, AgentPolicySpec};
use agentvm_policy::EndReason;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::network::{asking, open};
use super::world::{World, assigned};
use crate::catalogue::Change;
use crate::guards::{Guard, switch_off};
use crate::plan::Action;

/// Says whether an attack succeeds.
type Attack = fn() -> bool;

fn memory(quantity: &str) -> LimitsSpec {
    LimitsSpec {
        memory: Some(k8s_openapi::apimachinery::pkg::api::resource::Quantity(
            quantity.to_owned(),
        )),
        ..LimitsSpec::default()
    }
}

fn ceiling(quantity: &str) -> AgentPolicy {
    AgentPolicy::new(
        "ceiling",
        AgentPolicySpec {
            namespace_selector: LabelSelector::default(),
            limits: Some(PolicyLimits {
                max: Some(memory(quantity)),
                default: None,
            }),
            ..AgentPolicySpec::default()
        },
    )
}

fn greedy() -> AgentVM {
    let mut vm = assigned("u1", RestartPolicy::Never);
    vm.spec.limits = Some(memory("64Mi"));
    vm
}

/// Whether a VM that only left the watch is stopped.
fn stopped_without_a_live_read() -> bool {
    let mut world = World::new();
    world.apply(assigned("u1", RestartPolicy::Never));
    world.settle();
    world.change(Change::VmLeft {
        uid: "u1".to_owned(),
    });
    world.settle();
    world.cell.is_empty()
}

/// Whether a request above a ceiling runs, whatever the status says that the operator found.
fn above_the_ceiling() -> bool {
    let mut world = World::new();
    world.change(Change::Policies(vec![Ok(ceiling("32Mi"))]));
    world.apply(greedy());
    world.settle();
    !world.cell.is_empty()
}

/// Whether a request runs while a policy can't be read.
fn under_an_unreadable_policy() -> bool {
    let mut world = World::new();
    world.change(Change::Policies(vec![Err("unreadable".to_owned())]));
    world.apply(greedy());
    world.settle();
    !world.cell.is_empty()
}

/// Whether anything is planned for a VM that may be running in a cell not listed yet.
fn before_the_survey() -> bool {
    let mut world = World::new();
    world.observed.surveyed = false;
    world.apply(assigned("u1", RestartPolicy::Never));
    world.settle();
    !world.cell.is_empty()
}

/// Whether an object from a stale watch ends the run of a newer assignment.
fn by_an_old_epoch() -> bool {
    let mut world = World::new();
    let old = assigned("u1", RestartPolicy::Never);
    let mut new = old.clone();
    if let Some(assignment) = new
        .status
        .as_mut()
        .and_then(|status| status.assignment.as_mut())
    {
        assignment.epoch = 2;
    }
    world.apply(new);
    world.settle();
    world.change(Change::Vm(Box::new(old)));
    world
        .plan()
        .actions
        .iter()
        .any(|action| matches!(action, Action::StopVm { .. }))
}

/// Whether a VM that may ask for network starts while nobody has its rules.
fn without_rules() -> bool {
    let mut world = World::new();
    world.policies = vec![open()];
    world.read_rules();
    world.apply(asking("u1", RestartPolicy::Never));
    world.settle();
    !world.cell.is_empty() && world.rules("u1").is_none()
}

#[test]
fn each_guard_holds_back_what_happens_without_it() {
    let attacks: [(Guard, Attack); 6] = [
        (Guard::LiveRead, stopped_without_a_live_read),
        (Guard::OwnCut, above_the_ceiling),
        (Guard::KnownRules, under_an_unreadable_policy),
        (Guard::Survey, before_the_survey),
        (Guard::Epoch, by_an_old_epoch),
        (Guard::RulesFirst, without_rules),
    ];
    for (guard, succeeds) in attacks {
        assert!(!succeeds(), "{guard:?}");
        assert!(switch_off(guard, succeeds), "{guard:?} holds nothing back");
    }
}

#[test]
fn a_policy_that_tightens_ends_what_it_no_longer_allows() {
    let mut world = World::new();
    world.apply(greedy());
    world.settle();
    world.change(Change::Policies(vec![Ok(ceiling("32Mi"))]));
    world.settle();
    assert!(world.cell.is_empty());
    world.wait(std::time::Duration::from_secs(3));
    assert_eq!(
        world.told["u1"].last().unwrap().key.reason(),
        "PolicyRefused"
    );
    world.change(Change::Policies(Vec::new()));
    world.settle();
    assert!(
        world.record("u1").is_live(),
        "a refusal ends with its policy"
    );
    world.ends("u1", EndReason::Completed);
    world.settle();
    assert!(world.record("u1").finished);
}
