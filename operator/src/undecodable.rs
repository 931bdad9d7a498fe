//! A VM whose object can't be decoded: said in its status where that takes nothing from it, and
//! in an event in any case.

use agentvm_crds::AgentVM;
use agentvm_crds::agentvm::{AgentVMStatus, Assignment};
use agentvm_crds::conditions::{AcceptedReason, At, OperatorView, operator};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Resource as _;

use crate::apply::{Target, apply};
use crate::build::differs;
use crate::context::Context;
use crate::decoded::Undecodable;
use crate::error::Error;
use crate::notice::Notice;
use crate::world::Key;

/// Reports it once for each state of the object.
///
/// One that is assigned keeps its status untouched: an apply that does not name the assignment,
/// which may be the very part that can't be read, would take it away.
pub(crate) async fn report(
    broken: &Undecodable,
    key: &Key,
    context: &Context,
) -> Result<(), Error> {
    let message = format!("the object can't be decoded: {}", broken.error);
    let generation = broken.metadata.generation;
    if !context.first_report(key, broken.metadata.uid.as_deref(), generation) {
        return Ok(());
    }
    context.metrics.undecodable_seen.inc();
    let mut shell = AgentVM::default();
    *shell.meta_mut() = broken.metadata.clone();
    context.tell(Notice::refused(
        &shell,
        AcceptedReason::InvalidSpec,
        &message,
    ));
    let outcome = write(broken, key, &message, context).await;
    if outcome.is_err() {
        context.forget_report(key);
    }
    outcome
}

async fn write(
    broken: &Undecodable,
    key: &Key,
    message: &str,
    context: &Context,
) -> Result<(), Error> {
    if broken.raw.pointer("/status/assignment").is_some() {
        return Ok(());
    }
    let before: Option<AgentVMStatus> = broken.part("/status");
    let Some(status) = status(broken, message, before.as_ref(), &Time(Timestamp::now())) else {
        return Ok(());
    };
    let target = Target {
        key: key.clone(),
        uid: broken.metadata.uid.clone().unwrap_or_default(),
        resource_version: broken.metadata.resource_version.clone().unwrap_or_default(),
    };
    apply(context, &target, &status).await
}

/// The status that says so; `None` where it says so already.
fn status(
    broken: &Undecodable,
    message: &str,
    before: Option<&AgentVMStatus>,
    now: &Time,
) -> Option<AgentVMStatus> {
    let previous = before
        .map(|status| status.conditions.as_slice())
        .unwrap_or_default();
    let at = At {
        generation: broken.metadata.generation,
        now,
        previous,
    };
    let report = operator(
        &OperatorView::Refused {
            reason: AcceptedReason::InvalidSpec,
            message,
        },
        &at,
    );
    let status = AgentVMStatus {
        phase: report.phase,
        observed_generation: report.observed_generation,
        conditions: report.conditions,
        ..AgentVMStatus::default()
    };
    differs(&status, before).then_some(status)
}

/// Whether an assignment can be read of an object that can't.
pub fn assignment(broken: &Undecodable) -> Option<Assignment> {
    broken.part("/status/assignment")
}

#[cfg(test)]
mod tests {
    use agentvm_crds::AgentVM;
    use jiff::Timestamp;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use serde_json::json;

    use super::status;
    use crate::decoded::Decoded;

    #[test]
    fn it_is_said_once() {
        let broken: Decoded<AgentVM> = serde_json::from_value(json!({
            "apiVersion": "agentvm.dev/v1alpha1", "kind": "AgentVM",
            "metadata": {"name": "odd", "generation": 2}, "spec": {"image": 7},
        }))
        .unwrap();
        let broken = broken.0.unwrap_err();
        let now = Time(Timestamp::UNIX_EPOCH);
        let written = status(&broken, "the object can't be decoded: why", None, &now).unwrap();
        let accepted = written
            .conditions
            .iter()
            .find(|one| one.type_ == "Accepted")
            .unwrap();
        assert_eq!(
            (accepted.status.as_str(), accepted.reason.as_str()),
            ("False", "InvalidSpec")
        );
        assert!(
            status(
                &broken,
                "the object can't be decoded: why",
                Some(&written),
                &now
            )
            .is_none()
        );
    }
}
