//! Step 1: everything that a decision about one VM is based on.
//!
//! All of it comes from the watches, except that a node which is gone by the watch is asked for
//! again: nothing is taken from a node on the word of a cache.

use std::sync::Arc;
use std::time::Instant;

use agentvm_crds::AgentVM;
use agentvm_policy::PolicyRules;
use k8s_openapi::api::core::v1::Node;
use kube::Api;

use crate::context::Context;
use crate::error::Error;
use crate::nodes::{Standing, is_out_of_service};
use crate::policies::Unreadable;
use crate::world::{Holding, Key, is_over};

/// One VM and what it refers to.
#[derive(Clone, Debug)]
pub struct Dereferenced {
    /// The object as the watch showed it.
    pub vm: Arc<AgentVM>,
    /// Its namespace and name.
    pub key: Key,
    /// The policies of its namespace.
    pub policies: Result<Vec<PolicyRules>, Unreadable>,
    /// How its node stands; `None` without an assignment.
    pub standing: Option<Standing>,
    /// Why its node must let go of it, by the node's taints.
    pub evict: Option<String>,
    /// What it holds on its node, and why that is not what its spec asks for.
    pub holding: Holding,
}

/// Looks everything up.
///
/// # Errors
/// The live read of a node that seems to be gone failed.
pub async fn dereference(
    vm: Arc<AgentVM>,
    key: Key,
    context: &Context,
) -> Result<Dereferenced, Error> {
    let node = vm
        .assignment()
        .filter(|_| !is_over(&vm))
        .map(|assignment| assignment.node_name.clone());
    let (policies, seen, evict, holding) = {
        let mut world = context.world();
        let standing = node
            .as_deref()
            .map(|node| world.standing(node, Instant::now()));
        let evict = node
            .as_deref()
            .and_then(|node| world.evicts(node, &vm.spec.tolerations));
        let holding = world.hold(&key);
        (world.policies_of(&key.namespace), standing, evict, holding)
    };
    let standing = match (node, seen) {
        (Some(node), Some(Standing::Gone | Standing::OutOfService)) => {
            Some(confirmed(&node, context).await?)
        }
        (_, seen) => seen,
    };
    Ok(Dereferenced {
        vm,
        key,
        policies,
        standing,
        evict,
        holding,
    })
}

/// How the node stands by a live read.
async fn confirmed(name: &str, context: &Context) -> Result<Standing, Error> {
    let nodes: Api<Node> = Api::all(context.client.clone());
    let node = context.deadline(nodes.get_opt(name)).await?;
    Ok(match node {
        None => Standing::Gone,
        Some(node) => {
            let taints = node.spec.and_then(|spec| spec.taints).unwrap_or_default();
            if is_out_of_service(&taints) {
                Standing::OutOfService
            } else {
                Standing::Silent
            }
        }
    })
}
