//! `status.effective`: what was decided, as users write it.

use agentvm_policy::egress::{EgressGrant, Rule, RuleText};
use agentvm_policy::{LimitField, Limits, Verdict, budget, human};

use crate::agentvm::{EffectiveStatus, LimitsSpec, Quantity};
use crate::conditions::sentence;

/// The most refusals that a status lists: a status stays below 16 KiB whatever happens.
pub(crate) const MAX_REFUSALS: usize = 8;
/// The most bytes of all of them together, which is room for one whatever it says.
const MAX_REFUSED_BYTES: usize = 1_280;

impl From<&Verdict> for EffectiveStatus {
    /// The limits are left out where anything is refused: nothing is granted then.
    fn from(verdict: &Verdict) -> Self {
        let Verdict {
            grants,
            egress,
            refused,
            audited,
        } = verdict;
        let messages = refused.iter().chain(audited).take(MAX_REFUSALS);
        let mut room = MAX_REFUSED_BYTES;
        let fits = |message: &String| {
            let left = room.checked_sub(message.len());
            room = left.unwrap_or_default();
            left.is_some()
        };
        Self {
            limits: if refused.is_empty() {
                LimitsSpec::from(&grants.limits)
            } else {
                LimitsSpec::default()
            },
            clock_resolution: grants
                .clock
                .map(|clock| human::duration_ns(clock.resolution_ns)),
            egress: lines(egress),
            refused: messages
                .map(|refusal| sentence(&refusal.message))
                .take_while(fits)
                .collect(),
        }
    }
}

/// A line for each rule; where they are too many, the last one counts the rest.
fn lines(egress: &EgressGrant) -> Vec<String> {
    let most = budget::EFFECTIVE_RULES.usize();
    let line = |rule: &RuleText| {
        let line =
            Rule::parse(rule).map_or_else(|_unread| rule.host.clone(), |rule| rule.to_string());
        let chars = line.chars().take(budget::EFFECTIVE_RULE_CHARS.usize());
        chars.collect()
    };
    if egress.rules.len() <= most {
        return egress.rules.iter().map(line).collect();
    }
    let shown = most.saturating_sub(1);
    let mut lines: Vec<String> = egress.rules.iter().take(shown).map(line).collect();
    lines.push(format!(
        "and {} more",
        egress.rules.len().saturating_sub(shown)
    ));
    lines
}

impl From<&Limits> for LimitsSpec {
    fn from(limits: &Limits) -> Self {
        let Limits {
            memory_bytes,
            cpu_millicores,
            fuel,
            timeout_ms,
            log_rate_bytes_per_second,
            log_total_bytes,
            storage_bytes,
            inodes,
            open_files,
            connections,
            egress_bytes,
            egress_bytes_per_second,
        } = *limits;
        Self {
            memory: Some(Quantity(LimitField::Memory.show(memory_bytes))),
            cpu: Some(Quantity(LimitField::Cpu.show(cpu_millicores))),
            fuel: fuel.map(|fuel| Quantity(LimitField::Fuel.show(fuel))),
            timeout: timeout_ms.map(|timeout| LimitField::Timeout.show(timeout)),
            log_rate: Some(Quantity(
                LimitField::LogRate.show(log_rate_bytes_per_second),
            )),
            log_total: Some(Quantity(LimitField::LogTotal.show(log_total_bytes))),
            storage: Some(Quantity(LimitField::Storage.show(storage_bytes))),
            inodes: Some(Quantity(LimitField::Inodes.show(inodes))),
            open_files: Some(Quantity(LimitField::OpenFiles.show(open_files))),
            connections: Some(Quantity(LimitField::Connections.show(connections))),
            egress: Some(Quantity(LimitField::Egress.show(egress_bytes))),
            egress_rate: Some(Quantity(
                LimitField::EgressRate.show(egress_bytes_per_second),
            )),
        }
    }
}
