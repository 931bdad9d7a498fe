//! The limits that press a VM, with what it uses of them.

use std::collections::BTreeSet;

use agentvm_cell_api::cell::Usage;
use agentvm_crds::conditions::{ConditionType, Pressing};
use agentvm_policy::{LimitField, Limits};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

/// What is said of `fields` before the cell was asked how much is used; `sent_bytes` of the
/// network are known.
pub(super) fn pressing(
    fields: &BTreeSet<LimitField>,
    limits: &Limits,
    sent_bytes: u64,
) -> Vec<Pressing> {
    let pressing = |field: &LimitField| Pressing {
        field: *field,
        used: (*field == LimitField::Egress).then_some(sent_bytes),
        limit: limit(*field, limits).unwrap_or_default(),
    };
    fields.iter().map(pressing).collect()
}

/// How much a run uses of a limit, in the limit's unit; of one that delays, nothing.
pub(super) fn used(field: LimitField, usage: &Usage) -> Option<u64> {
    match field {
        LimitField::Memory => Some(usage.memory_bytes),
        LimitField::Fuel => Some(usage.fuel),
        LimitField::Storage => Some(usage.storage_bytes),
        LimitField::LogTotal => Some(usage.log_bytes.saturating_sub(usage.log_dropped_bytes)),
        LimitField::Cpu
        | LimitField::Timeout
        | LimitField::LogRate
        | LimitField::Inodes
        | LimitField::OpenFiles
        | LimitField::Connections
        | LimitField::Egress
        | LimitField::EgressRate => None,
    }
}

/// True where the limit's use is a number.
pub(super) fn is_measured(field: LimitField) -> bool {
    used(field, &Usage::default()).is_some()
}

fn limit(field: LimitField, limits: &Limits) -> Option<u64> {
    match field {
        LimitField::Memory => Some(limits.memory_bytes),
        LimitField::Cpu => Some(limits.cpu_millicores),
        LimitField::Fuel => limits.fuel,
        LimitField::Timeout => limits.timeout_ms,
        LimitField::LogRate => Some(limits.log_rate_bytes_per_second),
        LimitField::LogTotal => Some(limits.log_total_bytes),
        LimitField::Storage => Some(limits.storage_bytes),
        LimitField::Inodes => Some(limits.inodes),
        LimitField::OpenFiles => Some(limits.open_files),
        LimitField::Connections => Some(limits.connections),
        LimitField::Egress => Some(limits.egress_bytes),
        LimitField::EgressRate => Some(limits.egress_bytes_per_second),
    }
}

/// The limits that a status names as pressing: each says which field to raise.
pub(super) fn told(conditions: &[Condition]) -> BTreeSet<LimitField> {
    let said = conditions.iter().find(|condition| {
        condition.type_ == ConditionType::LimitsPressure.as_str() && condition.status == "True"
    });
    let is_named = |field: &LimitField| {
        let raised = format!("(raise {})", field.path());
        said.is_some_and(|said| said.message.contains(&raised))
    };
    LimitField::ALL.into_iter().filter(is_named).collect()
}

#[cfg(test)]
mod tests {
    use agentvm_crds::conditions::{At, limits_pressure};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    #[test]
    fn what_a_status_names_is_read_back_from_it() {
        let now = Time(jiff::Timestamp::UNIX_EPOCH);
        let at = At {
            generation: Some(1),
            now: &now,
            previous: &[],
        };
        let all = [
            LimitField::Memory,
            LimitField::Cpu,
            LimitField::Fuel,
            LimitField::LogTotal,
            LimitField::Storage,
            LimitField::Egress,
        ];
        let limits = Limits {
            fuel: Some(1_000_000_000_000_000),
            ..Limits::default()
        };
        for mask in 0_u32..1 << all.len() {
            let chosen = all.iter().enumerate();
            let chosen = chosen.filter(|(bit, _)| mask & (1 << bit) != 0);
            let fields: BTreeSet<LimitField> = chosen.map(|(_, field)| *field).collect();
            let mut pressing = pressing(&fields, &limits, 1);
            for one in &mut pressing {
                one.used = used(one.field, &Usage::default()).or(one.used);
            }
            let condition = limits_pressure(&at, &pressing);
            assert_eq!(told(condition.as_slice()), fields);
        }
    }
}
