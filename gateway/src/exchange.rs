//! One request in flight: what it has moved, and how it is cut.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agentvm_policy::egress::{Code, Permit, Request};
use http::StatusCode;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::connection::Connection;
use crate::limits::Limits;
use crate::outcome::Outcome;
use crate::refusal::Refusal;
use crate::slots::Slot;
use crate::vm::{Terms, Vm};

/// One request, from its headers until neither of its bodies is on its way any more.
#[derive(Debug)]
pub(crate) struct Exchange {
    vm: Arc<Vm>,
    limits: Limits,
    number: u64,
    began: Instant,
    until: Instant,
    sent: AtomicU64,
    received: AtomicU64,
    throttled_ns: AtomicU64,
    is_sent: AtomicBool,
    cut: Notify,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    request: Option<Request>,
    rule: Option<usize>,
    status: Option<StatusCode>,
    refusal: Option<Refusal>,
    is_cut: bool,
    slot: Option<Slot>,
    connection: Option<(SocketAddr, AbortHandle)>,
}

impl Exchange {
    /// A request of `vm` has come.
    pub(crate) fn begin(vm: &Arc<Vm>) -> Arc<Self> {
        let (began, limits) = (Instant::now(), vm.terms().limits);
        let until = began + limits.total;
        vm.enlist(|number| {
            Arc::new(Self {
                vm: vm.clone(),
                limits,
                number,
                began,
                until,
                sent: AtomicU64::new(0),
                received: AtomicU64::new(0),
                throttled_ns: AtomicU64::new(0),
                is_sent: AtomicBool::new(false),
                cut: Notify::new(),
                state: Mutex::default(),
            })
        })
    }

    /// Whose it is.
    pub(crate) const fn vm(&self) -> &Arc<Vm> {
        &self.vm
    }

    /// The bounds that held when it began.
    pub(crate) const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// When it has to be over.
    pub(crate) const fn until(&self) -> Instant {
        self.until
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It asks for this. From now on terms that do not allow it cut it.
    pub(crate) fn asks(&self, request: &Request) {
        self.state().request = Some(request.clone());
    }

    /// A rule allows it.
    pub(crate) fn permitted(&self, permit: &Permit) {
        self.state().rule = Some(permit.rule());
    }

    /// It is one of those in flight.
    pub(crate) fn holds(&self, slot: Slot) {
        self.state().slot = Some(slot);
    }

    /// It goes by this connection, which ends if the request is cut.
    pub(crate) fn goes_by(&self, connection: &Connection) {
        let mut state = self.state();
        let ends_by = connection.ends_by();
        if state.is_cut {
            ends_by.abort();
        }
        state.connection = Some((connection.address(), ends_by));
    }

    /// An upstream has answered.
    pub(crate) fn answered(&self, status: StatusCode) {
        self.state().status = Some(status);
    }

    /// Whether something is wrong with it already.
    pub(crate) fn has_failed(&self) -> bool {
        self.state().refusal.is_some()
    }

    /// There is no answer, or not the whole of it. The first reason is the one that is told.
    pub(crate) fn fail(&self, refusal: Refusal) -> Refusal {
        self.state().refusal.get_or_insert(refusal).clone()
    }

    /// Ends it unless `terms` allow it.
    pub(crate) fn judge(&self, terms: &Terms) {
        let (request, address) = {
            let state = self.state();
            let address = state.connection.as_ref().map(|(address, _)| *address);
            (state.request.clone(), address)
        };
        let allowed = request.map_or(Ok(()), |request| terms.permit(request).map(drop));
        let closed = address.and_then(|address| terms.addresses.admit(address).err());
        match (allowed, closed) {
            (Err(refusal), _) => self.cut(refusal),
            (Ok(()), Some(class)) => self.cut(Refusal::Address(class)),
            (Ok(()), None) => {}
        }
    }

    /// Ends it where it stands.
    pub(crate) fn cut(&self, why: Refusal) {
        let mut state = self.state();
        state.is_cut = true;
        state.refusal.get_or_insert(why);
        if let Some((_, connection)) = &state.connection {
            connection.abort();
        }
        self.cut.notify_one();
    }

    /// Resolves when it is cut, with the reason.
    pub(crate) async fn is_cut(&self) -> Refusal {
        self.cut.notified().await;
        self.fail(Code::Internal.into())
    }

    /// Counts bytes that are sent; false where the VM has sent all that it may.
    pub(crate) fn send(&self, bytes: u64) -> bool {
        let may = self.vm.send(bytes);
        if may {
            self.sent.fetch_add(bytes, Ordering::Relaxed);
        }
        may
    }

    /// Counts bytes that came back.
    pub(crate) fn receive(&self, bytes: u64) {
        self.received.fetch_add(bytes, Ordering::Relaxed);
        self.vm.receive(bytes);
    }

    /// Counts a wait for the VM's rate.
    pub(crate) fn throttle(&self, time: Duration) {
        let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.throttled_ns.fetch_add(ns, Ordering::Relaxed);
        self.vm.throttle(time);
    }

    /// The whole of the request is on its way.
    pub(crate) fn set_sent(&self) {
        self.is_sent.store(true, Ordering::Release);
    }

    /// Whether it is.
    pub(crate) fn is_sent(&self) -> bool {
        self.is_sent.load(Ordering::Acquire)
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let state = std::mem::take(&mut *self.state());
        let outcome = Outcome {
            request: state.request,
            rule: state.rule,
            status: state.status,
            refusal: state.refusal,
            sent_bytes: self.sent.load(Ordering::Relaxed),
            received_bytes: self.received.load(Ordering::Relaxed),
            throttled: Duration::from_nanos(self.throttled_ns.load(Ordering::Relaxed)),
            took: self.began.elapsed(),
        };
        self.vm.discharge(self.number, outcome);
    }
}
