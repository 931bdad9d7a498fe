//! The manifests as a small cluster of one node.

mod objects;

use std::collections::{BTreeMap, BTreeSet};

use agentvm_crds::agentvm::{Assignment, Phase};
use agentvm_crds::validate::validate;
use agentvm_crds::{AgentPolicy, AgentVM, AgentVMStatus, AskedMount, GROUP};
use agentvm_node_agent::catalogue::{Catalogue, Change, Labels};
use agentvm_node_agent::desired::{Ruling, Uid, Want};
use agentvm_node_agent::egress::OfRun;
use agentvm_node_agent::mounts;
use agentvm_policy::Limits;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use serde::de::DeserializeOwned;
use serde_json::Value;

use self::objects::StagedObjects;
use crate::manifest::Document;

/// The one node.
pub(super) const NODE: &str = "local";
/// The label that every namespace has by itself.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// Why the manifests can't be run.
#[derive(Debug, thiserror::Error)]
pub(super) enum StageError {
    #[error("{object} ({file}): {problem}")]
    Object {
        object: String,
        file: String,
        problem: String,
    },
    #[error("no AgentVM in {files}: there is nothing to run")]
    Nothing { files: String },
    #[error(
        "{object}: there is no ConfigMap {name} with a key {key} in namespace {namespace} of the files"
    )]
    NoConfigMap {
        object: String,
        namespace: String,
        name: String,
        key: String,
    },
    #[error("{object} (in {file}): {problem}")]
    Mounts {
        object: String,
        file: String,
        problem: String,
    },
}

/// The manifests as a small cluster of one node.
#[derive(Debug)]
pub(super) struct Stage {
    /// In the order of the files.
    pub(super) vms: Vec<AgentVM>,
    policies: Vec<AgentPolicy>,
    namespaces: BTreeMap<String, Labels>,
    config_maps: BTreeMap<(String, String), ConfigMap>,
    secrets: BTreeMap<(String, String), Secret>,
    /// The file that each VM stands in.
    files: Vec<String>,
    /// In the order of the files.
    sights: Vec<Sight>,
    asks_for_network: bool,
}

/// What is known of a VM before it runs.
#[derive(Debug)]
pub(super) struct Sight {
    /// What it mounts.
    pub(super) mounts: Vec<AskedMount>,
    /// What the policies leave it.
    pub(super) limits: Limits,
}

impl Stage {
    /// Checks the documents as a cluster would, and places every VM on the one node.
    pub(super) fn of(documents: &[Document], default_namespace: &str) -> Result<Self, StageError> {
        let mut stage = Self {
            vms: Vec::new(),
            policies: Vec::new(),
            namespaces: BTreeMap::new(),
            config_maps: BTreeMap::new(),
            secrets: BTreeMap::new(),
            files: Vec::new(),
            sights: Vec::new(),
            asks_for_network: false,
        };
        for document in documents {
            stage.add(document, default_namespace)?;
        }
        if stage.vms.is_empty() {
            let files: BTreeSet<&str> = documents
                .iter()
                .map(|document| document.file.as_str())
                .collect();
            let files: Vec<&str> = files.into_iter().collect();
            return Err(StageError::Nothing {
                files: files.join(", "),
            });
        }
        for vm in &stage.vms {
            let namespace = namespace_of(vm);
            let labels = stage.namespaces.entry(namespace.to_owned()).or_default();
            labels.insert(NAME_LABEL.to_owned(), namespace.to_owned());
        }
        stage
            .vms
            .iter()
            .try_for_each(|vm| stage.check_references(vm))?;
        let granted = stage.check_policies()?;
        stage.sights = stage.check_mounts(&granted)?;
        Ok(stage)
    }

    /// Everything that the agent's watches would say.
    pub(super) fn changes(&self) -> [Change; 3] {
        [
            Change::Policies(self.policies.iter().cloned().map(Ok).collect()),
            Change::Namespaces(self.namespaces.clone()),
            Change::AllVms(self.vms.iter().cloned().map(Ok).collect()),
        ]
    }

    /// UIDs of all VMs, in the order of the files.
    pub(super) fn uids(&self) -> Vec<Uid> {
        self.vms
            .iter()
            .filter_map(|vm| vm.metadata.uid.clone())
            .collect()
    }

    /// The namespace of each VM, in the order of the files.
    pub(super) fn namespaces(&self) -> impl Iterator<Item = &str> {
        self.vms.iter().map(namespace_of)
    }

