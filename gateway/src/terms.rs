//! From what the agent asks for a VM to the terms that hold: read whole, or not at all.

use std::collections::BTreeMap;

use agentvm_cell_api::gateway as wire;
use agentvm_policy::egress::{AddressRules, BadException, BadRule, Exception, Rule, Rules};

use crate::inject::{BadInjection, Injection};
use crate::limits::Limits;
use crate::secret::Secret;
use crate::vm::Terms;

/// Why a VM's rules can't be read. Never holds a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadTerms {
    /// A rule.
    #[error("rules[{index}].allow: {why}")]
    Rule {
        /// Its position, from 0.
        index: usize,
        /// What is wrong.
        why: BadRule,
    },
    /// A key for more than one host, or in the clear.
    #[error(
        "rules[{index}].inject: keys are added for one exact host by https alone, and the rule is {rule}"
    )]
    Origin {
        /// The rule's position, from 0.
        index: usize,
        /// The rule.
        rule: Box<Rule>,
    },
    /// A header.
    #[error("rules[{index}].inject[{header}]: {why}")]
    Inject {
        /// The rule's position, from 0.
        index: usize,
        /// The header's, among those of the rule.
        header: usize,
        /// What is wrong.
        why: BadInjection,
    },
    /// An exception.
    #[error("networks[{index}]: {why}")]
    Network {
        /// Its position, from 0.
        index: usize,
        /// What is wrong.
        why: BadException,
    },
}

/// Reads the terms of a VM that is on `node`.
///
/// # Errors
///
/// [`BadTerms`], for the first thing that can't be read.
pub(crate) fn read(vm: &wire::Vm, node: &wire::Node) -> Result<Terms, BadTerms> {
    let mut rules = Vec::with_capacity(vm.rules.len());
    let mut injections = BTreeMap::new();
    for (index, asked) in vm.rules.iter().enumerate() {
        let rule = Rule::parse(&asked.allow).map_err(|why| BadTerms::Rule { index, why })?;
        let added = injected(index, &rule, &asked.inject)?;
        if !added.is_empty() {
            injections.insert(index, added);
        }
        rules.push(rule);
    }
    Ok(Terms {
        rules: Rules::new(rules),
        injections,
        addresses: AddressRules {
            exceptions: exceptions(vm)?,
            ..addresses(node)
        },
        limits: limits(vm.limits),
    })
}

/// The addresses that are closed on `node`, without exceptions.
pub(crate) fn addresses(node: &wire::Node) -> AddressRules {
    AddressRules {
        cluster: node.cluster.clone(),
        own: node.own.clone(),
        exceptions: Vec::new(),
    }
}

fn injected(index: usize, rule: &Rule, asked: &[wire::Inject]) -> Result<Vec<Injection>, BadTerms> {
    if !asked.is_empty() && !rule.is_one_origin() {
        let rule = Box::new(rule.clone());
        return Err(BadTerms::Origin { index, rule });
    }
    let read = |(header, asked): (usize, &wire::Inject)| {
        let key = Secret::from(asked.key.expose());
        Injection::new(&asked.header, &asked.template, key).map_err(|why| BadTerms::Inject {
            index,
            header,
            why,
        })
    };
    asked.iter().enumerate().map(read).collect()
}

fn exceptions(vm: &wire::Vm) -> Result<Vec<Exception>, BadTerms> {
    let read =
        |(index, network)| Exception::new(network).map_err(|why| BadTerms::Network { index, why });
    vm.networks.iter().copied().enumerate().map(read).collect()
}

fn limits(asked: wire::Limits) -> Limits {
    let wire::Limits {
        connections,
        egress_bytes,
        egress_bytes_per_second,
    } = asked;
    Limits {
        requests: usize::try_from(connections).unwrap_or(usize::MAX),
        egress_bytes,
        egress_bytes_per_second,
        ..Limits::default()
    }
}

#[cfg(test)]
mod tests {
    use agentvm_policy::egress::RuleText;

    use super::*;

    fn asked() -> wire::Vm {
        wire::Vm {
            namespace: "heron".into(),
            name: "crane".into(),
            rules: vec![wire::Rule {
                allow: RuleText::new("api.example.com", &["GET"], &["/v1/*"]),
                inject: vec![wire::Inject {
                    header: "authorization".into(),
                    template: "Bearer {}".into(),
                    key: "CANARY".to_owned().into(),
                }],
            }],
            networks: vec!["10.20.0.0/16".parse().unwrap()],
            limits: wire::Limits {
                connections: 3,
                egress_bytes: 4,
                egress_bytes_per_second: 5,
            },
            fence_deadline_boottime_ms: None,
        }
    }

    fn refused(change: impl FnOnce(&mut wire::Vm)) -> String {
        let mut vm = asked();
        change(&mut vm);
        let error = read(&vm, &wire::Node::default()).unwrap_err();
        assert!(
            !format!("{error} {error:?}").contains("CANARY"),
            "{error:?}"
        );
        error.to_string()
    }

    #[test]
    fn what_the_agent_asks_for_is_what_holds() {
        let node = wire::Node {
            cluster: vec!["10.0.0.0/8".parse().unwrap()],
            own: vec!["192.0.2.1:9810".parse().unwrap()],
        };
        let terms = read(&asked(), &node).unwrap();
        assert_eq!(terms.rules.all().len(), 1);
        assert_eq!(terms.injections[&0].len(), 1);
        assert_eq!(terms.addresses.cluster, node.cluster);
        assert_eq!(terms.addresses.own, node.own);
        assert_eq!(terms.addresses.exceptions.len(), 1);
        assert_eq!((terms.limits.requests, terms.limits.egress_bytes), (3, 4));
        assert_eq!(terms.limits.egress_bytes_per_second, 5);
    }

    #[test]
    fn one_bad_thing_is_named_and_refuses_the_whole() {
        let rule = refused(|vm| vm.rules[0].allow.methods.clear());
        assert!(rule.starts_with("rules[0].allow: methods"), "{rule}");
        let header = refused(|vm| vm.rules[0].inject[0].header = "host".into());
        assert!(header.starts_with("rules[0].inject[0]: "), "{header}");
        let network = refused(|vm| vm.networks = vec!["0.0.0.0/0".parse().unwrap()]);
        assert!(network.starts_with("networks[0]: "), "{network}");
    }

    #[test]
    fn i01_a_key_is_for_one_host_and_never_in_the_clear() {
        let wide = refused(|vm| vm.rules[0].allow.host = "*.example.com".into());
        assert!(wide.contains("one exact host by https"), "{wide}");
        let clear = refused(|vm| vm.rules[0].allow.scheme = Some("http".into()));
        assert!(clear.contains("one exact host by https"), "{clear}");
    }
}
