//! What the gateway is told, and when.

use std::time::Duration;

use agentvm_cell_api::gateway::{Denial, Usage};
use agentvm_crds::agentvm::{AgentVM, Phase, RestartPolicy};
use agentvm_crds::{AgentPolicy, ObjectKind};
use agentvm_policy::{EndReason, LimitField};

use super::world::{NAMESPACE, World, assigned};
use crate::catalogue::Change;
use crate::mounts::{Content, Object};
use crate::observed::files::EVERY;
use crate::report;

const FIRST: &str = "api.example.com";
const SECOND: &str = "other.example.com";

/// A policy that allows every request.
pub(super) fn open() -> AgentPolicy {
    let policy = serde_json::json!({
        "apiVersion": "agentvm.dev/v1alpha1", "kind": "AgentPolicy",
        "metadata": {"name": "open"},
        "spec": {"namespaceSelector": {}, "capabilities": {"network": {"egress": [
            {"host": "*", "methods": ["*"], "paths": ["*"]},
        ]}}},
    });
    serde_json::from_value(policy).unwrap()
}

fn rule(host: &str) -> serde_json::Value {
    serde_json::json!({"host": host, "methods": ["GET"], "paths": ["/v1/*"]})
}

fn with_key(host: &str) -> serde_json::Value {
    let mut rule = rule(host);
    rule["inject"] = serde_json::json!([{
        "header": "Authorization", "template": "Bearer {}",
        "secretKeyRef": {"name": "keys", "key": "token"},
    }]);
    rule
}

fn asks(vm: &mut AgentVM, rules: &[serde_json::Value]) {
    let capabilities = serde_json::json!({"network": {"egress": rules}});
    vm.spec.capabilities = Some(serde_json::from_value(capabilities).unwrap());
}

/// A VM with a key for [`FIRST`].
pub(super) fn asking(uid: &str, policy: RestartPolicy) -> AgentVM {
    let mut vm = assigned(uid, policy);
    asks(&mut vm, &[with_key(FIRST)]);
    vm
}

fn keys() -> Object {
    Object {
        kind: ObjectKind::Secret,
        namespace: NAMESPACE.to_owned(),
        name: "keys".to_owned(),
    }
}

pub(super) fn key_is(world: &mut World, key: &str) {
    let values = [("token".to_owned(), key.as_bytes().to_vec())];
    let content = Content::Found(values.into_iter().collect());
    world.contents.insert(keys(), content);
}

impl World {
    /// The key as its Secret has it.
    pub(super) fn key(&self) -> Option<String> {
        match self.contents.get(&keys())? {
            Content::Found(values) => Some(String::from_utf8(values.get("token")?.to_vec()).ok()?),
            Content::Missing | Content::Forbidden(_) => None,
        }
    }

    /// The key that the gateway adds for a VM.
    pub(super) fn key_of(&self, uid: &str) -> Option<String> {
        let inject = self.rules(uid)?.rules.first()?.inject.first()?;
        Some(inject.key.expose().to_owned())
    }

    fn hosts(&self, uid: &str) -> Vec<&str> {
        let rules = self.rules(uid).map(|vm| vm.rules.as_slice());
        let rules = rules.unwrap_or_default().iter();
        rules.map(|rule| rule.allow.host.as_str()).collect()
    }

    fn has_used(&mut self, uid: &str, sent_bytes: u64) {
        let gateway = self.gateway.as_mut().unwrap();
        gateway.vms.get_mut(uid).unwrap().1 = Usage {
            answered: 1,
            sent_bytes,
            ..Usage::default()
        };
    }

    fn count(&self, action: &str) -> usize {
        self.done.iter().filter(|done| **done == action).count()
    }
}

/// A node whose namespace may ask for everything, without a gateway.
fn open_world() -> World {
    let mut world = World::new();
    world.policies = vec![open()];
    world.read_rules();
    key_is(&mut world, "first");
    world
}

/// A VM that runs with a key for [`FIRST`].
fn running(policy: RestartPolicy) -> World {
    let mut world = open_world();
    world.gateway_starts("process-a");
    world.apply(asking("u1", policy));
    world.settle();
    assert!(world.record("u1").is_live(), "{:?}", world.record("u1"));
    world
}