    /// Whether a VM may make requests, so that a gateway is needed.
    pub(super) fn asks_for_network(&self) -> bool {
        self.asks_for_network
    }

    /// What is known of each VM before it runs.
    pub(super) fn sights(&self) -> &[Sight] {
        &self.sights
    }

    /// What the agent can read.
    pub(super) fn objects(&self) -> StagedObjects {
        StagedObjects {
            config_maps: self.config_maps.clone(),
            secrets: self.secrets.clone(),
        }
    }

    fn add(&mut self, document: &Document, default_namespace: &str) -> Result<(), StageError> {
        let group = document
            .api_version()
            .split_once('/')
            .map(|(group, _)| group);
        let namespace = document.namespace().unwrap_or(default_namespace).to_owned();
        match (group, document.kind()) {
            (Some(GROUP), "AgentVM") => {
                let vm = placed(checked(document)?, &namespace, self.vms.len());
                if self.vms.iter().any(|other| {
                    other.metadata.name == vm.metadata.name && namespace_of(other) == namespace
                }) {
                    return Err(refused(document, "the files hold another one of this name"));
                }
                self.vms.push(vm);
                self.files.push(document.file.clone());
            }
            (Some(GROUP), "AgentPolicy") => self.policies.push(checked(document)?),
            (Some(GROUP), _) | (None, "") => {
                return Err(refused(
                    document,
                    checked::<Value>(document).err().map_or_else(
                        || "is not run: only AgentVMs are".to_owned(),
                        |error| error.to_string(),
                    ),
                ));
            }
            (None, "Namespace") => {
                let labels = decoded::<k8s_openapi::api::core::v1::Namespace>(document)?
                    .metadata
                    .labels;
                self.namespaces
                    .insert(document.name().to_owned(), labels.unwrap_or_default());
            }
            (None, "ConfigMap") => {
                self.config_maps
                    .insert((namespace, document.name().to_owned()), decoded(document)?);
            }
            (None, "Secret") => {
                self.secrets
                    .insert((namespace, document.name().to_owned()), secret(document)?);
            }
            // Whatever else a manifest for a cluster holds has no part in a run without one.
            (Some(_) | None, _) => {}
        }
        Ok(())
    }

    /// A `ConfigMap` that is not in the files will never come.
    fn check_references(&self, vm: &AgentVM) -> Result<(), StageError> {
        let module = vm
            .spec
            .module
            .as_ref()
            .map(|module| (&module.config_map, true));
        let env = vm
            .spec
            .env
            .iter()
            .filter_map(|variable| variable.value_from.as_ref());
        let env = env.map(|source| (&source.config_map_key_ref, false));
        for (reference, is_binary) in module.into_iter().chain(env) {
            let map = self
                .config_maps
                .get(&(namespace_of(vm).to_owned(), reference.name.clone()));
            let has_key = map.is_some_and(|map| {
                let data = map
                    .data
                    .as_ref()
                    .is_some_and(|data| data.contains_key(&reference.key));
                let binary = map
                    .binary_data
                    .as_ref()
                    .is_some_and(|data| data.contains_key(&reference.key));
                if is_binary { binary } else { data }
            });
            if !has_key {
                return Err(StageError::NoConfigMap {
                    object: object_of(vm),
                    namespace: namespace_of(vm).to_owned(),
                    name: reference.name.clone(),
                    key: reference.key.clone(),
                });
            }
        }
        Ok(())
    }

    /// What is mounted is mounted as an agent would, so that what is missing is said now.
    fn check_mounts(&self, granted: &BTreeMap<Uid, Limits>) -> Result<Vec<Sight>, StageError> {
        let objects = self.objects();
        let sights = self.vms.iter().zip(&self.files).map(|(vm, file)| {
            let refused = |problem: String| StageError::Mounts {
                object: object_of(vm),
                file: file.clone(),
                problem,
            };
            let asked = vm.mounts().map_err(|error| refused(error.to_string()))?;
            let namespace = namespace_of(vm);
            let named = mounts::objects(namespace, &asked).into_iter();
            let contents = named
                .map(|object| {
                    let content = objects.find(&object);
                    (object, content)
                })
                .collect();
            mounts::mounts(namespace, &asked, &contents)
                .map_err(|problem| refused(format!("{} (in the files given)", problem.message)))?;
            let uid = vm.metadata.uid.as_deref().unwrap_or_default();
            Ok(Sight {
                mounts: asked,
                limits: granted.get(uid).copied().unwrap_or_default(),
            })
        });
        sights.collect()
    }

