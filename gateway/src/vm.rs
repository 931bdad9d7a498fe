//! The VMs of one channel: what each may reach, and what it has used.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use agentvm_policy::egress::{AddressRules, Permit, Request, Rules};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::inject::Injection;
use crate::limits::Limits;
use crate::refusal::Refusal;
use agentvm_policy::egress::Code;

/// What one VM may do. `Terms::default()` allows nothing.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// Which requests are allowed.
    pub rules: Rules,
    /// The headers that each rule adds, by its position.
    pub injections: BTreeMap<usize, Vec<Injection>>,
    /// Which addresses its requests may go to.
    pub addresses: AddressRules,
    /// How much, and how long.
    pub limits: Limits,
}

impl Terms {
    /// Permits a request and says what is added to it.
    pub fn permit(&self, request: Request) -> Result<(Permit, &[Injection]), Refusal> {
        let permit = self.rules.permit(request).map_err(Refusal::Denied)?;
        let added = self.injections.get(&permit.rule());
        Ok((permit, added.map(Vec::as_slice).unwrap_or_default()))
    }
}

/// One VM.
#[derive(Debug)]
pub struct Vm {
    terms_tx: watch::Sender<Arc<Terms>>,
    slots: Arc<Semaphore>,
    sent_bytes: AtomicU64,
}

impl Vm {
    /// A VM under `terms`. The number of requests in flight is that of its first terms.
    pub fn new(terms: Terms) -> Arc<Self> {
        let slots = Arc::new(Semaphore::new(terms.limits.requests));
        Arc::new(Self {
            terms_tx: watch::Sender::new(Arc::new(terms)),
            slots,
            sent_bytes: AtomicU64::new(0),
        })
    }

    /// Puts `terms` in the place of the old ones: for new requests at once, and for those in
    /// flight, which end where they are no longer allowed.
    pub fn set_terms(&self, terms: Terms) {
        self.terms_tx.send_replace(Arc::new(terms));
    }

    /// The terms that hold now.
    pub fn terms(&self) -> Arc<Terms> {
        self.terms_tx.borrow().clone()
    }

    /// Takes one of the requests that may be in flight.
    pub(crate) async fn slot(&self) -> Result<OwnedSemaphorePermit, Code> {
        let slots = self.slots.clone();
        slots
            .acquire_owned()
            .await
            .map_err(|_never_closed| Code::ConnectionLimit)
    }

    /// Resolves when `request` is no longer allowed.
    pub(crate) async fn is_cut(self: Arc<Self>, request: Request) {
        let mut terms_rx = self.terms_tx.subscribe();
        loop {
            let allowed = terms_rx.borrow_and_update().permit(request.clone()).is_ok();
            if !allowed || terms_rx.changed().await.is_err() {
                return;
            }
        }
    }

    /// Counts bytes of a request's body; false where they are more than the VM may send in all.
    pub(crate) fn send(&self, bytes: u64) -> bool {
        let most = self.terms().limits.egress_bytes;
        let more = |sent: u64| sent.checked_add(bytes).filter(|sent| *sent <= most);
        self.sent_bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .is_ok()
    }

    /// Bytes of bodies sent so far.
    pub fn sent_bytes(&self) -> u64 {
        self.sent_bytes.load(Ordering::Relaxed)
    }
}

/// The VMs of one namespace, by UID.
#[derive(Debug, Default)]
pub struct Vms(RwLock<BTreeMap<String, Arc<Vm>>>);

impl Vms {
    /// Adds a VM, or puts it in the place of the one that had the UID.
    pub fn insert(&self, uid: &str, vm: Arc<Vm>) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        all.insert(uid.to_owned(), vm);
    }

    /// Forgets a VM; its requests in flight end.
    pub fn remove(&self, uid: &str) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(vm) = all.remove(uid) {
            vm.set_terms(Terms::default());
        }
    }

    /// The VM of this UID.
    pub fn get(&self, uid: &str) -> Option<Arc<Vm>> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        all.get(uid).cloned()
    }
}
