//! A namespace of a test's own, and AgentVMs in it as plain JSON.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::control_plane::ControlPlane;
use crate::wait::{self, Look};
use crate::{Result, cluster, guests, identity};

/// A namespace that one test has for itself; deleted when it is dropped.
#[derive(Debug)]
pub struct Namespace<'a> {
    /// Its name.
    pub name: String,
    /// The control plane that it is in.
    pub plane: &'a ControlPlane,
}

/// One condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// From a closed list.
    pub reason: String,
    /// For people.
    pub message: String,
}

impl<'a> Namespace<'a> {
    /// Creates a namespace.
    pub fn create(plane: &'a ControlPlane, name: &str) -> Result<Self> {
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        plane.api.create("/api/v1/namespaces", &namespace)?;
        Ok(Self {
            name: name.to_owned(),
            plane,
        })
    }

    /// Puts the probe `guests/PROBE.wat` into a ConfigMap and gives what stands in `spec.module`.
    pub fn module(&self, probe: &str) -> Result<Value> {
        self.module_of(probe, &guests::probe(probe)?)
    }

    /// Puts bytes into a ConfigMap of that name and gives what stands in `spec.module`.
    pub fn module_of(&self, name: &str, bytes: &[u8]) -> Result<Value> {
        let name = name.replace('_', "-");
        let map = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
            "binaryData": {"main.wasm": STANDARD.encode(bytes)},
        });
        if self
            .plane
            .api
            .get(&self.core("configmaps", &name))?
            .is_none()
        {
            self.plane.api.create(&self.core("configmaps", ""), &map)?;
        }
        Ok(json!({"configMap": {"name": name, "key": "main.wasm"}}))
    }

    /// Creates a ConfigMap of text.
    pub fn config_map(&self, name: &str, data: &Value) -> Result<()> {
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data});
        self.plane
            .api
            .create(&self.core("configmaps", ""), &map)
            .map(|_| ())
    }

    /// Creates an `AgentVM` and gives its uid.
    pub fn create_vm(&self, name: &str, spec: &Value) -> Result<String> {
        let object = self
            .plane
            .api
            .create(&self.path(""), &manifest(name, spec))?;
        uid(&object)
    }

    /// Creates an `AgentVM` that runs a probe.
    pub fn run_probe(&self, name: &str, probe: &str, more: &Value) -> Result<String> {
        let mut spec = more.clone();
        spec.as_object_mut()
            .context("a spec is an object")?
            .insert("module".to_owned(), self.module(probe)?);
        self.create_vm(name, &spec)
    }

    /// Merges `spec` into an `AgentVM`'s spec.
    pub fn change(&self, name: &str, spec: &Value) -> Result<()> {
        self.plane
            .api
            .patch(&self.path(name), &json!({"spec": spec}))
            .map(|_| ())
    }

    /// Deletes an `AgentVM`.
    pub fn delete(&self, name: &str) -> Result<()> {
        self.plane.api.delete(&self.path(name))
    }

    /// An `AgentVM` as it is now.
    pub fn vm(&self, name: &str) -> Result<Value> {
        self.plane
            .api
            .get(&self.path(name))?
            .with_context(|| format!("{}/{name} is not there", self.name))
    }

    /// Waits until an `AgentVM` is as `wanted` says, and gives it.
    pub fn wait_for(
        &self,
        name: &str,
        what: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        self.wait_for_within(wait::PATIENCE, name, what, wanted)
    }

    /// Waits no longer than `patience`.
    pub fn wait_for_within(
        &self,
        patience: Duration,
        name: &str,
        what: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        wait::until_within(patience, &format!("{}/{name}: {what}", self.name), || {
            let vm = self.vm(name)?;
            Ok(if wanted(&vm) {
                Look::Yes(vm)
            } else {
                Look::NotYet(seen(&vm))
            })
        })
    }

    /// Waits for a phase, and gives the object.
    pub fn wait_phase(&self, name: &str, wanted: &str) -> Result<Value> {
        self.wait_for(name, &format!("phase {wanted}"), |vm| phase(vm) == wanted)
    }

    /// A kubeconfig for a person with the `edit` role in this namespace.
    pub fn tenant(&self, person: &str) -> Result<PathBuf> {
        identity::tenant(self.plane, person, &self.name)
    }

    /// The messages of the Events about one object, with their reasons: `Reason: note`.
    pub fn events(&self, name: &str) -> Result<Vec<String>> {
        let path = format!("/apis/events.k8s.io/v1/namespaces/{}/events", self.name);
        let list = self
            .plane
            .api
            .get(&path)?
            .context("a namespace has Events")?;
        let items = list
            .get("items")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        Ok(items
            .iter()
            .filter(|event| text(event, "/regarding/name") == name)
            .map(|event| format!("{}: {}", text(event, "/reason"), text(event, "/note")))
            .collect())
    }

    fn path(&self, vm: &str) -> String {
        format!(
            "/apis/agentvm.dev/v1alpha1/namespaces/{}/agentvms{}",
            self.name,
            after_slash(vm)
        )
    }

    fn core(&self, resource: &str, name: &str) -> String {
        format!(
            "/api/v1/namespaces/{}/{resource}{}",
            self.name,
            after_slash(name)
        )
    }
}

