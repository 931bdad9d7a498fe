//! A node with a gateway, and VMs on it that poll hosts.

use std::time::{Duration, Instant};

use agentvm_tests::cluster::{self, Cluster};
use agentvm_tests::node::{Node, NodeSettings};
use agentvm_tests::vm::{Namespace, text};
use agentvm_tests::wait::{self, Look};
use agentvm_tests::{Result, guests, scratch};
use serde_json::{Value, json};

use crate::outside::Outside;

/// Everything that a test needs.
pub(crate) struct Site {
    pub(crate) cluster: &'static Cluster,
    pub(crate) outside: Outside,
    pub(crate) node: Node,
    pub(crate) namespace: Namespace<'static>,
}

/// A rule for everything of `host` by http.
pub(crate) fn plain_rule(host: &str) -> Value {
    json!({"host": host, "scheme": "http", "methods": ["GET"], "paths": ["/*"]})
}

/// A rule for `/v1` of `host` by https, with a key.
pub(crate) fn with_key(host: &str) -> Value {
    json!({
        "host": host, "methods": ["GET"], "paths": ["/v1/*"],
        "inject": [{
            "header": "Authorization", "template": "Bearer {}",
            "secretKeyRef": {"name": "keys", "key": "token"},
        }],
    })
}

/// What stands in `spec.capabilities`.
pub(crate) fn asks(rules: &[Value]) -> Value {
    json!({"network": {"egress": rules}})
}

impl Site {
    /// A reserved node and a namespace of this name, in which everything may be asked for.
    pub(crate) fn new(name: &str) -> Result<Self> {
        let cluster = cluster::shared()?;
        let outside = Outside::start(&scratch::dir(&format!("{name}-out"))?);
        let settings = NodeSettings {
            outside: Some(outside.place.clone()),
            ..NodeSettings::reserved()
        };
        let node = cluster.add_node(name, &settings)?;
        let namespace = Namespace::create(cluster.plane, name)?;
        let site = Self {
            cluster,
            outside,
            node,
            namespace,
        };
        site.open(&json!([
            {"host": "*", "methods": ["*"], "paths": ["*"]},
            {"host": "*", "scheme": "http", "methods": ["*"], "paths": ["*"]},
        ]))?;
        Ok(site)
    }

    /// Writes the policy of the namespace: these requests may be asked for.
    pub(crate) fn open(&self, egress: &Value) -> Result<()> {
        let name = &self.namespace.name;
        let policy = json!({
            "apiVersion": "agentvm.dev/v1alpha1", "kind": "AgentPolicy",
            "metadata": {"name": name},
            "spec": {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}},
                "capabilities": {"network": {"egress": egress}},
            },
        });
        let kubectl = &self.namespace.plane.kubectl;
        kubectl.apply(&policy.to_string())?.done().map(drop)
    }

    /// Writes the Secret that keys are of.
    pub(crate) fn key_is(&self, key: &str) -> Result<()> {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": "keys", "namespace": self.namespace.name},
            "stringData": {"token": key},
        });
        let kubectl = &self.namespace.plane.kubectl;
        kubectl.apply(&secret.to_string())?.done().map(drop)
    }

    /// Lets the node's agent read Secrets of the namespace.
    pub(crate) fn allow_secrets(&self) -> Result<()> {
        let binding = [
            "create",
            "rolebinding",
            "agentvm-secrets",
            "-n",
            &self.namespace.name,
            "--clusterrole=agentvm-secret-reader",
            "--serviceaccount=agentvm-system:agentvm-node-agent",
        ];
        let kubectl = &self.namespace.plane.kubectl;
        kubectl.run(&binding)?.done().map(drop)
    }

    /// Creates a VM on the node that polls `url` as `how` says.
    pub(crate) fn poll(&self, name: &str, how: &str, url: &str, rules: &[Value]) -> Result<String> {
        let module = std::fs::read(guests::c("poll")?)?;
        let spec = json!({
            "module": self.namespace.module_of("poll", &module)?,
            "args": [how, url],
            "capabilities": asks(rules),
            "nodeSelector": {"kubernetes.io/hostname": self.node.name},
            "tolerations": [{"key": "tests", "operator": "Exists"}],
            "terminationGracePeriod": "1s",
        });
        self.namespace.create_vm(name, &spec)
    }

    /// What a VM has printed.
    pub(crate) fn printed(&self, uid: &str) -> Result<Vec<String>> {
        let stdout = self.node.warden.stdout()?;
        let lines = stdout
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        Ok(lines
            .filter(|line| text(line, "/uid") == uid)
            .map(|line| text(&line, "/text"))
            .collect())
    }

    /// Waits until the last line that a VM has printed is this; how long that took.
    pub(crate) fn says(&self, uid: &str, wanted: &str) -> Result<Duration> {
        let began = Instant::now();
        wait::until(&format!("the VM to print {wanted:?}"), || {
            let lines = self.printed(uid)?;
            Ok(wait::yes_if(
                lines.last().is_some_and(|line| line == wanted),
                || format!("{lines:?}"),
            ))
        })?;
        Ok(began.elapsed())
    }

    /// Waits for an Event on a VM whose text has all of `parts`.
    pub(crate) fn event(&self, name: &str, parts: &[&str]) -> Result<String> {
        wait::until(&format!("an event with {parts:?}"), || {
            let events = self.namespace.events(name)?;
            let found = events
                .iter()
                .find(|event| parts.iter().all(|part| event.contains(part)));
            Ok(match found {
                Some(event) => Look::Yes(event.clone()),
                None => Look::NotYet(format!("{events:?}")),
            })
        })
    }
}
