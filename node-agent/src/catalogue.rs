//! Objects as they are watched, and the wants that follow from them.
//!
//! Pure: it is told what the watches say and keeps [`Desired`] up to date. A policy or a
//! namespace that changed is judged anew for the VMs that it touches.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use agentvm_crds::{AgentPolicy, AgentVM, AgentVMStatus};
use agentvm_policy::{PolicyRules, effective};

use crate::desired::{Desired, Ruling, Uid, Want};
use crate::egress::Terms;
use crate::guards::{Guard, is_on};
use crate::source::Source;

/// Labels of a namespace.
pub type Labels = BTreeMap<String, String>;

/// One thing that a watch says.
#[derive(Clone, Debug)]
pub enum Change {
    /// An `AgentVM` of this node was created or changed.
    Vm(Box<AgentVM>),
    /// An `AgentVM` of this node exists but can't be decoded.
    Undecodable {
        /// Its UID.
        uid: Uid,
    },
    /// An `AgentVM` left this node's selection.
    VmLeft {
        /// Its UID.
        uid: Uid,
    },
    /// The complete selection: whatever is not named has left it.
    AllVms(Vec<Result<AgentVM, Uid>>),
    /// Every VM must leave this node, for that reason.
    Leaving(String),
    /// All policies; one that can't be decoded is its name.
    Policies(Vec<Result<AgentPolicy, String>>),
    /// Labels of all namespaces.
    Namespaces(BTreeMap<String, Labels>),
    /// Labels of one namespace; `None` where it is gone.
    Namespace {
        /// Its name.
        name: String,
        /// Its labels.
        labels: Option<Labels>,
    },
}

/// Objects as they are watched.
#[derive(Debug, Default)]
pub struct Catalogue {
    desired: Desired,
    statuses: BTreeMap<Uid, (AgentVM, AgentVMStatus)>,
    policies: Option<Vec<Result<AgentPolicy, String>>>,
    namespaces: Option<BTreeMap<String, Labels>>,
    node: String,
    leaving: Option<String>,
}

impl Catalogue {
    /// An empty catalogue of `node`'s VMs.
    pub fn new(node: &str) -> Self {
        Self {
            node: node.to_owned(),
            ..Self::default()
        }
    }

    /// What should be.
    pub fn desired(&self) -> &Desired {
        &self.desired
    }

    /// What an object says of itself.
    pub fn status(&self, uid: &str) -> Option<&AgentVMStatus> {
        self.statuses.get(uid).map(|(_, status)| status)
    }

    /// Takes a change in; yields the UIDs whose want is new or different.
    pub fn apply(&mut self, change: Change) -> BTreeSet<Uid> {
        let mut touched = BTreeSet::new();
        match change {
            Change::Vm(vm) => touched.extend(self.insert(*vm)),
            Change::Undecodable { uid } => {
                self.desired.frozen.insert(uid);
            }
            Change::VmLeft { uid } => self.remove(&uid),
            Change::AllVms(vms) => touched = self.replace(vms),
            Change::Leaving(why) => {
                self.leaving = Some(why);
                touched = self.judge(|_| true);
            }
            Change::Policies(policies) => {
                self.policies = Some(policies);
                touched = self.judge(|_| true);
            }
            Change::Namespaces(namespaces) => {
                let old = self.namespaces.replace(namespaces).unwrap_or_default();
                let new = self.namespaces.clone().unwrap_or_default();
                touched = self.judge(|namespace| old.get(namespace) != new.get(namespace));
            }
            Change::Namespace { name, labels } => {
                let namespaces = self.namespaces.get_or_insert_default();
                match labels {
                    Some(labels) => namespaces.insert(name.clone(), labels),
                    None => namespaces.remove(&name),
                };
                touched = self.judge(|namespace| namespace == name);
            }
        }
        touched
    }

    fn replace(&mut self, vms: Vec<Result<AgentVM, Uid>>) -> BTreeSet<Uid> {
        let mut listed = BTreeSet::new();
        let mut frozen = BTreeSet::new();
        let mut touched = BTreeSet::new();
        for vm in vms {
            match vm {
                Ok(vm) => {
                    listed.extend(vm.metadata.uid.clone());
                    touched.extend(self.insert(vm));
                }
                Err(uid) => {
                    frozen.insert(uid);
                }
            }
        }
        self.desired.frozen = frozen;
        let left: Vec<Uid> = self
            .desired
            .vms
            .keys()
            .filter(|uid| !listed.contains(*uid))
            .cloned()
            .collect();
        for uid in left {
            if !self.desired.frozen.contains(&uid) {
                self.remove(&uid);
            }
        }
        touched
    }

    fn insert(&mut self, vm: AgentVM) -> Option<Uid> {
        let uid = vm.metadata.uid.clone()?;
        self.desired.frozen.remove(&uid);
        let status = vm.status.clone().unwrap_or_default();
        let Some(want) = self.want(&vm) else {
            self.remove(&uid);
            return None;
        };
        self.statuses.insert(uid.clone(), (vm, status));
        if self.desired.vms.get(&uid).is_some_and(|old| **old == want) {
            return None;
        }
        self.desired.vms.insert(uid.clone(), Arc::new(want));
        Some(uid)
    }