#[test]
fn rules_with_their_keys_are_given_before_the_start() {
    let world = running(RestartPolicy::Never);
    let order: Vec<&str> = world
        .done
        .iter()
        .copied()
        .filter(|done| ["PutRules", "StartVm"].contains(done))
        .collect();
    assert_eq!(order, ["PutRules", "StartVm"]);
    assert_eq!(world.hosts("u1"), [FIRST]);
    assert_eq!(world.key_of("u1").as_deref(), Some("first"));
    assert_eq!(world.rules("u1").unwrap().namespace, NAMESPACE);
}

#[test]
fn without_a_gateway_only_those_that_ask_for_network_wait_and_the_condition_says_so() {
    let mut world = open_world();
    world.apply(asking("u1", RestartPolicy::Never));
    world.apply(assigned("u2", RestartPolicy::Never));
    world.settle();
    assert!(world.cell.contains_key("u2") && !world.cell.contains_key("u1"));
    assert_eq!(
        world.phases("u1"),
        [],
        "one that is being started is no news"
    );
    for _ in 0..4 {
        world.wait(Duration::from_secs(2));
    }
    let told = world.told["u1"].last().unwrap();
    assert_eq!(told.key.reason(), "GatewayUnavailable");
    assert_eq!(world.phases("u1"), [Phase::BackOff]);
    for _ in 0..20 {
        world.wait(Duration::from_mins(1));
    }
    assert_eq!(world.phases("u1"), [Phase::BackOff], "told once");
    world.gateway_starts("process-a");
    world.settle();
    assert!(world.record("u1").is_live(), "it waits for no back-off");
    assert_eq!(world.phases("u1"), [Phase::BackOff, Phase::Running]);
}

#[test]
fn those_that_run_are_left_alone_and_the_next_gateway_has_all_rules_at_once() {
    let mut world = running(RestartPolicy::Always);
    world.apply(asking("u2", RestartPolicy::Never));
    world.settle();
    world.gateway_dies();
    world.wait(EVERY);
    assert!(world.record("u1").is_live() && world.record("u2").is_live());
    assert_eq!(world.count("PutRules"), 2, "nobody is there to be asked");
    world.gateway_starts("process-b");
    world.settle();
    assert_eq!(world.hosts("u1"), [FIRST]);
    assert_eq!(world.key_of("u2").as_deref(), Some("first"));
    assert_eq!(world.gateway.as_ref().unwrap().puts, 2);
    assert_eq!(world.count("StartVm"), 2, "nothing is run again for it");
    assert_eq!(world.count("StopVm"), 0);
}

#[test]
fn f24_changed_rules_reach_the_gateway_and_not_the_cell() {
    let mut world = running(RestartPolicy::Never);
    world.edit("u1", |spec| {
        let capabilities = serde_json::json!({"network": {"egress": [rule(SECOND)]}});
        spec.capabilities = Some(serde_json::from_value(capabilities).unwrap());
    });
    world.settle();
    assert_eq!(world.hosts("u1"), [SECOND]);
    world.edit("u1", |spec| spec.capabilities = None);
    world.settle();
    assert!(world.hosts("u1").is_empty());
    assert_eq!((world.count("StartVm"), world.count("StopVm")), (1, 0));
}

#[test]
fn f24_a_policy_that_closes_the_network_closes_it_before_the_vm_has_stopped() {
    let mut world = running(RestartPolicy::Never);
    world.change(Change::Policies(Vec::new()));
    let actions = world.plan().actions;
    let named: Vec<String> = actions.iter().map(|action| format!("{action:?}")).collect();
    assert!(
        named.iter().any(|action| action.starts_with("DropRules")),
        "{named:?}"
    );
    world.settle();
    assert!(world.rules("u1").is_none());
}

#[test]
fn rules_that_are_not_known_yet_leave_those_that_hold_as_they_are() {
    let mut world = running(RestartPolicy::Never);
    world.start_agent_without_rules();
    world.settle();
    assert_eq!(world.hosts("u1"), [FIRST]);
    assert_eq!(world.count("DropRules"), 0);
    world.read_rules();
    world.settle();
    assert_eq!(world.hosts("u1"), [FIRST]);
    assert_eq!(world.count("StartVm"), 1);
}