impl Drop for Namespace<'_> {
    fn drop(&mut self) {
        // Nobody drops the nodes that all tests share.
        let told = if std::thread::panicking() {
            Ok(())
        } else {
            cluster::no_panics().map_err(|error| format!("{error:#}"))
        };
        // Only frees capacity for other tests: a failure here must not hide theirs.
        let _ = self
            .plane
            .api
            .delete(&format!("/api/v1/namespaces/{}", self.name));
        assert_eq!(told, Ok(()), "namespace {}", self.name);
    }
}

/// A whole `AgentVM`.
pub fn manifest(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "agentvm.dev/v1alpha1", "kind": "AgentVM", "metadata": {"name": name}, "spec": spec})
}

/// One condition of an object.
pub fn condition(object: &Value, kind: &str) -> Option<Condition> {
    let all = object.pointer("/status/conditions")?.as_array()?;
    let found = all
        .iter()
        .find(|condition| text(condition, "/type") == kind)?;
    Some(Condition {
        status: text(found, "/status"),
        reason: text(found, "/reason"),
        message: text(found, "/message"),
    })
}

/// Whether a condition is True, for that reason.
pub fn is_true(object: &Value, kind: &str, reason: &str) -> bool {
    condition(object, kind).is_some_and(|found| found.status == "True" && found.reason == reason)
}

/// An object's phase, or an empty string.
pub fn phase(object: &Value) -> String {
    text(object, "/status/phase")
}

/// The text at a JSON pointer, or an empty string.
pub fn text(object: &Value, pointer: &str) -> String {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

/// The number at a JSON pointer, or 0.
pub fn number(object: &Value, pointer: &str) -> i64 {
    object
        .pointer(pointer)
        .and_then(Value::as_i64)
        .unwrap_or_default()
}

/// An object's uid.
pub fn uid(object: &Value) -> Result<String> {
    let uid = text(object, "/metadata/uid");
    if uid.is_empty() {
        bail!("the object has no uid: {object}");
    }
    Ok(uid)
}

/// An object's status in a few words.
pub fn seen(vm: &Value) -> String {
    let conditions = vm.pointer("/status/conditions").and_then(Value::as_array);
    let mut words = vec![format!(
        "phase {:?} on node {:?}",
        phase(vm),
        text(vm, "/status/assignment/nodeName")
    )];
    for condition in conditions.into_iter().flatten() {
        let [kind, status, reason] =
            ["/type", "/status", "/reason"].map(|part| text(condition, part));
        words.push(format!("{kind}={status}/{reason}"));
    }
    words.push(format!("restarts {}", number(vm, "/status/restarts")));
    words.push(format!(
        "exit {}",
        vm.pointer("/status/exit").unwrap_or(&Value::Null)
    ));
    let message = condition(vm, "Ready")
        .map(|ready| ready.message)
        .unwrap_or_default();
    format!("{}; Ready says {message:?}", words.join(", "))
}

fn after_slash(name: &str) -> String {
    if name.is_empty() {
        String::new()
    } else {
        format!("/{name}")
    }
}
