//! Answers wasmtime's question whether a guest may have more memory, tables or instances.

use std::sync::Arc;

use wasmtime::ResourceLimiter;

use crate::budget::Budget;
use crate::guards::{Guard, is_on};

/// What one element of a table costs the host.
const TABLE_ELEMENT_BYTES: u64 = agentvm_policy::budget::TABLE_ELEMENT_BYTES.value;
/// Core instances in one VM.
const MAX_INSTANCES: usize = agentvm_policy::budget::INSTANCES.usize();
const MAX_TABLES: usize = agentvm_policy::budget::TABLES.usize();
const MAX_MEMORIES: usize = agentvm_policy::budget::MEMORIES.usize();

/// Charges linear memories and tables to one limit in bytes.
#[derive(Debug)]
pub(crate) struct Limiter {
    budget: Arc<Budget>,
    /// The charge that a failing growth has to give back.
    last_charge: u64,
}

impl Limiter {
    pub(crate) fn new(budget: Arc<Budget>) -> Self {
        Self {
            budget,
            last_charge: 0,
        }
    }

    fn charge(&mut self, units: usize, bytes_each: u64) -> bool {
        let bytes = u64::try_from(units)
            .unwrap_or(u64::MAX)
            .saturating_mul(bytes_each);
        let taken = self.budget.memory.take(bytes);
        self.last_charge = if taken { bytes } else { 0 };
        taken
    }

    fn undo(&mut self) {
        self.budget
            .memory
            .give_back(std::mem::take(&mut self.last_charge));
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.last_charge = 0;
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false); // the module's own maximum, or the slot's
        }
        Ok(!is_on(Guard::MemoryCharge) || self.charge(desired.saturating_sub(current), 1))
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.undo();
        Ok(())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.last_charge = 0;
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        Ok(!is_on(Guard::TableCharge)
            || self.charge(desired.saturating_sub(current), TABLE_ELEMENT_BYTES))
    }

    fn table_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.undo();
        Ok(())
    }

    fn instances(&self) -> usize {
        MAX_INSTANCES
    }

    fn tables(&self) -> usize {
        MAX_TABLES
    }

    fn memories(&self) -> usize {
        MAX_MEMORIES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limiter(limit_bytes: u64) -> (Limiter, Arc<Budget>) {
        let budget = Arc::new(Budget::new(1, limit_bytes, 0));
        (Limiter::new(Arc::clone(&budget)), budget)
    }

    #[test]
    fn memory_and_tables_share_one_limit() {
        let (mut limiter, budget) = limiter(128 << 10);
        assert!(limiter.memory_growing(0, 64 << 10, None).unwrap());
        assert!(limiter.table_growing(0, 8 << 10, None).unwrap());
        assert!(!limiter.table_growing(8 << 10, (8 << 10) + 1, None).unwrap());
        assert!(!limiter.memory_growing(64 << 10, 128 << 10, None).unwrap());
        assert_eq!(budget.usage().memory_bytes, 128 << 10);
    }

    #[test]
    fn a_growth_that_fails_later_gives_its_charge_back() {
        let (mut limiter, budget) = limiter(1 << 20);
        assert!(limiter.memory_growing(0, 64 << 10, None).unwrap());
        assert!(limiter.memory_growing(64 << 10, 128 << 10, None).unwrap());
        limiter
            .memory_grow_failed(wasmtime::Error::msg("no memory"))
            .unwrap();
        assert_eq!(budget.usage().memory_bytes, 64 << 10);
    }

    #[test]
    fn the_modules_own_maximum_is_no_refusal_of_ours() {
        let (mut limiter, budget) = limiter(1 << 20);
        assert!(
            !limiter
                .memory_growing(0, 128 << 10, Some(64 << 10))
                .unwrap()
        );
        assert!(!budget.memory.was_refused());
    }
}
