//! Every VM that the agent gave rules for: each belongs to one namespace, and only that
//! namespace's channel can speak for it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agentvm_cell_api::gateway as wire;
use tokio::sync::Notify;

use crate::ledger::{Identity, Ledger};
use crate::terms::{self, BadTerms};
use crate::vm::{Terms, Vm, Vms};

/// Why a VM's rules were not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// Nothing is allowed before the node's own addresses are closed.
    #[error("the node's addresses are not known: PUT /v1/node comes first")]
    NodeUnknown,
    /// The UID is another namespace's.
    #[error("the VM {uid} belongs to another namespace than {namespace:?}")]
    Foreign {
        /// Whose rules they were.
        uid: String,
        /// The namespace that was named.
        namespace: String,
    },
    /// They can't be read. The VM is allowed nothing now.
    #[error(transparent)]
    Bad(#[from] BadTerms),
}

/// The VMs of all namespaces.
#[derive(Debug, Default)]
pub(crate) struct Namespaces {
    all: Mutex<All>,
    deadlines_moved: Notify,
    ledger: Arc<Ledger>,
}

#[derive(Debug, Default)]
struct All {
    node: Option<wire::Node>,
    by_uid: BTreeMap<String, Entry>,
    by_namespace: BTreeMap<String, Namespace>,
}

#[derive(Debug, Default)]
struct Namespace {
    vms: Arc<Vms>,
    count: usize,
}

#[derive(Debug)]
struct Entry {
    namespace: String,
    vm: Arc<Vm>,
    deadline_ms: Option<u64>,
}

impl Namespaces {
    /// No VM yet; what becomes of their requests goes to `ledger`.
    pub(crate) fn new(ledger: Arc<Ledger>) -> Self {
        Self {
            ledger,
            ..Self::default()
        }
    }

    /// The VMs of `namespace`: there may be none yet.
    pub(crate) fn of(&self, namespace: &str) -> Arc<Vms> {
        self.lock().of(namespace).vms.clone()
    }

    /// Closes the node's addresses, for those that run as well.
    pub(crate) fn set_node(&self, node: wire::Node) {
        let mut all = self.lock();
        for entry in all.by_uid.values() {
            let mut terms = Terms::clone(&entry.vm.terms());
            terms.addresses.cluster.clone_from(&node.cluster);
            terms.addresses.own.clone_from(&node.own);
            entry.vm.set_terms(terms);
        }
        all.node = Some(node);
    }

    /// Takes the rules of a VM in the place of those that it had.
    ///
    /// # Errors
    ///
    /// [`Refused`]; where its rules can't be read it is allowed nothing from now on.
    pub(crate) fn put(&self, uid: &str, asked: &wire::Vm) -> Result<(), Refused> {
        let mut all = self.lock();
        let is_foreign = |entry: &Entry| entry.namespace != asked.namespace;
        if all.by_uid.get(uid).is_some_and(is_foreign) {
            return Err(Refused::Foreign {
                uid: uid.to_owned(),
                namespace: asked.namespace.clone(),
            });
        }
        let node = all.node.as_ref().ok_or(Refused::NodeUnknown)?;
        match terms::read(asked, node) {
            Ok(terms) => all.set(uid, asked, terms, &self.ledger),
            Err(bad) => {
                all.close(uid);
                return Err(bad.into());
            }
        }
        self.deadlines_moved.notify_one();
        Ok(())
    }

    /// Allows a VM nothing from now on, and goes on counting what it used.
    pub(crate) fn close(&self, uid: &str) {
        self.lock().close(uid);
    }

    /// Forgets a VM, if it is known; its requests in flight end.
    pub(crate) fn remove(&self, uid: &str) -> Option<Arc<Vm>> {
        let mut all = self.lock();
        all.by_uid.remove(uid).map(|entry| {
            let namespace = all.of(&entry.namespace);
            namespace.count = namespace.count.saturating_sub(1);
            namespace.vms.remove(uid);
            entry.vm
        })
    }

    /// Every VM, by UID.
    pub(crate) fn all(&self) -> BTreeMap<String, Arc<Vm>> {
        let all = self.lock();
        let vms = all.by_uid.iter();
        vms.map(|(uid, entry)| (uid.clone(), entry.vm.clone()))
            .collect()
    }

    /// Closes the VMs whose deadline is not after `now_ms`; their UIDs, and the next deadline.
    pub(crate) fn fence(&self, now_ms: u64) -> (Vec<String>, Option<u64>) {
        let mut all = self.lock();
        let is_over = |entry: &Entry| entry.deadline_ms.is_some_and(|deadline| deadline <= now_ms);
        let over = all.by_uid.iter().filter(|(_, entry)| is_over(entry));
        let over: Vec<String> = over.map(|(uid, _)| uid.clone()).collect();
        for uid in &over {
            all.close(uid);
        }
        let next = all.by_uid.values().filter_map(|entry| entry.deadline_ms);
        (over, next.min())
    }

