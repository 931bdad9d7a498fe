//! The pipeline for one VM: dereference, validate, decide, place, build, apply or update the
//! status, and tell.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use agentvm_crds::AgentVM;
use futures::FutureExt as _;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::runtime::controller::Action;
use kube::{Resource as _, ResourceExt as _};
use tracing::{debug, info, warn};

use crate::apply::{Target, assign, update_status};
use crate::context::Context;
use crate::decide::{Decision, Eviction, Order, View, decide};
use crate::decoded::Decoded;
use crate::dereference::{Dereferenced, dereference};
use crate::error::{Class, Error, chain};
use crate::nodes::Standing;
use crate::notice::Notice;
use crate::validate::validate;
use crate::world::{Key, Placement};
use crate::{build, expire, undecodable};

/// Brings one VM a step further. A panic on the way is an error of this VM alone.
///
/// # Errors
/// What kept it from getting through; the object is tried again after [`retry`].
pub async fn reconcile(
    object: Arc<Decoded<AgentVM>>,
    context: Arc<Context>,
) -> Result<Action, Error> {
    let started = Instant::now();
    let key = key_of(&object);
    let outcome = contained(attempt(object, &key, &context)).await;
    context.metrics.reconciled(&outcome, started.elapsed());
    if outcome.is_ok() {
        context.retries().succeeded(&key);
    }
    outcome
}

/// How long to wait before a VM that failed is tried again.
pub fn retry(object: &Decoded<AgentVM>, error: &Error, context: &Context) -> Action {
    let key = key_of(object);
    let class = error.class();
    if class == Class::Gone {
        context.retries().succeeded(&key);
        return Action::await_change();
    }
    let wait = context.retries().failed(&key, class);
    match class {
        Class::Conflict => debug!(namespace = %key.namespace, vm = %key.name, "changed meanwhile"),
        Class::Gone | Class::Rejected | Class::Unavailable | Class::Internal => {
            warn!(namespace = %key.namespace, vm = %key.name, error = chain(error), ?wait, "reconcile failed");
        }
    }
    Action::requeue(wait)
}

/// Namespace and name of an object.
pub fn key_of(object: &Decoded<AgentVM>) -> Key {
    Key {
        namespace: object.namespace().unwrap_or_default(),
        name: object.name_any(),
    }
}

async fn attempt(
    object: Arc<Decoded<AgentVM>>,
    key: &Key,
    context: &Context,
) -> Result<Action, Error> {
    let vm = match &object.0 {
        Ok(vm) => Arc::new(vm.clone()),
        Err(broken) => {
            undecodable::report(broken, key, context).await?;
            return Ok(Action::await_change());
        }
    };
    let object = dereference(vm, key.clone(), context).await?;
    let decision = decide(&object, validate(&object));
    if !matches!(decision, Decision::Place(_)) {
        context.world().stop_waiting(key);
    }
    match decision {
        Decision::Leave => Ok(Action::await_change()),
        Decision::Expire => expire::expire(&object, context).await,
        Decision::Report(view) => report(&object, &view, context).await,
        Decision::Place(order) => place(&object, &order, context).await,
        Decision::Evict(eviction) => evict(&object, &eviction, context).await,
    }
}

async fn report(object: &Dereferenced, view: &View, context: &Context) -> Result<Action, Error> {
    let status = build::reported(&object.vm, view, &now());
    let status = build::claiming(status, object.holding.claimed);
    let wrote = update_status(context, &target(object), &status, object.vm.status.as_ref()).await?;
    if wrote {
        match view {
            View::Refused {
                reason, message, ..
            }
            | View::Assigned {
                refused: Some((reason, message)),
                ..
            } => {
                context.metrics.refused(*reason);
                context.tell(Notice::refused(&object.vm, *reason, message));
            }
            View::Assigned {
                standing: Standing::Silent,
                ..
            } => context.tell(Notice::silent(&object.vm)),
            View::Leaving { why } => {
                context.metrics.evicted.inc();
                context.tell(Notice::leaving(&object.vm, why));
            }
            View::Assigned { .. } | View::Suspended { .. } => {}
        }
    }
    Ok(Action::await_change())
}

async fn place(object: &Dereferenced, order: &Order, context: &Context) -> Result<Action, Error> {
    let target = target(object);
    let placement = context.world().place_or_wait(
        &object.key,
        &target.uid,
        order.epoch,
        &order.demand,
        Instant::now(),
    );
    match placement {
        Placement::UnderWay => {}
        Placement::Node(node) => {
            let status = build::assigning(&object.vm, order, &node, &now());
            assign(context, &target, order, &status).await?;
            placed(object, order, &node, context);
        }
        Placement::None(reasons) => {
            let status = build::unplaced(&object.vm, order, &reasons, &now());
            if update_status(context, &target, &status, object.vm.status.as_ref()).await? {
                context.tell(Notice::unschedulable(&object.vm, &reasons.to_string()));
            }
        }
    }
    Ok(Action::await_change())
}

fn placed(object: &Dereferenced, order: &Order, node: &str, context: &Context) {
    let first_seen = context.world().first_seen(&object.key);
    context
        .metrics
        .assigned(order.lost.is_some(), first_seen.map(|at| at.elapsed()));
    let Key { namespace, name } = &object.key;
    info!(%namespace, vm = %name, %node, epoch = order.epoch, "assigned");
    context.tell(Notice::placed(&object.vm, node, order.lost.as_ref()));
    for refusal in &order.audited {
        context
            .metrics
            .audited(refusal.policy.as_deref().unwrap_or_default());
    }
    if !order.audited.is_empty() {
        context.tell(Notice::audited(&object.vm, &order.audited));
    }
}

async fn evict(
    object: &Dereferenced,
    eviction: &Eviction,
    context: &Context,
) -> Result<Action, Error> {
    let status = build::evicted(&object.vm, eviction, &now());
    crate::apply::apply(context, &target(object), &status).await?;
    let Key { namespace, name } = &object.key;
    info!(%namespace, vm = %name, node = %eviction.lost.node, "evicted");
    context.metrics.evicted.inc();
    context.tell(Notice::evicted(&object.vm, eviction));
    Ok(Action::await_change())
}

fn target(object: &Dereferenced) -> Target {
    let meta = object.vm.meta();
    Target {
        key: object.key.clone(),
        uid: meta.uid.clone().unwrap_or_default(),
        resource_version: meta.resource_version.clone().unwrap_or_default(),
    }
}

fn now() -> Time {
    Time(Timestamp::now())
}

/// Turns a panic of `work` into an error.
async fn contained<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let outcome = AssertUnwindSafe(work).catch_unwind().await;
    outcome.unwrap_or_else(|panic| Err(Error::Panic(panic_text(panic.as_ref()))))
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::contained;
    use crate::error::{Class, Error};

    #[tokio::test]
    async fn a_panic_is_an_error_of_its_vm_alone() {
        let outcome: Result<(), Error> = contained(async { panic!("poisoned") }).await;
        let error = outcome.unwrap_err();
        assert_eq!(error.class(), Class::Internal);
        assert_eq!(error.to_string(), "the reconcile panicked: poisoned");
    }
}
