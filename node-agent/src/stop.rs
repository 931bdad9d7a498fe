//! Why a VM that runs must be told to stop.

use agentvm_cell_api::cell::VmSpec;
use agentvm_crds::agentvm::AgentVMSpec;

use crate::desired::{Ruling, Want, needs_another_run};
use crate::environment;
use crate::observed::StopCause;

/// Why a run with `spec` must stop, if it must. `from` is the specification that it was started
/// by; `None` where another agent started it.
pub fn must_stop(want: &Want, spec: &VmSpec, from: Option<&AgentVMSpec>) -> Option<StopCause> {
    if want.spec.suspend {
        return Some(StopCause::Suspended);
    }
    if want.evict.is_some() {
        return Some(StopCause::Evicted);
    }
    if matches!(want.ruling, Ruling::Refused(_)) {
        return Some(StopCause::Refused);
    }
    // Rules are live, but a run that began without any has no way to the gateway.
    let gets_network = want.grants().is_some_and(|grants| grants.network) && !spec.grants.network;
    let changed = match from {
        Some(from) => needs_another_run(from, &want.spec),
        None => environment::runs_otherwise(spec, want),
    };
    (changed || gets_network).then_some(StopCause::Changed)
}
