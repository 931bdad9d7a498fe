//! `ttlAfterFinished`: an ended VM's object is deleted when its time is over.
//!
//! The due time is decided on what the watch shows; the deletion on a live read, with that
//! read's UID and resource version as preconditions.

use std::time::Duration;

use agentvm_crds::AgentVM;
use agentvm_crds::conditions::ConditionType;
use jiff::Timestamp;
use kube::api::{DeleteParams, Preconditions};
use kube::runtime::controller::Action;
use kube::{Api, Resource as _};
use tracing::info;

use crate::context::Context;
use crate::decoded::Decoded;
use crate::dereference::Dereferenced;
use crate::error::Error;
use crate::world::is_over;

/// When an ended VM goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// It stays.
    Never,
    /// After this long.
    In(Duration),
    /// Its time is over.
    Now,
}

/// Deletes the object if it is due, or says when to look again.
pub(crate) async fn expire(object: &Dereferenced, context: &Context) -> Result<Action, Error> {
    match due(&object.vm, Timestamp::now()) {
        Due::Never => Ok(Action::await_change()),
        Due::In(wait) => Ok(Action::requeue(wait)),
        Due::Now => {
            delete(object, context).await?;
            Ok(Action::await_change())
        }
    }
}

/// When this VM goes.
pub fn due(vm: &AgentVM, now: Timestamp) -> Due {
    let (Ok(Some(ttl)), true) = (vm.ttl(), is_over(vm)) else {
        return Due::Never;
    };
    let Some(ended) = ended_at(vm) else {
        return Due::Never;
    };
    // An end in the future is a clock that is ahead: the whole time starts now at the latest.
    let age = Duration::try_from(now.duration_since(ended)).unwrap_or_default();
    match ttl.checked_sub(age) {
        Some(wait) if !wait.is_zero() => Due::In(wait),
        Some(_) | None => Due::Now,
    }
}

fn ended_at(vm: &AgentVM) -> Option<Timestamp> {
    let status = vm.status.as_ref()?;
    let exit = status
        .exit
        .as_ref()
        .and_then(|exit| exit.finished_at.as_ref());
    let ends = [ConditionType::Complete, ConditionType::Failed];
    let condition = status
        .conditions
        .iter()
        .find(|one| one.status == "True" && ends.iter().any(|kind| kind.as_str() == one.type_))
        .map(|one| &one.last_transition_time);
    exit.or(condition).map(|time| time.0)
}

async fn delete(object: &Dereferenced, context: &Context) -> Result<(), Error> {
    let api: Api<Decoded<AgentVM>> = Api::namespaced(context.client.clone(), &object.key.namespace);
    let Some(Decoded(Ok(live))) = context.deadline(api.get_opt(&object.key.name)).await? else {
        return Ok(());
    };
    if live.meta().uid != object.vm.meta().uid || due(&live, Timestamp::now()) != Due::Now {
        return Ok(());
    }
    let preconditions = Preconditions {
        uid: live.meta().uid.clone(),
        resource_version: live.meta().resource_version.clone(),
    };
    let parameters = DeleteParams {
        preconditions: Some(preconditions),
        ..DeleteParams::default()
    };
    context
        .deadline(api.delete(&object.key.name, &parameters))
        .await?;
    context.metrics.expired.inc();
    info!(namespace = %object.key.namespace, vm = %object.key.name, "deleted: its time to live is over");
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use agentvm_crds::AgentVM;
    use jiff::{SignedDuration, Timestamp};
    use serde_json::json;

    use super::{Due, due};

    fn vm(ttl: Option<&str>, phase: &str) -> AgentVM {
        serde_json::from_value(json!({
            "apiVersion": "agentvm.dev/v1alpha1", "kind": "AgentVM",
            "metadata": {"name": "crawler", "namespace": "lab"},
            "spec": {"image": "r/a", "ttlAfterFinished": ttl},
            "status": {
                "phase": phase,
                "assignment": {"nodeName": "n1", "epoch": 1},
                "exit": {"reason": "Completed", "finishedAt": "2026-01-01T00:00:00Z"},
            },
        }))
        .unwrap()
    }

    fn at(seconds: i64) -> Timestamp {
        let end: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        end.checked_add(SignedDuration::from_secs(seconds)).unwrap()
    }

    #[test]
    fn an_ended_vm_goes_when_its_time_is_over() {
        let cases = [
            (
                vm(Some("1m"), "Complete"),
                0,
                Due::In(Duration::from_mins(1)),
            ),
            (
                vm(Some("1m"), "Complete"),
                59,
                Due::In(Duration::from_secs(1)),
            ),
            (vm(Some("1m"), "Complete"), 60, Due::Now),
            (vm(Some("1m"), "Failed"), 3600, Due::Now),
            (
                vm(Some("1m"), "Complete"),
                -3600,
                Due::In(Duration::from_mins(1)),
            ),
            (vm(Some("1m"), "Running"), 3600, Due::Never),
            (vm(None, "Complete"), 3600, Due::Never),
            (vm(Some("soon"), "Complete"), 3600, Due::Never),
        ];
        for (vm, seconds, expected) in cases {
            assert_eq!(
                due(&vm, at(seconds)),
                expected,
                "{seconds} {:?}",
                vm.spec.ttl_after_finished
            );
        }
    }

    #[test]
    fn a_vm_that_was_refused_before_it_had_a_node_stays() {
        let mut refused = vm(Some("1m"), "Failed");
        refused.status.as_mut().unwrap().assignment = None;
        assert_eq!(due(&refused, at(3600)), Due::Never);
    }
}
