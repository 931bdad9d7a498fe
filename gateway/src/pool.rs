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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use agentvm_policy::egress::{AddressRules, Request, Rule, RuleText, Rules};
    use tokio::io::DuplexStream;

    use super::*;
    use crate::guards::switch_off;

    const ADDRESS: &str = "93.184.0.1:443";

    fn purpose(epoch: u64) -> Purpose {
        let rule = Rule::parse(&RuleText::new("api.heron.example", &["*"], &["*"])).unwrap();
        let request = Request::of_url("GET", "https://api.heron.example/").unwrap();
        Purpose::new(&Rules::new(vec![rule]).permit(request).unwrap(), epoch)
    }

    fn admitted(address: &str) -> [Admitted; 1] {
        let rules = AddressRules::default();
        [rules.admit(address.parse().unwrap()).unwrap()]
    }

    async fn connection() -> (Connection, DuplexStream) {
        let (ours, theirs) = tokio::io::duplex(1_024);
        let address = ADDRESS.parse().unwrap();
        let mut connection = Connection::over(Box::new(ours), address, 8 << 10)
            .await
            .unwrap();
        connection.sender.ready().await.unwrap();
        (connection, theirs)
    }

    /// A pool with one connection, and what keeps its other end open.
    async fn pool() -> (Pool, DuplexStream) {
        let pool = Pool::default();
        let (connection, theirs) = connection().await;
        pool.keep(purpose(0), connection, &Room::default(), Instant::now());
        (pool, theirs)
    }

    #[tokio::test]
    async fn f06_a_connection_is_taken_for_an_address_that_was_admitted_and_for_no_other() {
        let (pool, _open) = pool().await;
        let other = admitted("93.184.0.2:443");
        assert!(pool.take(&purpose(0), &other).is_none());
        assert!(pool.take(&purpose(0), &[]).is_none());
        let without = switch_off(Guard::AddressOfReused, || pool.take(&purpose(0), &other));
        let Some(again) = without else {
            panic!("the guard is what held it back");
        };
        pool.keep(purpose(0), again, &Room::default(), Instant::now());
        assert!(pool.take(&purpose(0), &admitted(ADDRESS)).is_some());
        assert!(pool.take(&purpose(0), &admitted(ADDRESS)).is_none());
    }

    #[tokio::test]
    async fn f24_h12_new_terms_leave_no_connection_of_the_old_ones() {
        let (pool, _open) = pool().await;
        let address = admitted(ADDRESS);
        let in_use = pool.take(&purpose(0), &address).unwrap();
        pool.renew();
        pool.keep(purpose(0), in_use, &Room::default(), Instant::now());
        assert!(pool.take(&purpose(0), &address).is_none());
        assert!(pool.take(&purpose(1), &address).is_none());
        let (other, _open) = connection().await;
        pool.keep(purpose(1), other, &Room::default(), Instant::now());
        switch_off(Guard::RenewPool, || pool.renew());
        assert!(pool.take(&purpose(1), &address).is_some());
    }

    #[tokio::test]
    async fn f27_there_is_room_for_so_many_and_for_so_long() {
        let (pool, room, now) = (Pool::default(), Room::default(), Instant::now());
        let mut open = Vec::new();
        for _ in 0..=budget::IDLE_CONNECTIONS_OF_A_VM.usize() {
            let (connection, theirs) = connection().await;
            pool.keep(purpose(0), connection, &room, now);
            open.push(theirs);
        }
        let kept = budget::IDLE_CONNECTIONS_OF_A_VM.usize();
        let left = || room.0.available_permits();
        assert_eq!(left(), budget::IDLE_CONNECTIONS.usize() - kept);
        assert!(!pool.expire(now + Duration::from_secs(1)));
        assert!(pool.expire(now + budget::IDLE_CONNECTION.duration()));
        assert_eq!(left(), budget::IDLE_CONNECTIONS.usize());
        let full = Room(Arc::new(Semaphore::new(0)));
        let (connection, _theirs) = connection().await;
        pool.keep(purpose(0), connection, &full, now);
        assert!(pool.take(&purpose(0), &admitted(ADDRESS)).is_none());
    }

    #[tokio::test]
    async fn a_connection_that_its_host_closed_is_not_taken() {
        let (pool, open) = pool().await;
        drop(open);
        while !pool.expire(Instant::now()) {
            tokio::task::yield_now().await;
        }
        assert!(pool.take(&purpose(0), &admitted(ADDRESS)).is_none());
    }
}
