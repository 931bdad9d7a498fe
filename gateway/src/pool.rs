//! Connections of one VM that are open and idle.
//!
//! A pool belongs to one VM, so that no two VMs ever share a connection. A connection is used again
//! for the origin and the rule that it was made for alone, and only while its address is one of
//! those that were admitted for the request at hand. New terms empty the pool.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agentvm_policy::budget;
use agentvm_policy::egress::{Admitted, Host, Permit, Scheme};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::connection::Connection;
use crate::guards::{Guard, is_on};

/// What a connection is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Purpose {
    scheme: Scheme,
    host: Host,
    port: u16,
    rule: usize,
    /// Of which terms of the VM.
    epoch: u64,
}

impl Purpose {
    pub(crate) fn new(permit: &Permit, epoch: u64) -> Self {
        let request = permit.request();
        Self {
            scheme: request.scheme,
            host: request.host.clone(),
            port: request.port,
            rule: permit.rule(),
            epoch,
        }
    }
}

/// How many connections all VMs together have idle.
#[derive(Clone, Debug)]
pub(crate) struct Room(Arc<Semaphore>);

impl Default for Room {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(budget::IDLE_CONNECTIONS.usize())))
    }
}

#[derive(Debug)]
struct Idle {
    purpose: Purpose,
    connection: Connection,
    until: Instant,
    _room: OwnedSemaphorePermit,
}

/// The idle connections of one VM.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    idle: Mutex<VecDeque<Idle>>,
    epoch: AtomicU64,
}

impl Pool {
    fn idle(&self) -> MutexGuard<'_, VecDeque<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of the VM's terms. Whoever reads it before the terms themselves gets no
    /// connection of older ones.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Closes all, and keeps none that is in use now.
    pub(crate) fn renew(&self) {
        let mut idle = self.idle();
        if is_on(Guard::RenewPool) {
            self.epoch.fetch_add(1, Ordering::AcqRel);
            idle.clear();
        }
    }

    /// A connection for `purpose` to one of `addresses`, the one that was used last.
    pub(crate) fn take(&self, purpose: &Purpose, addresses: &[Admitted]) -> Option<Connection> {
        let mut idle = self.idle();
        idle.retain(|idle| !idle.connection.sender.is_closed());
        let fits = |idle: &Idle| {
            let address = idle.connection.address();
            let is_admitted = addresses.iter().any(|one| one.address() == address);
            idle.purpose == *purpose
                && (is_admitted || !is_on(Guard::AddressOfReused))
                && idle.connection.sender.is_ready()
        };
        let at = idle.iter().rposition(fits)?;
        idle.remove(at).map(|idle| idle.connection)
    }

    /// Keeps a connection whose last answer was read to its end. Where there is no room it is
    /// closed.
    pub(crate) fn keep(&self, purpose: Purpose, connection: Connection, room: &Room, now: Instant) {
        let mut idle = self.idle();
        if purpose.epoch != self.epoch() {
            return;
        }
        while idle.len() >= budget::IDLE_CONNECTIONS_OF_A_VM.usize() {
            idle.pop_front();
        }
        if let Ok(room) = room.0.clone().try_acquire_owned() {
            idle.push_back(Idle {
                purpose,
                connection,
                until: now + budget::IDLE_CONNECTION.duration(),
                _room: room,
            });
        }
    }

    /// Closes those that have been idle for too long; true where none is left.
    pub(crate) fn expire(&self, now: Instant) -> bool {
        let mut idle = self.idle();
        idle.retain(|idle| idle.until > now && !idle.connection.sender.is_closed());
        idle.is_empty()
    }
}
