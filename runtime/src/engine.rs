//! The wasmtime engine: which proposals it accepts, how it meters, how its pool is sized.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::num::NonZeroUsize;
use std::sync::Arc;

use agentvm_policy::budget;
use sha2::{Digest, Sha256};
use wasmtime::{
    Config, Enabled, InstanceAllocationStrategy, OperatorCost, OptLevel, PoolingAllocationConfig,
    WasmBacktraceDetails, component,
};

use crate::guards::{Guard, is_on};
use crate::host::Host;
use crate::{bulk, preview1, preview2, proposals};

/// The most bytes that one linear memory can have: the size of a pool slot.
pub(crate) const MAX_MEMORY_BYTES: usize = budget::LINEAR_MEMORY_BYTES.usize();
/// The most elements that one table can have.
pub(crate) const MAX_TABLE_ELEMENTS: usize = budget::TABLE_ELEMENTS.usize();
/// Core instances in one component; a Python component has 14.
const CORE_INSTANCES_PER_VM: u32 = budget::INSTANCES.u32();
const MEMORIES_PER_VM: u32 = budget::MEMORIES.u32();
const TABLES_PER_VM: u32 = budget::TABLES.u32();
/// What a frame of pages costs in fuel when memory grows, for each page of 64 KiB.
const FUEL_PER_GROWN_PAGE: u8 = budget::GROWN_PAGE_FUEL.u8();
/// What an instruction costs for which the host is called, whatever its length.
const FUEL_PER_BULK: u8 = budget::BULK_FUEL.u8();
/// The most bytes that an instruction works on before a guest pays and can be stopped.
const PIECE_BYTES: u32 = budget::PIECE_BYTES.u32();

/// How large an engine is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineSettings {
    /// VMs that can run at once in this process; each reserves about 8 GiB of address
    /// space. 0 is an engine that only compiles and reserves nothing.
    pub slots: u32,
}

/// Why an engine could not be made: the host's fault, and final for this process.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The settings do not fit this machine, or wasmtime does not support it.
    #[error("an engine with {slots} slots can't be made on this machine: {reason}")]
    Config {
        /// The slots asked for.
        slots: u32,
        /// What wasmtime said.
        reason: String,
    },
}

/// A wasmtime engine with the host interfaces of a VM linked. Cloning it is cheap.
#[derive(Clone)]
pub struct Engine {
    pub(crate) wasmtime: wasmtime::Engine,
    pub(crate) linkers: Arc<Linkers>,
    /// The most bytes on which an instruction of what it compiles works in one step.
    pub(crate) piece: u32,
}

/// What core modules and components are linked to.
pub(crate) struct Linkers {
    pub(crate) core: wasmtime::Linker<Host>,
    pub(crate) component: component::Linker<Host>,
}

impl Engine {
    /// Makes an engine. Call it once for each process, before the jail closes
    /// `/proc/self/pagemap`.
    ///
    /// # Errors
    ///
    /// [`EngineError::Config`] where the pool does not fit the address space.
    pub fn new(settings: &EngineSettings) -> Result<Self, EngineError> {
        let failed = |error: wasmtime::Error| EngineError::Config {
            slots: settings.slots,
            reason: format!("{error:#}"),
        };
        let wasmtime = wasmtime::Engine::new(&config(*settings)).map_err(failed)?;
        let linkers = Arc::new(Linkers {
            core: preview1::linker(&wasmtime).map_err(failed)?,
            component: preview2::linker(&wasmtime).map_err(failed)?,
        });
        Ok(Self {
            wasmtime,
            linkers,
            piece: PIECE_BYTES,
        })
    }

    /// The same engine, which compiles so that instructions work on at most `bytes` of memory in
    /// one step. For tests of that: no other has a reason to choose another number than the
    /// budget's.
    #[must_use]
    pub fn in_pieces_of(self, bytes: u32) -> Self {
        Self {
            piece: bytes.max(1),
            ..self
        }
    }

    /// The hash of everything that compiled code depends on, in lower-case hex: the same
    /// for any number of slots, another for another wasmtime, processor, setting or rewriting.
    pub fn hash(&self) -> String {
        let mut hasher = Sha256Hasher(Sha256::new());
        (bulk::REVISION, self.piece).hash(&mut hasher);
        self.wasmtime
            .precompile_compatibility_hash()
            .hash(&mut hasher);
        hasher
            .0
            .finalize()
            .iter()
            .fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").finish_non_exhaustive()
    }
}

/// Feeds what is hashed into SHA-256.
struct Sha256Hasher(Sha256);

