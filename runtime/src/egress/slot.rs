//! The place of one exchange: counted, and charged for what the host holds of it.

use std::sync::Arc;

use agentvm_policy::egress::Code;

use crate::budget::Budget;

/// What the host holds of one exchange at most: headers both ways, and pieces of its bodies.
const HELD_BYTES: u64 = agentvm_policy::budget::EXCHANGE_BYTES.value;

/// The place of an exchange. Whatever belongs to the exchange holds it, and it is free again when
/// the last of that is gone.
#[derive(Debug)]
pub(crate) struct Slot(Arc<Budget>);

impl Slot {
    /// Takes a place.
    ///
    /// # Errors
    ///
    /// [`Code::ConnectionLimit`] where the VM has too many requests in flight, or its memory does
    /// not hold one more.
    pub(crate) fn take(budget: &Arc<Budget>) -> Result<Arc<Self>, Code> {
        if !budget.exchanges.take() {
            return Err(Code::ConnectionLimit);
        }
        if !budget.memory.take_host(HELD_BYTES) {
            budget.exchanges.give_back();
            return Err(Code::ConnectionLimit);
        }
        Ok(Arc::new(Self(Arc::clone(budget))))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.memory.give_host_back(HELD_BYTES);
        self.0.exchanges.give_back();
    }
}