    fn remove(&mut self, uid: &Uid) {
        self.desired.vms.remove(uid);
        self.desired.frozen.remove(uid);
        self.statuses.remove(uid);
    }

    /// Judges the VMs of the namespaces that `concerns` names again.
    fn judge(&mut self, concerns: impl Fn(&str) -> bool) -> BTreeSet<Uid> {
        let mut touched = BTreeSet::new();
        for (uid, (vm, _)) in &self.statuses {
            let namespace = vm.metadata.namespace.as_deref().unwrap_or_default();
            if !concerns(namespace) {
                continue;
            }
            if let Some(want) = self.want(vm)
                && self.desired.vms.get(uid).is_none_or(|old| **old != want)
            {
                self.desired.vms.insert(uid.clone(), Arc::new(want));
                touched.insert(uid.clone());
            }
        }
        touched
    }

    fn want(&self, vm: &AgentVM) -> Option<Want> {
        let assignment = vm
            .assignment()
            .filter(|assignment| assignment.node_name == self.node)?;
        let namespace = vm.metadata.namespace.clone()?;
        let source = source(vm, &namespace);
        let ruling = match &source {
            Ok(_) => self.ruling(vm, &namespace),
            Err(message) => Ruling::Invalid(message.clone()),
        };
        Some(Want {
            uid: vm.metadata.uid.clone()?,
            name: vm.metadata.name.clone()?,
            generation: vm.metadata.generation.unwrap_or_default(),
            epoch: u64::try_from(assignment.epoch).ok()?,
            spec: self.shared_spec(vm),
            // What can't be read is refused by the ruling.
            mounts: vm.mounts().unwrap_or_default(),
            terms: self.terms(vm, &ruling),
            grace: vm.grace_period().unwrap_or(agentvm_crds::DEFAULT_GRACE),
            effective: ruling.effective().map(Arc::new),
            ruling,
            source: source.ok(),
            evict: self.leaving.clone().or_else(|| assignment.evict.clone()),
            released: vm.status.as_ref().and_then(|status| status.released_epoch)
                == Some(assignment.epoch),
            namespace,
        })
    }

    /// What it may ask of hosts outside, shared with the want that has the same.
    fn terms(&self, vm: &AgentVM, ruling: &Ruling) -> Option<Arc<Terms>> {
        let Ruling::Granted(verdict) = ruling else {
            return None;
        };
        // What can't be read is refused by the ruling.
        let terms = Terms::of(&vm.egress().ok()?, verdict)?;
        let old = vm
            .metadata
            .uid
            .as_ref()
            .and_then(|uid| self.desired.vms.get(uid)?.terms.clone());
        Some(
            old.filter(|old| **old == terms)
                .unwrap_or_else(|| Arc::new(terms)),
        )
    }

    /// The specification, shared with the want that has it already.
    fn shared_spec(&self, vm: &AgentVM) -> Arc<agentvm_crds::AgentVMSpec> {
        let old = vm
            .metadata
            .uid
            .as_ref()
            .and_then(|uid| self.desired.vms.get(uid));
        match old {
            Some(old) if *old.spec == vm.spec => Arc::clone(&old.spec),
            Some(_) | None => Arc::new(vm.spec.clone()),
        }
    }

    fn ruling(&self, vm: &AgentVM, namespace: &str) -> Ruling {
        let request = match (vm.request(), vm.grace_period()) {
            (Ok(request), Ok(_)) => request,
            (Err(error), _) | (_, Err(error)) => return Ruling::Invalid(error.to_string()),
        };
        let rules = match self.rules(namespace) {
            Ok(rules) => rules,
            Err(_unknown) if !is_on(Guard::KnownRules) => Vec::new(),
            Err(why) => return Ruling::Unknown(why),
        };
        let rules = if is_on(Guard::OwnCut) {
            rules
        } else {
            Vec::new()
        };
        let verdict = effective(&request, &rules);
        if verdict.refused.is_empty() {
            Ruling::Granted(verdict)
        } else {
            Ruling::Refused(verdict)
        }
    }

    /// The rules that hold in a namespace, or why they are not known.
    fn rules(&self, namespace: &str) -> Result<Vec<PolicyRules>, String> {
        let policies = self
            .policies
            .as_ref()
            .ok_or("the policies are not read yet")?;
        let namespaces = self
            .namespaces
            .as_ref()
            .ok_or("the namespaces are not read yet")?;
        let labels = namespaces
            .get(namespace)
            .ok_or("the namespace's labels are not read yet")?;
        let mut decoded = Vec::with_capacity(policies.len());
        for policy in policies {
            // Which namespaces it selects is unknown too: a ceiling errs on the strict side.
            decoded.push(
                policy
                    .as_ref()
                    .map_err(|name| format!("AgentPolicy {name} can't be read"))?,
            );
        }
        agentvm_crds::rules_for(decoded, labels).map_err(|error| error.to_string())
    }
}

fn source(vm: &AgentVM, namespace: &str) -> Result<Source, String> {
    match vm.source().map_err(|error| error.to_string())? {
        agentvm_crds::Source::Image(image) => Ok(Source::Image(image.to_owned())),
        agentvm_crds::Source::ConfigMap(key) => Ok(Source::ConfigMap {
            namespace: namespace.to_owned(),
            name: key.name.clone(),
            key: key.key.clone(),
        }),
    }
}
