//! The family of limits that press VMs.

use agentvm_crds::conditions::LimitsReason;
use agentvm_policy::LimitField;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::Vm;
use crate::ledger::Row;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VmLimit {
    namespace: String,
    vm: String,
    limit: &'static str,
}

/// The family of limits that press VMs.
#[derive(Debug, Default)]
pub(super) struct LimitsPressure {
    pressing: Family<VmLimit, Gauge>,
}

impl LimitsPressure {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "agentvm_vm_limits_pressure",
            "1 for a limit that is nearly used up or delays it",
            self.pressing.clone(),
        );
    }

    pub(super) fn fill(&self, row: &Row, vm: &Vm) {
        if !row.is_live {
            return;
        }
        for field in LimitField::ALL {
            let has_none = field == LimitField::Storage && row.storage_limit.is_none();
            let has_none = has_none || field == LimitField::Egress && !row.has_network;
            if has_none || LimitsReason::of(field).is_none() {
                continue;
            }
            let labels = VmLimit {
                namespace: vm.namespace.clone(),
                vm: vm.vm.clone(),
                limit: field.name(),
            };
            let presses = row.limits_pressure.contains(&field);
            self.pressing.get_or_create(&labels).set(i64::from(presses));
        }
    }
}
