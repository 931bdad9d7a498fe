//! Step 2: whether the spec is sound and the policies allow it.

use agentvm_crds::agentvm::EffectiveStatus;
use agentvm_crds::conditions::AcceptedReason;
use agentvm_crds::{AgentVM, FieldError};
use agentvm_policy::{LimitField, Limits, PolicyRules, Refusal, Request, effective};

use crate::decoded::Decoded;
use crate::dereference::Dereferenced;
use crate::place::Demand;
use crate::resources::Resources;

/// What the spec amounts to.
#[derive(Clone, Debug, PartialEq)]
pub enum Validated {
    /// It may run.
    Accepted {
        /// What it needs of a node.
        demand: Box<Demand>,
        /// What it may do, for the status.
        effective: EffectiveStatus,
        /// What `Audit` policies would have refused.
        audited: Vec<Refusal>,
    },
    /// It may not.
    Refused {
        /// `InvalidSpec` or `PolicyRefused`.
        reason: AcceptedReason,
        /// Which field, what was asked, what is allowed.
        message: String,
        /// What was decided, for the status.
        effective: Option<EffectiveStatus>,
    },
}

/// Judges one VM.
pub fn validate(object: &Dereferenced) -> Validated {
    let vm = &object.vm;
    let request = match sound(vm) {
        Ok(request) => request,
        Err(error) => return refused(AcceptedReason::InvalidSpec, error.to_string(), None),
    };
    let policies = match &object.policies {
        Ok(policies) => policies,
        Err(unreadable) => {
            return refused(AcceptedReason::PolicyRefused, unreadable.to_string(), None);
        }
    };
    let verdict = effective(&request, policies);
    let status = EffectiveStatus::from(&verdict);
    if !verdict.refused.is_empty() {
        let sentences: Vec<&str> = verdict
            .refused
            .iter()
            .map(|refusal| refusal.message.as_str())
            .collect();
        return refused(
            AcceptedReason::PolicyRefused,
            sentences.join("; "),
            Some(status),
        );
    }
    let has_files = !vm.spec.mounts.is_empty();
    Validated::Accepted {
        demand: Box::new(Demand {
            resources: Resources::of_one(&verdict.grants.limits, has_files),
            has_files,
            node_selector: vm.spec.node_selector.clone(),
            tolerations: vm.spec.tolerations.clone(),
        }),
        effective: status,
        audited: verdict.audited,
    }
}

/// What an assigned VM holds, whatever is wrong with it by now: it may be running.
///
/// Where nothing is granted any more, it is what the manifest names, else the built-in default.
/// One that can't be read may have files.
pub fn resources(vm: &Decoded<AgentVM>, policies: &[PolicyRules]) -> Resources {
    let request = vm.0.as_ref().map(countable).unwrap_or_default();
    let has_files = vm.0.as_ref().map_or(true, |vm| !vm.spec.mounts.is_empty());
    let verdict = effective(&request, policies);
    if verdict.refused.is_empty() {
        Resources::of_one(&verdict.grants.limits, has_files)
    } else {
        Resources::of_one(&as_asked(&request), has_files)
    }
}

/// What a spec asks for; of one that is unsound, its limits alone: it may run with them still.
fn countable(vm: &AgentVM) -> Request {
    vm.request().unwrap_or_else(|_unsound| Request {
        limits: vm.limits().unwrap_or_default(),
        ..Request::default()
    })
}

/// Everything about a spec that needs no policy.
fn sound(vm: &AgentVM) -> Result<Request, FieldError> {
    vm.source()?;
    vm.grace_period()?;
    vm.ttl()?;
    vm.request()
}

fn refused(
    reason: AcceptedReason,
    message: String,
    effective: Option<EffectiveStatus>,
) -> Validated {
    Validated::Refused {
        reason,
        message,
        effective,
    }
}

fn as_asked(request: &Request) -> Limits {
    let bounded = |field: LimitField| {
        let value = field
            .of(&request.limits)
            .or(field.default())
            .unwrap_or_default();
        value.min(field.max())
    };
    Limits {
        memory_bytes: bounded(LimitField::Memory),
        cpu_millicores: bounded(LimitField::Cpu),
        storage_bytes: bounded(LimitField::Storage),
        ..Limits::default()
    }
}

#[cfg(test)]
mod tests;
