//! The capability to mount Secrets of the VM's namespace.

use super::{Refusal, Verdict};
use crate::PolicyRules;
use crate::guards::{Guard, is_on};

/// Judges every field of `asked`. What is not allowed goes to `verdict`.
pub(super) fn decide(asked: &[String], policies: &[&PolicyRules], verdict: &mut Verdict) {
    if !is_on(Guard::SecretMounts) {
        return;
    }
    for field in asked {
        if policies.is_empty() {
            let rule =
                "no AgentPolicy selects the namespace, and without one no VM mounts a Secret";
            verdict.refused.push(refusal(field, None, rule));
        }
        for policy in policies.iter().filter(|policy| !policy.secret_mounts) {
            let rule = format!(
                "AgentPolicy {:?} allows no mount of a Secret, its spec.capabilities.secretMounts is not set",
                policy.name
            );
            verdict.report(policy.mode, refusal(field, Some(policy), &rule));
        }
    }
}

fn refusal(field: &str, policy: Option<&PolicyRules>, rule: &str) -> Refusal {
    Refusal {
        field: field.to_owned(),
        policy: policy.map(|policy| policy.name.clone()),
        message: format!("{field} asks for a Secret, {rule}"),
    }
}
