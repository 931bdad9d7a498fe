//! What the gateway is told of a VM: the rules that policies left it, and the keys that they add.
//!
//! Keys are of Secrets of the VM's own namespace, by name. Nothing here shows one.

use std::collections::{BTreeMap, BTreeSet};

use agentvm_cell_api::gateway;
use agentvm_crds::agentvm::NetworkUsage;
use agentvm_crds::conditions::ImageReason;
use agentvm_crds::network::SecretKey;
use agentvm_crds::{AskedEgress, AskedInject, ObjectKind};
use agentvm_policy::egress::{Cidr, Code, EgressGrant};
use agentvm_policy::{Limits, Verdict};

use crate::mounts::{Content, Contents, Object};
use crate::problem::{Problem, StartReason};

/// Where a VM's rules stand.
const EGRESS: &str = "spec.capabilities.network.egress";

/// What one VM may ask of hosts outside, but for the keys themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// In the order of the manifest, each with its place there.
    pub rules: Vec<(usize, AskedEgress)>,
    /// Private networks that policies open to it.
    pub networks: Vec<Cidr>,
    /// How much.
    pub limits: gateway::Limits,
}

/// What the gateway is given, and what it was not given.
#[derive(Clone, Debug)]
pub struct Filled {
    /// With the rules whose keys are all there.
    pub vm: gateway::Vm,
    /// Why the others are left out, one for each of them.
    pub lacking: Vec<Problem>,
}

/// What only the run knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OfRun {
    /// Bytes that were sent in earlier runs, or through a gateway that has ended: they count for
    /// the whole life.
    pub sent_bytes: u64,
    /// When it must have ended, if ever.
    pub fence_deadline_boottime_ms: Option<u64>,
}

impl Terms {
    /// What a verdict grants of what is `asked`; `None` where that is nothing.
    pub fn of(asked: &[AskedEgress], verdict: &Verdict) -> Option<Self> {
        let EgressGrant { rules, networks } = &verdict.egress;
        let granted = asked.iter().cloned().enumerate();
        let granted = granted.filter(|(_, asked)| rules.contains(&asked.rule));
        let terms = Self {
            rules: granted.collect(),
            networks: networks.clone(),
            limits: limits(&verdict.grants.limits),
        };
        (verdict.grants.network && !terms.rules.is_empty()).then_some(terms)
    }

    /// The Secrets that it takes keys from.
    pub fn objects(&self, namespace: &str) -> BTreeSet<Object> {
        let asked = self.rules.iter().flat_map(|(_, rule)| &rule.inject);
        asked.map(|asked| object(namespace, asked)).collect()
    }

    /// What the gateway is told of the VM `name`. A rule that lacks a key is left out: without it,
    /// it would send requests that were never meant.
    pub fn fill(&self, namespace: &str, name: &str, contents: &Contents, run: OfRun) -> Filled {
        let mut rules = Vec::with_capacity(self.rules.len());
        let mut lacking = Vec::new();
        for (index, rule) in &self.rules {
            let keys = rule.inject.iter().enumerate();
            let keys = keys.map(|(position, asked)| {
                let field = format!("{EGRESS}[{index}].inject[{position}].secretKeyRef");
                inject(&field, namespace, asked, contents)
            });
            match keys.collect::<Result<Vec<_>, _>>() {
                Ok(inject) => rules.push(gateway::Rule {
                    allow: rule.rule.clone(),
                    inject,
                }),
                Err(problem) => lacking.push(problem),
            }
        }
        let limits = gateway::Limits {
            egress_bytes: self.limits.egress_bytes.saturating_sub(run.sent_bytes),
            ..self.limits
        };
        Filled {
            vm: gateway::Vm {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
                rules,
                networks: self.networks.clone(),
                limits,
                fence_deadline_boottime_ms: run.fence_deadline_boottime_ms,
            },
            lacking,
        }
    }
}

/// The limits of the network, as the gateway has them.
const fn limits(granted: &Limits) -> gateway::Limits {
    gateway::Limits {
        connections: granted.connections,
        egress_bytes: granted.egress_bytes,
        egress_bytes_per_second: granted.egress_bytes_per_second,
    }
}