#[test]
fn the_first_rule_of_a_run_takes_another_run() {
    let mut world = open_world();
    world.gateway_starts("process-a");
    world.apply(assigned("u1", RestartPolicy::Never));
    world.settle();
    world.edit("u1", |spec| {
        let capabilities = serde_json::json!({"network": {"egress": [rule(FIRST)]}});
        spec.capabilities = Some(serde_json::from_value(capabilities).unwrap());
    });
    world.settle();
    assert_eq!((world.count("StopVm"), world.count("StartVm")), (1, 2));
    assert_eq!(world.hosts("u1"), [FIRST]);
}

#[test]
fn h12_a_rotated_key_reaches_the_gateway_within_one_interval() {
    let mut world = running(RestartPolicy::Never);
    world.wait(EVERY);
    assert_eq!(
        world.count("PutRules"),
        1,
        "the same key is not given again"
    );
    key_is(&mut world, "second");
    world.wait(EVERY);
    assert_eq!(world.key_of("u1").as_deref(), Some("second"));
    assert_eq!(world.count("StartVm"), 1);
    world.gateway_starts("process-b");
    world.settle();
    assert_eq!(world.key_of("u1").as_deref(), Some("second"));
}

#[test]
fn h12_a_deleted_key_closes_its_rule_alone_and_that_is_told_once() {
    let mut world = running(RestartPolicy::Never);
    world.edit("u1", |spec| {
        let rules = [with_key(FIRST), rule(SECOND)];
        let capabilities = serde_json::json!({"network": {"egress": rules}});
        spec.capabilities = Some(serde_json::from_value(capabilities).unwrap());
    });
    world.settle();
    assert_eq!(world.hosts("u1"), [FIRST, SECOND]);
    world.contents.insert(keys(), Content::Missing);
    for _ in 0..3 {
        world.wait(EVERY);
    }
    assert_eq!(world.hosts("u1"), [SECOND]);
    assert_eq!(world.warnings.len(), 1, "{:?}", world.warnings);
    assert!(world.warnings[0].contains("there is no Secret keys in namespace tenant-ns"));
    key_is(&mut world, "second");
    world.wait(EVERY);
    assert_eq!(world.hosts("u1"), [FIRST, SECOND]);
    assert!(world.record("u1").is_live());
}

#[test]
fn h11_a_namespace_that_has_not_opted_in_is_told_the_command() {
    let mut world = open_world();
    world.gateway_starts("process-a");
    let command = "kubectl create rolebinding".to_owned();
    world.contents.insert(keys(), Content::Forbidden(command));
    world.apply(asking("u1", RestartPolicy::Never));
    world.settle();
    let told = world.told["u1"].last().unwrap();
    assert_eq!(told.key.reason(), "SecretForbidden");
    let message = told.message(report::News::Phase);
    assert!(
        message.contains("run `kubectl create rolebinding`"),
        "{message}"
    );
    assert!(world.cell.is_empty());
    key_is(&mut world, "first");
    world.wait(Duration::from_mins(6));
    assert!(world.record("u1").is_live());
    assert_eq!(world.phases("u1"), [Phase::BackOff, Phase::Running]);
}

#[test]
fn after_its_end_the_gateway_has_nothing_of_a_vm_and_what_it_used_is_known() {
    let mut world = running(RestartPolicy::Never);
    world.has_used("u1", 7);
    world.ends("u1", EndReason::Completed);
    world.settle();
    assert!(world.rules("u1").is_none());
    let status = world.objects["u1"].status.as_ref().unwrap();
    let told = status.exit.as_ref().unwrap().network.clone().unwrap();
    assert_eq!((told.answered, told.sent_bytes), (1, 7));
    assert_eq!(
        world.observed.take_used(),
        [(
            "u1".to_owned(),
            Usage {
                answered: 1,
                sent_bytes: 7,
                ..Usage::default()
            }
        )]
    );
    assert_eq!(world.phases("u1"), [Phase::Running, Phase::Complete]);
}

#[test]
fn an_end_is_told_even_if_the_gateway_never_says_what_was_used() {
    let mut world = running(RestartPolicy::Never);
    world.has_used("u1", 7);
    world.measure_network();
    world.gateway_dies();
    world.ends("u1", EndReason::Completed);
    world.settle();
    assert_eq!(world.phases("u1"), [Phase::Running, Phase::Complete]);
    assert_eq!(world.record("u1").network.last.sent_bytes, 7);
}

