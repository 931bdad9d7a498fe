//! Requests of guests to hosts outside: over one channel to the gateway, which decides on them.
//!
//! | part | does |
//! | --- | --- |
//! | `channel` | keeps the one HTTP/2 connection, and makes a new one where it broke |
//! | `exchange` | one request of one VM and its answer |
//! | `headers` | what leaves the cell, and what an answer of the gateway's own means |
//! | `body` | bodies both ways: counted, paid for, given up together |
//! | `room` | how many requests are in flight, of a VM and of all |
//! | `tariff` | what a VM pays for them |
//!
//! Nothing here decides what is allowed. The gateway knows the namespace by the channel, so that a
//! cell speaks for the VMs of its own namespace alone, whatever it sends.

mod body;
mod channel;
mod exchange;
mod headers;
mod room;
mod tariff;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use agentvm_policy::{Grants, Limits};
use agentvm_runtime::Egress;
use http::HeaderValue;

use super::link::Link;
use channel::Channel;
use exchange::Exchanges;
use room::Room;

/// The way out of all VMs of a cell.
#[derive(Debug)]
pub(super) struct Network {
    channel: Channel,
    room: Arc<Room>,
}

impl Network {
    /// Opens nothing yet. To be called where control tasks run: the channel is driven there.
    pub(super) fn new(link: Link) -> Self {
        Self {
            channel: Channel::new(link),
            room: Arc::default(),
        }
    }

    /// The way out of one VM; `None` where it has none.
    pub(super) fn open(&self, uid: &str, grants: &Grants) -> Option<VmNetwork> {
        let vm = HeaderValue::from_str(uid).ok();
        let vm = vm.filter(|_named| grants.network)?;
        let exchanges = Exchanges::new(vm, self.channel.clone(), &self.room, &grants.limits);
        Some(VmNetwork(Arc::new(exchanges)))
    }
}

/// The way out of one VM.
#[derive(Clone, Debug)]
pub(super) struct VmNetwork(Arc<Exchanges>);

impl VmNetwork {
    /// What the runtime sends the guest's requests by.
    pub(super) fn egress(&self) -> Arc<dyn Egress> {
        self.0.clone()
    }

    /// Has `charge` book what requests cost from now on.
    pub(super) fn charge_to(&self, charge: impl Fn(Duration) + Send + Sync + 'static) {
        self.0.charge_to(charge);
    }

    /// Applies `limits` from now on; requests in flight go on.
    pub(super) fn set_limits(&self, limits: &Limits) {
        self.0.set_limits(limits);
    }

    /// The VM has ended: so do its requests, whoever still holds a part of one.
    pub(super) fn end(&self) {
        self.0.end();
    }
}
