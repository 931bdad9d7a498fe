//! Objects in, verdicts out: schema and rules first, then what the policies make of it.

use std::collections::BTreeMap;

use agentvm_crds::agentvm::EffectiveStatus;
use agentvm_crds::validate::validate;
use agentvm_crds::{AgentPolicy, AgentVM, GROUP, rules_for};
use agentvm_policy::{PolicyRules, Refusal, Verdict, effective};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::report::{Judged, Outcome, Problem, Report};
use crate::manifest::Document;

/// The label that every namespace has by itself.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// Judges every object, each in the light of the policies, namespaces and ConfigMaps beside it.
pub(crate) fn judge(documents: &[Document], default_namespace: &str) -> Report {
    let cluster = Cluster::of(documents, default_namespace);
    let objects: Vec<_> = documents
        .iter()
        .map(|document| cluster.judge(document))
        .collect();
    Report {
        accepted: objects
            .iter()
            .all(|object| object.outcome != Outcome::Refused),
        objects,
    }
}

/// What the files say about a cluster.
pub(crate) struct Cluster<'a> {
    default_namespace: &'a str,
    policies: Vec<AgentPolicy>,
    unreadable_policies: Vec<&'a str>,
    namespaces: BTreeMap<&'a str, BTreeMap<String, String>>,
    /// ConfigMaps and Secrets by kind, namespace and name.
    contents: BTreeMap<(&'a str, &'a str, &'a str), &'a Value>,
}

impl<'a> Cluster<'a> {
    /// Everything that stands for a cluster's objects in `documents`.
    pub(crate) fn of(documents: &'a [Document], default_namespace: &'a str) -> Self {
        let of_kind = |kind: &'static str| {
            documents
                .iter()
                .filter(move |document| document.kind() == kind)
        };
        let (mut policies, mut unreadable_policies) = (Vec::new(), Vec::new());
        for document in of_kind("AgentPolicy") {
            match decode(&document.value) {
                Ok(policy) => policies.push(policy),
                Err(_said_at_the_policy_itself) => unreadable_policies.push(document.name()),
            }
        }
        let namespaces =
            of_kind("Namespace").map(|document| (document.name(), labels(&document.value)));
        let contents = of_kind("ConfigMap").chain(of_kind("Secret"));
        let contents = contents.map(|document| {
            let namespace = document.namespace().unwrap_or(default_namespace);
            let key = (document.kind(), namespace, document.name());
            (key, &document.value)
        });
        Self {
            default_namespace,
            policies,
            unreadable_policies,
            namespaces: namespaces.collect(),
            contents: contents.collect(),
        }
    }

    fn judge(&self, document: &'a Document) -> Judged {
        let mut judged = Judged {
            file: document.file.clone(),
            kind: document.kind().to_owned(),
            namespace: None,
            name: document.name().to_owned(),
            outcome: Outcome::NotChecked,
            problems: Vec::new(),
            notes: Vec::new(),
            granted: None,
        };
        match Kind::of(document) {
            Ok(Kind::Foreign) => return judged,
            Ok(Kind::AgentVM) => {
                let namespace = document.namespace().unwrap_or(self.default_namespace);
                judged.namespace = Some(namespace.to_owned());
                judged.problems = schema(&document.value);
                if judged.problems.is_empty() {
                    self.judge_vm(&document.value, namespace, &mut judged);
                }
            }
            Ok(Kind::Ours) => {
                judged.problems = schema(&document.value);
                if judged.problems.is_empty() && document.kind() == "AgentPolicy" {
                    judged.problems.extend(unreadable(&document.value));
                }
            }
            Err(problem) => judged.problems.push(problem),
        }
        judged.outcome = if judged.problems.is_empty() {
            Outcome::Accepted
        } else {
            Outcome::Refused
        };
        judged
    }

    fn judge_vm(&self, value: &Value, namespace: &str, judged: &mut Judged) {
        match decode::<AgentVM>(value).and_then(|vm| self.verdict(&vm, namespace)) {
            Ok(verdict) => {
                judged.notes.extend(
                    verdict
                        .audited
                        .iter()
                        .map(|refusal| format!("audited: {}", refusal.message)),
                );
                judged.problems.extend(verdict.refused.iter().map(problem));
                judged.granted = verdict
                    .refused
                    .is_empty()
                    .then(|| EffectiveStatus::from(&verdict));
            }
            Err(problem) => judged.problems.push(problem),
        }
        judged.notes.extend(self.notes(namespace));
        judged.notes.extend(self.missing_keys(value, namespace));
    }

    fn verdict(&self, vm: &AgentVM, namespace: &str) -> Result<Verdict, Problem> {
        let request = vm.request()?;
        Ok(effective(&request, &self.rules(namespace)?))
    }

    /// The AgentVM of `document`, where a cluster would take it.
    pub(crate) fn vm(document: &Document) -> Result<AgentVM, Problem> {
        match schema(&document.value).into_iter().next() {
            Some(problem) => Err(problem),
            None => decode(&document.value),
        }
    }

    /// The rules of the policies that hold in `namespace`.
    pub(crate) fn rules(&self, namespace: &str) -> Result<Vec<PolicyRules>, Problem> {
        Ok(rules_for(&self.policies, &self.labels(namespace))?)
    }

    /// What the files do not tell of the policies in `namespace`.
    pub(crate) fn notes(&self, namespace: &str) -> Vec<String> {
        self.left_out()
            .chain(self.unknown_labels(namespace))
            .collect()
    }

    fn labels(&self, namespace: &str) -> BTreeMap<String, String> {
        let mut labels = self.namespaces.get(namespace).cloned().unwrap_or_default();
        labels.insert(NAME_LABEL.to_owned(), namespace.to_owned());
        labels
    }

    fn left_out(&self) -> impl Iterator<Item = String> {
        let names = self.unreadable_policies.iter();
        names.map(|name| {
            format!("AgentPolicy {name:?} of these files is refused: this is judged without it")
        })
    }

    /// A policy may select by labels that the files do not tell.
    fn unknown_labels(&self, namespace: &str) -> Option<String> {
        let labels = self.labels(namespace);
        let other_labels = self.policies.iter().any(|policy| !policy.selects(&labels));
        let unknown = other_labels && !self.namespaces.contains_key(namespace);
        unknown.then(|| format!("Namespace {namespace:?} is not in the files: policies are matched by its name alone"))
    }

    /// Keys that the VM reads from a ConfigMap or a Secret of these files, and that are not in it.
    fn missing_keys(&self, vm: &Value, namespace: &str) -> Vec<String> {
        let read = keys(vm).into_iter();
        read.filter_map(|(kind, name, key)| {
            let object = self.contents.get(&(kind, namespace, name))?;
            let held = ["data", "binaryData", "stringData"]
                .iter()
                .any(|field| object.get(field).and_then(|data| data.get(key)).is_some());
            (!held).then(|| format!("{kind} {name:?} of these files has no key {key:?}"))
        })
        .collect()
    }
}