    /// A key that is not in the files will never come.
    fn check_keys(&self, want: &Want) -> Result<(), StageError> {
        let Some(terms) = &want.terms else {
            return Ok(());
        };
        let objects = self.objects();
        let named = terms.objects(&want.namespace).into_iter();
        let contents = named
            .map(|object| {
                let content = objects.find(&object);
                (object, content)
            })
            .collect();
        let run = OfRun::default();
        let filled = terms.fill(&want.namespace, &want.name, &contents, run);
        match filled.lacking.first() {
            None => Ok(()),
            Some(problem) => Err(StageError::Object {
                object: format!("AgentVM {}/{}", want.namespace, want.name),
                file: "with the Secrets of the files".to_owned(),
                problem: problem.message.clone(),
            }),
        }
    }

    /// What the policies refuse is said before anything is started. Yields what they leave.
    fn check_policies(&mut self) -> Result<BTreeMap<Uid, Limits>, StageError> {
        let mut catalogue = Catalogue::new(NODE);
        for change in self.changes() {
            catalogue.apply(change);
        }
        let mut granted = BTreeMap::new();
        for want in catalogue.desired().vms.values() {
            self.asks_for_network |= want.terms.is_some();
            self.check_keys(want)?;
            if let Some(grants) = want.grants() {
                granted.insert(want.uid.clone(), grants.limits);
            }
            let problem = match &want.ruling {
                Ruling::Granted(_) => continue,
                Ruling::Unknown(problem) | Ruling::Invalid(problem) => problem.clone(),
                Ruling::Refused(verdict) => {
                    let messages: Vec<&str> = verdict
                        .refused
                        .iter()
                        .map(|refusal| refusal.message.as_str())
                        .collect();
                    format!("PolicyRefused: {}", messages.join("; "))
                }
            };
            let object = format!("AgentVM {}/{}", want.namespace, want.name);
            return Err(StageError::Object {
                object,
                file: "with the policies of the files".to_owned(),
                problem,
            });
        }
        Ok(granted)
    }
}

/// An object of ours that the CRD's schema and rules let pass.
fn checked<T: DeserializeOwned>(document: &Document) -> Result<T, StageError> {
    let problems = validate(&document.value);
    if let Some(first) = problems.first() {
        let more = match problems.len() - 1 {
            0 => String::new(),
            more => format!(" (and {more} more: see agentvm validate)"),
        };
        return Err(refused(document, format!("{first}{more}")));
    }
    decoded(document)
}

fn decoded<T: DeserializeOwned>(document: &Document) -> Result<T, StageError> {
    T::deserialize(&document.value).map_err(|error| refused(document, error.to_string()))
}

/// A Secret. No error repeats anything of what it holds.
fn secret(document: &Document) -> Result<Secret, StageError> {
    decoded::<Secret>(document).map_err(|_why| {
        refused(
            document,
            "must be a Secret: under data every value is base64 text, under stringData plain text",
        )
    })
}

fn refused(document: &Document, problem: impl Into<String>) -> StageError {
    StageError::Object {
        object: format!("{} {}", document.kind(), document.name()),
        file: document.file.clone(),
        problem: problem.into(),
    }
}

/// The VM as an operator would have left it.
fn placed(mut vm: AgentVM, namespace: &str, index: usize) -> AgentVM {
    vm.metadata.namespace = Some(namespace.to_owned());
    // A UID that no other VM of this run has; in the order of the files.
    vm.metadata.uid = Some(format!(
        "{index:08x}-0000-4000-8000-{:012x}",
        std::process::id()
    ));
    vm.metadata.generation = Some(1);
    vm.status = Some(AgentVMStatus {
        phase: Some(Phase::Starting),
        assignment: Some(Assignment {
            node_name: NODE.to_owned(),
            epoch: 1,
            evict: None,
            claimed: None,
        }),
        ..AgentVMStatus::default()
    });
    vm
}

fn namespace_of(vm: &AgentVM) -> &str {
    vm.metadata.namespace.as_deref().unwrap_or_default()
}

fn object_of(vm: &AgentVM) -> String {
    format!(
        "AgentVM {}/{}",
        namespace_of(vm),
        vm.metadata.name.as_deref().unwrap_or_default()
    )
}
