//! The capability to make requests: each rule that is asked for lies within the rules of every
//! policy, and the private networks that are open are those that every policy opens.

use std::collections::BTreeSet;

use super::{Refusal, Verdict};
use crate::egress::{Cidr, EgressGrant, Rule, RuleText, Scheme};
use crate::guards::{Guard, is_on};
use crate::{BadAsk, EgressAsk, Mode, PolicyRules, budget};

const FIELD: &str = "spec.capabilities.network.egress";
/// The most values of one field that a message names.
const NAMED: usize = 4;

/// The requests that are granted. What is not allowed goes to `verdict`.
pub(super) fn decide(
    asked: &[EgressAsk],
    policies: &[&PolicyRules],
    verdict: &mut Verdict,
) -> EgressGrant {
    for (index, ask) in asked.iter().enumerate() {
        decide_rule(&format!("{FIELD}[{index}]"), ask, policies, verdict);
    }
    if asked.is_empty() {
        return EgressGrant::default();
    }
    EgressGrant {
        rules: asked.iter().map(|ask| ask.rule.clone()).collect(),
        networks: networks(policies),
    }
}

fn decide_rule(path: &str, ask: &EgressAsk, policies: &[&PolicyRules], verdict: &mut Verdict) {
    let rule = match ask.read() {
        Ok(rule) => rule,
        Err(BadAsk { field, message }) => {
            let field = format!("{path}.{field}");
            verdict.refused.push(refusal(field, None, &message));
            return;
        }
    };
    if !is_on(Guard::EgressCeiling) {
        return;
    }
    if policies.is_empty() {
        let rule = shown(&rule.to_string());
        let why = format!(
            "asks for {rule}, no AgentPolicy selects the namespace, and without one no VM has a network"
        );
        verdict.refused.push(refusal(path.to_owned(), None, &why));
    }
    for policy in policies {
        let Some(Outside { field, asked, open }) = outside(&rule, &ask.rule, policy) else {
            continue;
        };
        let why = format!("asks for {asked}, AgentPolicy {:?} {open}", policy.name);
        let refusal = refusal(format!("{path}{field}"), Some(policy), &why);
        verdict.report(policy.mode, refusal);
    }
}

fn refusal(field: String, policy: Option<&PolicyRules>, why: &str) -> Refusal {
    Refusal {
        message: format!("{field} {why}"),
        field,
        policy: policy.map(|policy| policy.name.clone()),
    }
}

/// What of a rule is not allowed by a policy.
struct Outside {
    /// Behind the rule's path; empty is all of it.
    field: &'static str,
    asked: String,
    /// What the policy does allow, as the rest of a sentence.
    open: String,
}

/// The first field by which `rule` is not within what `policy` allows; `None` where it is.
///
/// The policy's rules are taken over field by field, all others being as they are asked for: the
/// field with which they first fall short is the one to name. With the last one, they are whole.
fn outside(rule: &Rule, text: &RuleText, policy: &PolicyRules) -> Option<Outside> {
    let whole = |open: &str| {
        Some(Outside {
            field: "",
            asked: shown(&rule.to_string()),
            open: open.to_owned(),
        })
    };
    let Some(ceiling) = &policy.egress else {
        return whole("allows no network, its spec.capabilities.network is not set");
    };
    if ceiling.is_empty() {
        return whole("allows no requests, its spec.capabilities.network.egress is empty");
    }
    let mut probes: Vec<(RuleText, &RuleText)> =
        ceiling.iter().map(|own| (text.clone(), own)).collect();
    for Step {
        field,
        take,
        values,
        there,
    } in STEPS
    {
        for (probe, own) in &mut probes {
            take(probe, own);
        }
        let parsed = |probe: &RuleText| Rule::parse(probe).ok();
        let open: Vec<Rule> = probes
            .iter()
            .filter_map(|(probe, _)| parsed(probe))
            .collect();
        if !rule.is_within(&open) {
            let allowed: BTreeSet<String> =
                probes.iter().flat_map(|(_, own)| values(own)).collect();
            return Some(Outside {
                field,
                asked: some(&values(text)),
                open: format!(
                    "allows {}{there}",
                    some(&allowed.into_iter().collect::<Vec<_>>())
                ),
            });
        }
        if there.is_empty() {
            // Only what speaks of the host is told of the other fields.
            probes.retain(|(probe, _)| parsed(probe).is_some_and(|open| rule.is_within(&[open])));
        }
    }
    None
}

/// One field of a rule, on the way from what is asked to what a policy allows.
struct Step {
    field: &'static str,
    take: fn(&mut RuleText, &RuleText),
    values: fn(&RuleText) -> Vec<String>,
    there: &'static str,
}

const STEPS: [Step; 5] = [
    Step {
        field: ".host",
        take: |probe, own| probe.host.clone_from(&own.host),
        values: |text| vec![text.host.clone()],
        there: "",
    },
    Step {
        field: ".scheme",
        take: |probe, own| probe.scheme.clone_from(&own.scheme),
        values: |text| vec![scheme(text).to_owned()],
        there: " there",
    },
    Step {
        field: ".ports",
        take: |probe, own| probe.ports.clone_from(&own.ports),
        values: |text| match text.ports.as_slice() {
            [] => Scheme::parse(scheme(text))
                .map(|scheme| scheme.port().to_string())
                .into_iter()
                .collect(),
            ports => ports.iter().map(u16::to_string).collect(),
        },
        there: " there",
    },
    Step {
        field: ".methods",
        take: |probe, own| probe.methods.clone_from(&own.methods),
        values: |text| text.methods.clone(),
        there: " there",
    },
    Step {
        field: ".paths",
        take: |probe, own| probe.paths.clone_from(&own.paths),
        values: |text| text.paths.clone(),
        there: " there",
    },
];

fn scheme(text: &RuleText) -> &str {
    text.scheme.as_deref().unwrap_or("https")
}

/// As much of a text as a message has room for: refusals stand in a status.
fn shown(text: &str) -> String {
    text.chars().take(budget::SHOWN_CHARS.usize()).collect()
}

/// The first few of `values`.
fn some(values: &[String]) -> String {
    let more = values.len().saturating_sub(NAMED);
    let named: Vec<String> = values
        .iter()
        .take(NAMED)
        .map(|value| shown(value))
        .collect();
    let named = named.join(", ");
    if more == 0 {
        named
    } else {
        format!("{named} and {more} more")
    }
}

/// What every `Enforce` policy opens. Where there is none, an `Audit` policy takes nothing away.
fn networks(policies: &[&PolicyRules]) -> Vec<Cidr> {
    let mut enforced = policies
        .iter()
        .filter(|policy| policy.mode == Mode::Enforce)
        .map(|policy| policy.networks.as_slice());
    let all = || policies.iter().flat_map(|policy| &policy.networks);
    let common: BTreeSet<Cidr> = match enforced.next() {
        Some(first) if is_on(Guard::NetworkCeiling) => {
            let first = first.iter().copied().collect();
            enforced.fold(first, |common, theirs| within_both(&common, theirs))
        }
        Some(_) | None => all().copied().collect(),
    };
    common.into_iter().collect()
}

/// Two networks are apart, or one of them is in the other.
fn within_both(ours: &BTreeSet<Cidr>, theirs: &[Cidr]) -> BTreeSet<Cidr> {
    let pairs = ours
        .iter()
        .flat_map(|our| theirs.iter().map(move |their| (*our, *their)));
    pairs
        .filter_map(|(our, their)| {
            if our.covers(their) {
                Some(their)
            } else {
                their.covers(our).then_some(our)
            }
        })
        .collect()
}
