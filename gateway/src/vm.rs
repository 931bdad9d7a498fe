//! One VM: what it may reach, what it has in flight, and what it has used.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::time::Duration;

use agentvm_cell_api::gateway::Usage;
use agentvm_policy::budget;
use agentvm_policy::egress::{AddressRules, Permit, Request, Rules};
use tokio::time::{Instant, sleep_until};

use crate::body::Lease;
use crate::exchange::Exchange;
use crate::inject::Injection;
use crate::limits::Limits;
use crate::outcome::{Observe, Outcome};
use crate::pool::Pool;
use crate::rate::Rate;
use crate::refusal::Refusal;
use crate::slots::{Slot, Slots};
use crate::used::Used;
use agentvm_policy::egress::Code;

/// What one VM may do. `Terms::default()` allows nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
    terms: RwLock<Arc<Terms>>,
    slots: Arc<Slots>,
    rate: Rate,
    used: Used,
    pool: Pool,
    live: Mutex<Live>,
    observer: Option<Arc<dyn Observe>>,
}

/// Requests in flight.
#[derive(Debug, Default)]
struct Live {
    next: u64,
    all: BTreeMap<u64, Weak<Exchange>>,
    /// A task looks after deadlines.
    is_swept: bool,
}

impl Vm {
    /// A VM under `terms`.
    pub fn new(terms: Terms) -> Arc<Self> {
        Arc::new(Self::of(terms, None))
    }

    /// A VM under `terms`; `observer` is told of each of its requests.
    pub fn observed(terms: Terms, observer: Arc<dyn Observe>) -> Arc<Self> {
        Arc::new(Self::of(terms, Some(observer)))
    }

    fn of(terms: Terms, observer: Option<Arc<dyn Observe>>) -> Self {
        Self {
            slots: Slots::new(terms.limits.in_flight()),
            terms: RwLock::new(Arc::new(terms)),
            rate: Rate::new(Instant::now()),
            used: Used::default(),
            pool: Pool::default(),
            live: Mutex::default(),
            observer,
        }
    }

    /// Puts `terms` in the place of the old ones: for new requests at once, and for those in
    /// flight, which end where they are no longer allowed. Where anything has changed, no
    /// connection of the old terms is used again.
    pub fn set_terms(&self, terms: Terms) {
        let terms = Arc::new(terms);
        let mut held = self.terms.write().unwrap_or_else(PoisonError::into_inner);
        if **held == *terms {
            return;
        }
        *held = terms.clone();
        self.pool.renew();
        self.slots.resize(terms.limits.in_flight());
        drop(held);
        for exchange in self.in_flight() {
            exchange.judge(&terms);
        }
    }

    /// The terms that hold now.
    pub fn terms(&self) -> Arc<Terms> {
        let held = self.terms.read().unwrap_or_else(PoisonError::into_inner);
        held.clone()
    }

    /// What it has used so far.
    pub fn usage(&self) -> Usage {
        let in_flight = self.live().all.len();
        self.used
            .usage(u64::try_from(in_flight).unwrap_or(u64::MAX))
    }

    /// Bytes of bodies sent so far.
    pub fn sent_bytes(&self) -> u64 {
        self.used.sent_bytes()
    }

    /// Takes one of the requests that may be in flight.
    pub(crate) async fn slot(&self) -> Result<Slot, Code> {
        self.slots.take().await
    }

    /// Its idle connections.
    pub(crate) const fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Keeps a connection for a later request.
    pub(crate) fn keep(&self, lease: Lease) {
        let Lease {
            connection,
            purpose,
            room,
        } = lease;
        self.pool.keep(purpose, connection, &room, Instant::now());
    }

    /// Counts bytes of a request's body; false where they are more than the VM may send in all.
    pub(crate) fn send(&self, bytes: u64) -> bool {
        self.used.send(bytes, self.terms().limits.egress_bytes)
    }

    /// Counts bytes of an answer's body.
    pub(crate) fn receive(&self, bytes: u64) {
        self.used.receive(bytes);
    }

    /// Counts a wait for its rate.
    pub(crate) fn throttle(&self, time: Duration) {
        self.used.throttle(time);
    }

    /// Takes bytes of a body, whichever way, out of its rate.
    pub(crate) fn take(&self, bytes: u64, now: Instant) {
        let per_second = self.terms().limits.egress_bytes_per_second;
        self.rate.take(bytes, per_second, now);
    }

    /// Until when its bodies wait.
    pub(crate) fn waits_until(&self, now: Instant) -> Option<Instant> {
        self.rate.waits_until(now)
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn in_flight(&self) -> Vec<Arc<Exchange>> {
        let live = self.live();
        live.all.values().filter_map(Weak::upgrade).collect()
    }

    /// Adds a request, which `make` makes of its number, to those in flight.
    pub(crate) fn enlist(
        self: &Arc<Self>,
        make: impl FnOnce(u64) -> Arc<Exchange>,
    ) -> Arc<Exchange> {
        let mut live = self.live();
        let number = live.next;
        live.next += 1;
        let exchange = make(number);
        live.all.insert(number, Arc::downgrade(&exchange));
        if !std::mem::replace(&mut live.is_swept, true) {
            tokio::spawn(look_after(Arc::downgrade(self)));
        }
        exchange
    }

    /// Takes a request that has ended out of them, counts it and tells of it.
    pub(crate) fn discharge(&self, number: u64, outcome: Outcome) {
        self.live().all.remove(&number);
        self.used.end(&outcome);
        if let Some(observer) = &self.observer {
            observer.ended(outcome);
        }
    }

    /// Ends what is over its time. When to look again; `None` where there is nothing left to end.
    fn sweep(&self, now: Instant) -> Option<Instant> {
        let all = self.in_flight();
        let mut next = now + budget::IDLE_CONNECTION.duration() / 2;
        for exchange in &all {
            if exchange.until() <= now {
                exchange.cut(Code::ResponseTimeout.into());
            } else {
                next = next.min(exchange.until());
            }
        }
        // Those that end here take the lock themselves.
        drop(all);
        let mut live = self.live();
        let is_over = self.pool.expire(now) && live.all.is_empty();
        live.is_swept = !is_over;
        (!is_over).then_some(next)
    }
}

/// Ends requests and idle connections of a VM at their time, for as long as it has any.
async fn look_after(vm: Weak<Vm>) {
    while let Some(next) = vm.upgrade().and_then(|vm| vm.sweep(Instant::now())) {
        sleep_until(next).await;
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
