//! Who the processes are: tokens of their own service accounts, bound to a Node or a Pod by
//! `TokenRequest`, so that the API server itself knows the node. And people.

use std::path::PathBuf;

use serde_json::json;

use crate::Result;
use crate::control_plane::ControlPlane;
use crate::wait::{self, Look};

/// The namespace of the operator and the node agents.
pub const SYSTEM: &str = "agentvm-system";
/// The operator's service account.
pub const OPERATOR: &str = "agentvm-operator";
/// The node agents' service account.
pub const NODE_AGENT: &str = "agentvm-node-agent";

/// What a node agent's token is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BoundTo {
    /// The Node itself.
    Node,
    /// A Pod on the Node, as in a `DaemonSet`.
    Pod,
}

/// A kubeconfig for the agent of `node`.
pub fn node_agent(plane: &ControlPlane, node: &str, bound: BoundTo) -> Result<PathBuf> {
    let token = match bound {
        BoundTo::Node => token(plane, NODE_AGENT, "Node", node)?,
        BoundTo::Pod => {
            let pod = format!("agent-{node}");
            create_pod(plane, &pod, NODE_AGENT, Some(node))?;
            token(plane, NODE_AGENT, "Pod", &pod)?
        }
    };
    plane.kubeconfig_of_token(&format!("agent-{node}"), &token)
}

/// A kubeconfig for one replica of the operator.
pub fn operator(plane: &ControlPlane, replica: &str) -> Result<PathBuf> {
    create_pod(plane, replica, OPERATOR, None)?;
    let token = token(plane, OPERATOR, "Pod", replica)?;
    plane.kubeconfig_of_token(replica, &token)
}

/// A kubeconfig for a person who may `edit` one namespace, and nothing else.
pub fn tenant(plane: &ControlPlane, person: &str, namespace: &str) -> Result<PathBuf> {
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": person},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": person}],
    });
    let path = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings");
    plane.api.create(&path, &binding)?;
    plane.kubeconfig_of_person(person)
}

fn token(plane: &ControlPlane, account: &str, kind: &str, name: &str) -> Result<String> {
    let bound = ["--bound-object-kind", kind, "--bound-object-name", name];
    let mut args = vec!["-n", SYSTEM, "create", "token", account, "--duration", "6h"];
    args.extend(bound);
    Ok(plane.kubectl.run(&args)?.done()?.trim().to_owned())
}

/// A Pod that no kubelet will run: an object for a token to be bound to.
fn create_pod(plane: &ControlPlane, name: &str, account: &str, node: Option<&str>) -> Result<()> {
    let path = format!("/api/v1/namespaces/{SYSTEM}/serviceaccounts/{account}");
    wait::until(&format!("service account {account}"), || {
        Ok(plane.api.get(&path)?.map_or_else(
            || Look::NotYet("it is not there".to_owned()),
            |_| Look::Yes(()),
        ))
    })?;
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {
            "serviceAccountName": account, "nodeName": node,
            "containers": [{"name": "main", "image": "none"}],
        },
    });
    plane
        .api
        .create(&format!("/api/v1/namespaces/{SYSTEM}/pods"), &pod)
        .map(|_| ())
}