#[test]
fn what_was_sent_counts_over_runs_and_gateways() {
    let mut world = running(RestartPolicy::Always);
    let most = world.rules("u1").unwrap().limits.egress_bytes;
    world.has_used("u1", 7);
    world.ends("u1", EndReason::Error);
    world.settle();
    world.wait(Duration::from_secs(20));
    assert_eq!(world.rules("u1").unwrap().limits.egress_bytes, most - 7);
    world.has_used("u1", 4);
    world.measure_network();
    world.gateway_starts("process-b");
    world.settle();
    assert_eq!(world.rules("u1").unwrap().limits.egress_bytes, most - 11);
    let used = world.observed.take_used();
    let sent: Vec<u64> = used.iter().map(|(_, used)| used.sent_bytes).collect();
    assert_eq!(sent, [7, 4]);
    world.has_used("u1", 2);
    world.ends("u1", EndReason::Error);
    world.settle();
    let last = &world.record("u1").network.last;
    assert_eq!(
        last.sent_bytes, 6,
        "of the last run alone, by both gateways"
    );
}

#[test]
fn a_new_agent_gives_what_runs_its_rules_and_takes_them_from_what_is_gone() {
    let mut world = running(RestartPolicy::Never);
    world.apply(asking("u2", RestartPolicy::Never));
    world.settle();
    world.objects.remove("u2");
    world.cell.remove("u2");
    world.start_agent();
    world.settle();
    let gateway = world.gateway.as_ref().unwrap();
    assert_eq!(gateway.vms.keys().collect::<Vec<_>>(), ["u1"]);
    assert_eq!(world.count("StartVm"), 2);
}

#[test]
fn a_deleted_vm_is_forgotten_only_with_its_rules() {
    let mut world = running(RestartPolicy::Never);
    world.delete("u1");
    world.settle();
    assert!(world.gateway.as_ref().unwrap().vms.is_empty());
    assert!(world.observed.vms.is_empty());
}

fn denial(host: &str, count: u64) -> Denial {
    Denial {
        uid: "u1".to_owned(),
        host: host.to_owned(),
        code: "HTTP-request-denied".to_owned(),
        message: format!("GET https://{host}:443 is denied"),
        count,
    }
}

#[test]
fn denials_are_told_a_few_times_in_a_window_whatever_the_guest_does() {
    let mut world = running(RestartPolicy::Never);
    let many = (0..100).map(|host| denial(&format!("{host}.example"), 1));
    world.notice(crate::observed::Notice::Denied(many.collect()));
    world.settle();
    assert_eq!(world.denials.len(), 8, "{:?}", world.denials);
    world.wait(Duration::from_mins(9));
    world.notice(crate::observed::Notice::Denied(vec![denial(
        "a.example",
        1,
    )]));
    world.settle();
    assert_eq!(world.denials.len(), 8);
    world.wait(Duration::from_mins(1));
    world.notice(crate::observed::Notice::Denied(vec![denial(
        "a.example",
        3,
    )]));
    world.settle();
    let last = world.denials.last().unwrap();
    assert_eq!(
        last,
        "3 requests were denied, such as: GET https://a.example:443 is denied"
    );
    assert_eq!(
        world.phases("u1"),
        [Phase::Running],
        "no status is written for it"
    );
}

#[test]
fn a_limit_of_the_network_presses_at_80_percent() {
    let mut world = running(RestartPolicy::Never);
    let most = world.rules("u1").unwrap().limits.egress_bytes;
    world.has_used("u1", most / 10 * 7);
    world.measure_network();
    world.settle();
    assert_eq!(world.phases("u1").len(), 1);
    world.has_used("u1", most / 10 * 8 + 1);
    world.measure_network();
    world.settle();
    let told = world.told["u1"].last().unwrap();
    let pressing = world.record("u1").limits_pressure(world.now);
    assert_eq!(pressing, [LimitField::Egress].into());
    let message = told.message(report::News::LimitsPressure);
    assert!(
        message.contains("80 % of limits.egress is used"),
        "{message}"
    );
}
