//! Step 6: the writes to the status.
//!
//! Every write is a server-side apply by force that names the object's UID and the resource
//! version that the decision was made on: it reaches that very object in that very state, or it
//! is a conflict. That holds with two leaders at once, too.

use std::time::Instant;

use agentvm_crds::agentvm::{AgentVM, AgentVMStatus};
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::context::Context;
use crate::decide::Order;
use crate::decoded::Decoded;
use crate::error::{Class, Error};
use crate::world::Key;

/// The field manager.
pub const MANAGER: &str = "agentvm-operator";

/// The object that a status is for, and the state of it that was looked at.
#[derive(Clone, Debug)]
pub struct Target {
    /// Namespace and name.
    pub key: Key,
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.resourceVersion`.
    pub resource_version: String,
}

/// Writes `status`, whatever stands there.
///
/// # Errors
/// A conflict where the object is another or has changed; what the API server says otherwise.
pub async fn apply(
    context: &Context,
    target: &Target,
    status: &AgentVMStatus,
) -> Result<(), Error> {
    // The answer may be an object that can't be decoded; only whether it was written matters.
    let api: Api<Decoded<AgentVM>> = Api::namespaced(context.client.clone(), &target.key.namespace);
    let parameters = PatchParams::apply(MANAGER).force();
    let patch = patch(target, &serde_json::to_value(status)?);
    context
        .deadline(api.patch_status(&target.key.name, &parameters, &Patch::Apply(&patch)))
        .await?;
    Ok(())
}

/// Writes `status` unless it says what stands there; returns whether it wrote.
///
/// # Errors
/// See [`apply`].
pub async fn update_status(
    context: &Context,
    target: &Target,
    status: &AgentVMStatus,
    current: Option<&AgentVMStatus>,
) -> Result<bool, Error> {
    if !crate::build::differs(status, current) {
        return Ok(false);
    }
    apply(context, target, status).await?;
    Ok(true)
}

/// Writes the assignment for which `order` holds room, and settles that room by the outcome.
///
/// # Errors
/// See [`apply`].
pub async fn assign(
    context: &Context,
    target: &Target,
    order: &Order,
    status: &AgentVMStatus,
) -> Result<(), Error> {
    let sent = Instant::now();
    let outcome = apply(context, target, status).await;
    context
        .metrics
        .assign_seconds
        .observe(sent.elapsed().as_secs_f64());
    if let Err(error) = &outcome {
        match error.class() {
            Class::Conflict | Class::Gone | Class::Rejected => {
                let wake = context.world().not_assigned(&target.uid, order.epoch);
                context.wake(wake);
            }
            Class::Unavailable | Class::Internal => {
                context.world().maybe_assigned(&target.uid, order.epoch);
            }
        }
    }
    outcome
}

pub(crate) fn patch(target: &Target, status: &Value) -> Value {
    json!({
        "apiVersion": "agentvm.dev/v1alpha1",
        "kind": "AgentVM",
        "metadata": {
            "name": target.key.name,
            "namespace": target.key.namespace,
            "uid": target.uid,
            "resourceVersion": target.resource_version,
        },
        "status": status,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Target, patch};
    use crate::world::Key;

    #[test]
    fn a_write_names_the_object_and_the_state_it_was_decided_on() {
        let target = Target {
            key: Key {
                namespace: "lab".into(),
                name: "crawler".into(),
            },
            uid: "u1".into(),
            resource_version: "41".into(),
        };
        let patch = patch(&target, &json!({"phase": "Pending"}));
        assert_eq!(patch.pointer("/metadata/uid"), Some(&json!("u1")));
        assert_eq!(
            patch.pointer("/metadata/resourceVersion"),
            Some(&json!("41"))
        );
    }
}