/// The use of two runs together.
pub fn sum(past: &gateway::Usage, run: &gateway::Usage) -> gateway::Usage {
    let mut refused: BTreeMap<String, u64> = past.refused.clone();
    for (code, count) in &run.refused {
        let total = refused.entry(code.clone()).or_default();
        *total = total.saturating_add(*count);
    }
    gateway::Usage {
        answered: past.answered.saturating_add(run.answered),
        refused,
        in_flight: run.in_flight,
        sent_bytes: past.sent_bytes.saturating_add(run.sent_bytes),
        received_bytes: past.received_bytes.saturating_add(run.received_bytes),
        throttled_ns: past.throttled_ns.saturating_add(run.throttled_ns),
    }
}

/// What is told of a run's use, in its status; `None` where it asked nothing.
pub fn told(used: &gateway::Usage) -> Option<NetworkUsage> {
    let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let refused = used.refused.values().copied().fold(0, u64::saturating_add);
    (used.answered > 0 || refused > 0).then(|| NetworkUsage {
        answered: number(used.answered),
        refused: number(refused),
        sent_bytes: number(used.sent_bytes),
        received_bytes: number(used.received_bytes),
    })
}

/// What was told of a run's use, as far as it can be read back: what refused a request is not.
pub fn read_back(told: &NetworkUsage) -> gateway::Usage {
    let number = |value: i64| u64::try_from(value).unwrap_or_default();
    gateway::Usage {
        answered: number(told.answered),
        refused: BTreeMap::from([(Code::Internal.to_string(), number(told.refused))]),
        in_flight: 0,
        sent_bytes: number(told.sent_bytes),
        received_bytes: number(told.received_bytes),
        throttled_ns: 0,
    }
}

fn object(namespace: &str, asked: &AskedInject) -> Object {
    Object {
        kind: ObjectKind::Secret,
        namespace: namespace.to_owned(),
        name: asked.secret.name.clone(),
    }
}

fn inject(
    field: &str,
    namespace: &str,
    asked: &AskedInject,
    contents: &Contents,
) -> Result<gateway::Inject, Problem> {
    let AskedInject {
        header,
        template,
        secret: SecretKey { name: secret, key },
    } = asked;
    let object = object(namespace, asked);
    let values = match contents.get(&object) {
        Some(Content::Found(values)) => values,
        Some(Content::Forbidden(command)) => {
            return Err(problem(
                ImageReason::SecretForbidden,
                format!(
                    "{field}: the node agent may not read {object}, since the namespace has not allowed it: run `{command}`"
                ),
            ));
        }
        Some(Content::Missing) | None => {
            return Err(problem(
                ImageReason::SecretNotFound,
                format!(
                    "{field}.name: there is no Secret {secret} in namespace {namespace}; create it"
                ),
            ));
        }
    };
    let Some(value) = values.get(key) else {
        let keys: Vec<&String> = values.keys().take(10).collect();
        return Err(problem(
            ImageReason::KeyNotFound,
            format!("{field}.key: {object} has no key {key}, it has {keys:?}"),
        ));
    };
    let text = std::str::from_utf8(value)
        .ok()
        .filter(|text| !text.is_empty() && !text.chars().any(char::is_control));
    let Some(text) = text else {
        return Err(problem(
            ImageReason::InvalidKey,
            format!(
                "{field}.key: what {object} holds under {key} can't stand in a header: it must be text, not empty, and without a line break, which files often end in"
            ),
        ));
    };
    Ok(gateway::Inject {
        header: header.clone(),
        template: template.clone(),
        key: gateway::Key::from(text.to_owned()),
    })
}

fn problem(reason: ImageReason, message: String) -> Problem {
    Problem::new(StartReason::Image(reason), message)
}

#[cfg(test)]
mod tests {
    use agentvm_policy::egress::RuleText;

    use crate::mounts::Values;

    use super::*;

    fn asked() -> Vec<AskedEgress> {
        let key = AskedInject {
            header: "authorization".to_owned(),
            template: "Bearer {}".to_owned(),
            secret: SecretKey {
                name: "keys".to_owned(),
                key: "token".to_owned(),
            },
        };
        let rule = |host: &str, inject| AskedEgress {
            rule: RuleText::new(host, &["GET"], &["*"]),
            inject,
        };
        vec![
            rule("api.example.com", vec![key]),
            rule("other.example.com", Vec::new()),
        ]
    }