    /// Resolves when a deadline may have become an earlier one.
    pub(crate) async fn deadlines_moved(&self) {
        self.deadlines_moved.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl All {
    fn of(&mut self, namespace: &str) -> &mut Namespace {
        // Whoever has a channel holds its namespace's VMs; the rest is forgotten with its last VM.
        let is_used = |_: &String, namespace: &mut Namespace| {
            namespace.count > 0 || Arc::strong_count(&namespace.vms) > 1
        };
        self.by_namespace.retain(is_used);
        self.by_namespace.entry(namespace.to_owned()).or_default()
    }

    fn set(&mut self, uid: &str, asked: &wire::Vm, terms: Terms, ledger: &Arc<Ledger>) {
        let deadline_ms = asked.fence_deadline_boottime_ms;
        if let Some(entry) = self.by_uid.get_mut(uid) {
            entry.deadline_ms = deadline_ms;
            entry.vm.set_terms(terms);
            return;
        }
        let writer = ledger.of(Identity::new(&asked.namespace, &asked.name, uid));
        let vm = Vm::observed(terms, writer);
        let namespace = self.of(&asked.namespace);
        namespace.count += 1;
        namespace.vms.insert(uid, vm.clone());
        let entry = Entry {
            namespace: asked.namespace.clone(),
            vm,
            deadline_ms,
        };
        self.by_uid.insert(uid.to_owned(), entry);
    }

    fn close(&mut self, uid: &str) {
        if let Some(entry) = self.by_uid.get_mut(uid) {
            entry.deadline_ms = None;
            entry.vm.set_terms(Terms::default());
        }
    }
}

#[cfg(test)]
mod tests {
    use agentvm_policy::egress::RuleText;

    use super::*;

    fn asked(namespace: &str, host: &str) -> wire::Vm {
        wire::Vm {
            namespace: namespace.into(),
            name: "crane".into(),
            rules: vec![wire::Rule {
                allow: RuleText::new(host, &["GET"], &["*"]),
                inject: Vec::new(),
            }],
            networks: Vec::new(),
            limits: wire::Limits {
                connections: 3,
                egress_bytes: 4,
                egress_bytes_per_second: 5,
            },
            fence_deadline_boottime_ms: None,
        }
    }

    fn namespaces() -> Namespaces {
        let namespaces = Namespaces::default();
        namespaces.set_node(wire::Node::default());
        namespaces
    }

    fn rules(namespaces: &Namespaces, namespace: &str, uid: &str) -> Option<usize> {
        let vm = namespaces.of(namespace).get(uid)?;
        Some(vm.terms().rules.all().len())
    }

    #[test]
    fn nothing_is_allowed_before_the_nodes_addresses_are_closed() {
        let namespaces = Namespaces::default();
        let refused = namespaces.put("u", &asked("heron", "example.com"));
        assert_eq!(refused, Err(Refused::NodeUnknown));
        assert_eq!(rules(&namespaces, "heron", "u"), None);
    }

    #[test]
    fn a_uid_belongs_to_the_namespace_that_had_it_first() {
        let namespaces = namespaces();
        namespaces.put("u", &asked("heron", "example.com")).unwrap();
        let stolen = namespaces.put("u", &asked("egret", "example.com"));
        assert!(matches!(stolen, Err(Refused::Foreign { .. })), "{stolen:?}");
        assert_eq!(rules(&namespaces, "egret", "u"), None);
        assert_eq!(rules(&namespaces, "heron", "u"), Some(1));
    }

    #[test]
    fn rules_that_cant_be_read_take_away_those_that_could() {
        let namespaces = namespaces();
        namespaces.put("u", &asked("heron", "example.com")).unwrap();
        let bad = namespaces.put("u", &asked("heron", "a..b"));
        assert!(matches!(bad, Err(Refused::Bad(_))), "{bad:?}");
        assert_eq!(rules(&namespaces, "heron", "u"), Some(0));
        let first = namespaces.put("v", &asked("heron", "a..b"));
        assert!(matches!(first, Err(Refused::Bad(_))), "{first:?}");
        assert_eq!(rules(&namespaces, "heron", "v"), None);
    }

    #[test]
    fn addresses_that_the_node_learns_of_are_closed_for_those_that_run() {
        let namespaces = namespaces();
        namespaces.put("u", &asked("heron", "example.com")).unwrap();
        let cluster = vec!["198.51.100.0/24".parse().unwrap()];
        namespaces.set_node(wire::Node {
            cluster: cluster.clone(),
            own: Vec::new(),
        });
        let terms = namespaces.of("heron").get("u").unwrap().terms();
        assert_eq!(terms.addresses.cluster, cluster);
        assert_eq!(terms.rules.all().len(), 1);
    }

    #[test]
    fn a_deadline_closes_its_vm_once_and_a_later_put_opens_it() {
        let namespaces = namespaces();
        let mut fenced = asked("heron", "example.com");
        fenced.fence_deadline_boottime_ms = Some(1000);
        namespaces.put("u", &fenced).unwrap();
        assert_eq!(namespaces.fence(999), (Vec::new(), Some(1000)));
        assert_eq!(rules(&namespaces, "heron", "u"), Some(1));
        assert_eq!(namespaces.fence(1000), (vec!["u".to_owned()], None));
        assert_eq!(rules(&namespaces, "heron", "u"), Some(0));
        fenced.fence_deadline_boottime_ms = Some(2000);
        namespaces.put("u", &fenced).unwrap();
        assert_eq!(rules(&namespaces, "heron", "u"), Some(1));
    }

    #[test]
    fn a_vm_that_is_gone_leaves_nothing_behind() {
        let namespaces = namespaces();
        namespaces.put("u", &asked("heron", "example.com")).unwrap();
        assert!(namespaces.remove("u").is_some());
        assert!(namespaces.remove("u").is_none());
        assert_eq!(rules(&namespaces, "heron", "u"), None);
        assert!(namespaces.all().is_empty());
        for number in 0..100 {
            namespaces.of(&format!("n{number}"));
        }
        assert_eq!(namespaces.lock().by_namespace.len(), 1);
    }
}
