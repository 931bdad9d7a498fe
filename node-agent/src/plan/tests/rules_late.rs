//! What is told while the rules are not read yet, as they are not when an agent has just started.

use agentvm_crds::agentpolicy::PolicyLimits;
use agentvm_crds::agentvm::{AgentVMStatus, LimitsSpec, Phase, RestartPolicy};
use agentvm_crds::{AgentPolicy, AgentPolicySpec};
use agentvm_policy::EndReason;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::world::World;
use crate::report::News;

fn limits(cpu: Option<&str>, memory: Option<&str>) -> LimitsSpec {
    let quantity = |value: &str| Quantity(value.to_owned());
    LimitsSpec {
        cpu: cpu.map(quantity),
        memory: memory.map(quantity),
        ..LimitsSpec::default()
    }
}

/// A policy by which a VM that does not say has `cpu`.
pub(super) fn by_default(cpu: &str) -> AgentPolicy {
    let policy = AgentPolicySpec {
        namespace_selector: LabelSelector::default(),
        limits: Some(PolicyLimits {
            max: None,
            default: Some(limits(Some(cpu), None)),
        }),
        ..AgentPolicySpec::default()
    };
    AgentPolicy::new("by-default", policy)
}

fn status(world: &World) -> &AgentVMStatus {
    world.objects["u1"].status.as_ref().unwrap()
}

/// `status.effective.limits.cpu`.
pub(super) fn told_cpu(status: &AgentVMStatus) -> Option<&str> {
    let cpu = status.effective.as_ref()?.limits.cpu.as_ref()?;
    Some(&cpu.0)
}

#[test]
fn a_change_that_is_seen_before_the_rules_is_told_with_what_the_vm_may_do() {
    let mut world = World::running(RestartPolicy::Always);
    assert_eq!(told_cpu(status(&world)), Some("250m"));
    world.start_agent_without_rules();
    world.settle();
    world.edit("u1", |spec| spec.limits = Some(limits(Some("30m"), None)));
    world.settle();
    assert_eq!(told_cpu(status(&world)), Some("250m"), "it still has that");
    world.read_rules();
    world.settle();
    assert_eq!(world.cell["u1"].spec.grants.limits.cpu_millicores, 30);
    assert_eq!(told_cpu(status(&world)), Some("30m"));
    assert_eq!(status(&world).observed_generation, Some(2));
    assert_eq!(world.starts["u1"].len(), 1);
}

#[test]
fn a_change_while_no_agent_runs_takes_another_run_though_it_is_seen_before_the_rules() {
    let mut world = World::running(RestartPolicy::Always);
    let object = world.objects.get_mut("u1").unwrap();
    object.spec.limits = Some(limits(None, Some("1Mi")));
    object.metadata.generation = Some(2);
    world.start_agent_without_rules();
    world.settle();
    world.read_rules();
    world.settle();
    assert_eq!(world.cell["u1"].spec.grants.limits.memory_bytes, 1 << 20);
    assert_eq!(world.starts["u1"], [(1, 0), (1, 1)]);
}

#[test]
fn an_end_is_told_before_the_rules_are_read_and_keeps_what_the_vm_could_do() {
    for (policy, phase) in [
        (RestartPolicy::Never, Phase::Complete),
        (RestartPolicy::Always, Phase::BackOff),
    ] {
        let mut world = World::running(policy);
        world.start_agent_without_rules();
        world.ends("u1", EndReason::Completed);
        world.settle();
        assert_eq!(status(&world).phase, Some(phase));
        assert_eq!(told_cpu(status(&world)), Some("250m"));
        world.read_rules();
        world.settle();
        assert_eq!(world.told["u1"].len(), 2);
    }
}

#[test]
fn a_policy_that_changes_what_a_vm_may_do_is_told_in_one_write_without_an_event() {
    let mut world = World::running(RestartPolicy::Never);
    for (cpu, writes) in [("100m", 2), ("100m", 2), ("50m", 3)] {
        world.policies = vec![by_default(cpu)];
        world.read_rules();
        world.settle();
        assert_eq!(told_cpu(status(&world)), Some(cpu));
        assert_eq!(world.told["u1"].len(), writes);
    }
    assert!(world.told["u1"].last().unwrap().news.is_empty());
    world.ends("u1", EndReason::Completed);
    world.settle();
    assert_eq!(world.told["u1"].last().unwrap().news, [News::Phase]);
    // What has ended is told no more.
    world.policies.clear();
    world.read_rules();
    world.settle();
    assert_eq!(told_cpu(status(&world)), Some("50m"));
    assert_eq!(world.told["u1"].len(), 4);
}

#[test]
fn a_new_agent_keeps_how_the_run_before_ended() {
    let mut world = World::running(RestartPolicy::Always);
    world.ends("u1", EndReason::Error);
    world.settle();
    for _back_off_and_running in 0..2 {
        let before = status(&world).clone();
        assert!(before.exit.is_some());
        world.start_agent();
        world.settle();
        assert_eq!(*status(&world), before);
        world.wait(std::time::Duration::from_secs(10));
    }
    assert_eq!(world.told["u1"].len(), 3);
    world.edit("u1", |spec| spec.limits = Some(limits(Some("30m"), None)));
    world.settle();
    assert!(status(&world).exit.is_some());
}