    fn terms() -> Terms {
        Terms {
            rules: asked().into_iter().enumerate().collect(),
            networks: Vec::new(),
            limits: limits(&Limits::default()),
        }
    }

    #[test]
    fn only_what_was_granted_is_given() {
        let mut verdict = Verdict::default();
        assert_eq!(Terms::of(&asked(), &verdict), None);
        verdict.grants.network = true;
        assert_eq!(Terms::of(&asked(), &verdict), None);
        verdict.egress.rules = vec![asked()[1].rule.clone()];
        let given = Terms::of(&asked(), &verdict).unwrap();
        assert_eq!(given.rules, [(1, asked()[1].clone())]);
    }

    fn contents(content: Content) -> Contents {
        let mut objects = terms().objects("heron").into_iter();
        Contents::from([(objects.next().unwrap(), content)])
    }

    fn found(key: &str, value: &[u8]) -> Content {
        Content::Found(Values::from_iter([(key.to_owned(), value.to_vec())]))
    }

    #[test]
    fn a_key_is_of_the_vms_own_namespace_and_goes_to_its_rule_alone() {
        let objects: Vec<String> = terms()
            .objects("heron")
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(objects, ["Secret heron/keys"]);
        let contents = contents(found("token", b"CANARY"));
        let filled = terms().fill("heron", "crane", &contents, OfRun::default());
        assert_eq!(filled.lacking, []);
        let keys: Vec<Vec<&str>> = filled
            .vm
            .rules
            .iter()
            .map(|rule| rule.inject.iter().map(|one| one.key.expose()).collect())
            .collect();
        assert_eq!(keys, [vec!["CANARY"], vec![]]);
        assert!(!format!("{filled:?}").contains("CANARY"));
    }

    #[test]
    fn a_rule_without_its_key_is_left_out_and_the_problem_names_object_and_field() {
        let field = "spec.capabilities.network.egress[0].inject[0].secretKeyRef";
        for (content, reason, said) in [
            (
                Content::Missing,
                ImageReason::SecretNotFound,
                vec![field, "there is no Secret keys in namespace heron"],
            ),
            (
                Content::Forbidden("kubectl allow".to_owned()),
                ImageReason::SecretForbidden,
                vec![field, "Secret heron/keys", "run `kubectl allow`"],
            ),
            (
                found("tokem", b"CANARY"),
                ImageReason::KeyNotFound,
                vec![field, "Secret heron/keys has no key token", "tokem"],
            ),
            (
                found("token", b"CANARY\n"),
                ImageReason::InvalidKey,
                vec![field, "Secret heron/keys", "line break"],
            ),
            (
                found("token", b"\xff"),
                ImageReason::InvalidKey,
                vec![field, "must be text"],
            ),
            (
                found("token", b""),
                ImageReason::InvalidKey,
                vec![field, "not empty"],
            ),
        ] {
            let contents = contents(content);
            let filled = terms().fill("heron", "crane", &contents, OfRun::default());
            let hosts: Vec<&str> = filled
                .vm
                .rules
                .iter()
                .map(|rule| rule.allow.host.as_str())
                .collect();
            assert_eq!(hosts, ["other.example.com"]);
            let problem = &filled.lacking[0];
            assert_eq!(problem.reason, StartReason::Image(reason));
            for part in said {
                assert!(problem.message.contains(part), "{problem:?}");
            }
            assert!(!format!("{filled:?}").contains("CANARY"), "{filled:?}");
        }
    }

    #[test]
    fn what_was_sent_before_counts_for_the_whole_life() {
        for (sent_bytes, left) in [(0, 100), (30, 70), (101, 0)] {
            let mut terms = terms();
            terms.limits.egress_bytes = 100;
            let run = OfRun {
                sent_bytes,
                fence_deadline_boottime_ms: Some(7),
            };
            let vm = terms.fill("heron", "crane", &Contents::new(), run).vm;
            assert_eq!(vm.limits.egress_bytes, left);
            assert_eq!(vm.fence_deadline_boottime_ms, Some(7));
            assert_eq!(
                (vm.namespace.as_str(), vm.name.as_str()),
                ("heron", "crane")
            );
        }
    }
}
