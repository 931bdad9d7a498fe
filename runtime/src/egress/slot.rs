//! The place of one exchange: counted, and charged for what the host holds of it.

use std::sync::Arc;

use agentvm_policy::egress::Code;

use crate::budget::Budget;

/// What the host holds of one exchange at most: headers both ways, and pieces of its bodies.
const HELD_BYTES: u64 = agentvm_policy::budget::EXCHANGE_BYTES.value;

/// An exchange that a guest holds. Its place and memory are free again when the guest has given
/// up all of it.
#[derive(Debug)]
pub(crate) struct Held(Arc<Budget>);

impl Held {
    /// Takes a place.
    ///
    /// # Errors
    ///
    /// [`Code::ConnectionLimit`] where the VM has too many requests in flight, or its memory does
    /// not hold one more.
    pub(crate) fn take(budget: &Arc<Budget>) -> Result<Self, Code> {
        if !budget.exchanges.hold() {
            return Err(Code::ConnectionLimit);
        }
        if !budget.memory.take_host(HELD_BYTES) {
            budget.exchanges.let_go();
            return Err(Code::ConnectionLimit);
        }
        Ok(Self(Arc::clone(budget)))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.memory.give_host_back(HELD_BYTES);
        self.0.exchanges.let_go();
    }
}

/// An exchange that the host carries. Whatever belongs to it there shares this, so that those that
/// were given up and are not gone yet are bounded as well.
#[derive(Debug)]
pub(super) struct Carried(Arc<Budget>);

impl Carried {
    /// Takes a place, once one is free.
    pub(super) async fn take(budget: &Arc<Budget>) -> Arc<Self> {
        budget.exchanges.carry().await;
        Arc::new(Self(Arc::clone(budget)))
    }
}

impl Drop for Carried {
    fn drop(&mut self) {
        self.0.exchanges.put_down();
    }
}