fn text<'a>(value: &'a Value, field: &str) -> Option<&'a str> {
    value.get(field)?.as_str()
}

/// Kind and name of an object, and a key in it, wherever the VM needs one.
fn keys(vm: &Value) -> Vec<(&'static str, &str, &str)> {
    let list = |pointer: &str| vm.pointer(pointer).and_then(Value::as_array);
    let mut keys = Vec::new();
    let env = list("/spec/env").into_iter().flatten();
    let env = env.filter_map(|variable| variable.pointer("/valueFrom/configMapKeyRef"));
    for reference in env.chain(vm.pointer("/spec/module/configMap")) {
        if let (Some(name), Some(key)) = (text(reference, "name"), text(reference, "key")) {
            keys.push(("ConfigMap", name, key));
        }
    }
    for rule in list("/spec/capabilities/network/egress")
        .into_iter()
        .flatten()
    {
        let inject = rule.get("inject").and_then(Value::as_array);
        let references = inject.into_iter().flatten();
        for reference in references.filter_map(|header| header.get("secretKeyRef")) {
            if let (Some(name), Some(key)) = (text(reference, "name"), text(reference, "key")) {
                keys.push(("Secret", name, key));
            }
        }
    }
    for mount in list("/spec/mounts").into_iter().flatten() {
        for (kind, source, field) in [
            ("ConfigMap", "configMap", "name"),
            ("Secret", "secret", "secretName"),
        ] {
            let Some(source) = mount.get(source) else {
                continue;
            };
            let optional = source.get("optional").and_then(Value::as_bool);
            let items = source.get("items").and_then(Value::as_array);
            for item in items.into_iter().flatten() {
                if let (Some(name), Some(key), None | Some(false)) =
                    (text(source, field), text(item, "key"), optional)
                {
                    keys.push((kind, name, key));
                }
            }
        }
    }
    keys
}

/// Whether an object is ours to judge.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// An AgentVM, which a policy may refuse.
    AgentVM,
    /// Another object of our group: the schema says whether there is such a kind.
    Ours,
    /// Somebody else's.
    Foreign,
}

impl Kind {
    fn of(document: &Document) -> Result<Self, Problem> {
        let missing = |field: &str| Problem {
            field: field.to_owned(),
            message: "is missing".to_owned(),
        };
        let group = match document.api_version() {
            "" => return Err(missing("apiVersion")),
            version => version.split_once('/').map(|(group, _)| group),
        };
        match (group, document.kind()) {
            (_, "") => Err(missing("kind")),
            (Some(GROUP), "AgentVM") => Ok(Self::AgentVM),
            (Some(GROUP), _) => Ok(Self::Ours),
            (Some(_) | None, _) => Ok(Self::Foreign),
        }
    }
}

/// What of a policy can't be read although its schema holds: every VM that it selects is refused.
fn unreadable(value: &Value) -> Option<Problem> {
    let policy: Result<AgentPolicy, Problem> = decode(value);
    policy.and_then(|policy| Ok(policy.rules()?)).err()
}

/// What the CRD's schema and rules say.
fn schema(value: &Value) -> Vec<Problem> {
    validate(value).into_iter().map(Problem::from).collect()
}

fn decode<T: DeserializeOwned>(value: &Value) -> Result<T, Problem> {
    T::deserialize(value).map_err(|error| Problem {
        field: "the object".to_owned(),
        message: error.to_string(),
    })
}

/// A refusal's sentence starts with its field, which a problem names by itself.
fn problem(refusal: &Refusal) -> Problem {
    let Refusal {
        field,
        policy: _,
        message,
    } = refusal;
    let message = message
        .strip_prefix(field.as_str())
        .unwrap_or(message)
        .trim_start();
    Problem {
        field: field.clone(),
        message: message.to_owned(),
    }
}

fn labels(value: &Value) -> BTreeMap<String, String> {
    let labels = value
        .pointer("/metadata/labels")
        .and_then(Value::as_object)
        .into_iter()
        .flatten();
    labels
        .filter_map(|(name, label)| Some((name.clone(), label.as_str()?.to_owned())))
        .collect()
}