impl Hasher for Sha256Hasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        0 // never asked for: the whole digest is
    }
}

/// An engine that loads the same code as any other and sets no limits by slots.
pub(crate) fn without_pool() -> wasmtime::Result<wasmtime::Engine> {
    wasmtime::Engine::new(&config(EngineSettings { slots: 0 }))
}

fn config(settings: EngineSettings) -> Config {
    let mut config = Config::new();
    proposals::accept(&mut config);
    meter(&mut config);
    isolate(&mut config);
    if settings.slots > 0 {
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(settings.slots)));
    }
    config
}

fn meter(config: &mut Config) {
    let mut cost = OperatorCost::default();
    cost.variable.memory_grow_per_page = FUEL_PER_GROWN_PAGE;
    for instruction in [
        &mut cost.MemoryFill,
        &mut cost.MemoryCopy,
        &mut cost.MemoryInit,
        &mut cost.TableInit,
        &mut cost.RefFunc,
    ] {
        *instruction = FUEL_PER_BULK;
    }
    if !is_on(Guard::BulkCost) {
        cost.variable.memory_copy_per_byte = 0;
        cost.variable.memory_fill_per_byte = 0;
    }
    config
        .consume_fuel(true)
        .epoch_interruption(false)
        .operator_cost(cost);
}

fn isolate(config: &mut Config) {
    config
        .memory_reservation(4 << 30)
        .memory_guard_size(32 << 20)
        .guard_before_linear_memory(true)
        .signals_based_traps(true)
        .memory_may_move(false)
        .memory_init_cow(true)
        .async_stack_zeroing(true)
        .max_wasm_stack(budget::WASM_STACK_BYTES.usize())
        .async_stack_size(budget::HOST_STACK_BYTES.usize())
        .wasm_backtrace_max_frames(NonZeroUsize::new(budget::TRAP_FRAMES.usize()))
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        .debug_info(false)
        .native_unwind_info(false)
        .cranelift_opt_level(OptLevel::Speed)
        .parallel_compilation(false);
}

/// Every counter is multiplied by what one VM may have, so that no VM can take the slot
/// of another: the sum of `slots` VMs of any shape always fits.
fn pool(slots: u32) -> PoolingAllocationConfig {
    let times = if is_on(Guard::InstanceBound) { 1 } else { 4 };
    let [instances, memories, tables] =
        [CORE_INSTANCES_PER_VM, MEMORIES_PER_VM, TABLES_PER_VM].map(|bound| bound * times);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        .total_core_instances(slots.saturating_mul(instances))
        .total_memories(slots.saturating_mul(memories))
        .total_tables(slots.saturating_mul(tables))
        .total_stacks(slots)
        .max_core_instances_per_component(instances)
        .max_memories_per_component(memories)
        .max_memories_per_module(memories)
        .max_tables_per_component(tables)
        .max_tables_per_module(tables)
        .max_core_instance_size(budget::INSTANCE_BYTES.usize())
        .max_component_instance_size(budget::INSTANCE_BYTES.usize())
        .max_memory_size(MAX_MEMORY_BYTES)
        .table_elements(MAX_TABLE_ELEMENTS)
        .max_unused_warm_slots(64)
        // At once: a batch that is not full keeps the memory of VMs that have ended for good.
        .decommit_batch_size(1)
        .linear_memory_keep_resident(128 << 10)
        .table_keep_resident(16 << 10)
        .async_stack_keep_resident(16 << 10)
        .pagemap_scan(Enabled::Auto);
    pool
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_that_compile_and_engines_that_run_share_one_hash() {
        let compiles = Engine::new(&EngineSettings { slots: 0 }).unwrap();
        let runs = Engine::new(&EngineSettings { slots: 7 }).unwrap();
        assert_eq!(compiles.hash(), runs.hash());
        assert_eq!(runs.hash().len(), 64);
    }

    #[test]
    fn another_setting_makes_another_hash() {
        let engine = Engine::new(&EngineSettings { slots: 0 }).unwrap();
        let mut other = config(EngineSettings { slots: 0 });
        other.cranelift_opt_level(OptLevel::None);
        let wasmtime = wasmtime::Engine::new(&other).unwrap();
        let other = Engine {
            wasmtime,
            linkers: Arc::clone(&engine.linkers),
            piece: engine.piece,
        };
        assert_ne!(engine.hash(), other.hash());
    }

    #[test]
    fn another_length_of_pieces_makes_another_hash() {
        let engine = Engine::new(&EngineSettings { slots: 0 }).unwrap();
        let hash = engine.hash();
        assert_ne!(hash, engine.in_pieces_of(64).hash());
    }
}
