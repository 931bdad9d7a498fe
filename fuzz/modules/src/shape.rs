//! What kinds of modules there are, what each may contain and under which limits it runs.

use agentvm_policy::Limits;
use wasm_smith::{Config, MemoryOffsetChoices};

use crate::numbers::Numbers;
use crate::preview1;

/// What a module is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shape {
    /// Ends by itself, knows no host and has all its sizes declared: what it computes is the same
    /// in every engine.
    Pure,
    /// Goes on for as long as it likes and grows as far as it gets.
    Wild,
    /// Calls the host with arguments that a program would not think of.
    Calls,
    /// A wild one of which some bytes were changed: hardly ever valid.
    Mangled,
}

const PAGE: u64 = 64 << 10;
/// How often the functions and loops of a pure module run, all together.
const TERMINATES_AFTER: u32 = 1_000;

impl Shape {
    /// Every shape.
    pub const ALL: [Self; 4] = [Self::Pure, Self::Wild, Self::Calls, Self::Mangled];

    /// The shape that a number stands for: half of all are pure.
    pub(crate) fn of(number: u8) -> Self {
        match number % 10 {
            0..5 => Self::Pure,
            5..7 => Self::Wild,
            7..9 => Self::Calls,
            _ => Self::Mangled,
        }
    }

    /// How often its functions and loops may run, where it is made to end by itself.
    pub(crate) const fn terminates_after(self) -> Option<u32> {
        match self {
            Self::Pure => Some(TERMINATES_AFTER),
            Self::Wild | Self::Calls | Self::Mangled => None,
        }
    }

    /// The limits that it runs under.
    pub fn limits(self) -> Limits {
        let limits = Limits {
            cpu_millicores: 1_000,
            log_rate_bytes_per_second: 64 << 10,
            ..Limits::default()
        };
        match self {
            // Room for what it declares, so that the host never refuses it what another does not.
            Self::Pure => Limits {
                memory_bytes: 16 << 20,
                fuel: Some(50_000_000),
                timeout_ms: Some(30_000),
                ..limits
            },
            Self::Wild | Self::Mangled => Limits {
                memory_bytes: 4 << 20,
                fuel: Some(3_000_000),
                timeout_ms: Some(30_000),
                ..limits
            },
            // It may sleep: not for long.
            Self::Calls => Limits {
                memory_bytes: 4 << 20,
                fuel: Some(3_000_000),
                timeout_ms: Some(300),
                storage_bytes: 256 << 10,
                inodes: 64,
                open_files: 16,
                ..limits
            },
        }
    }

    /// What it is made of: the proposals that programs may use, and sizes.
    pub(crate) fn config(self, numbers: &mut Numbers) -> Config {
        const HOST: usize = preview1::FUNCTIONS.len();
        let (pure, calls) = (self == Self::Pure, self == Self::Calls);
        let pages = if pure { 4 } else { 256 };
        let simd = numbers.chance(2);
        Config {
            available_imports: calls.then(preview1::importing_all),
            max_imports: if calls { HOST } else { 0 },
            max_exports: 0,
            min_funcs: 1,
            max_funcs: 1 + numbers.below(12) + if calls { HOST } else { 0 },
            max_instructions: numbers.pick(&[20, 100, 300]),
            max_types: 20 + if calls { HOST } else { 0 },
            max_globals: 10,
            min_memories: 1,
            max_memories: numbers.pick(&[1, 2]),
            max_memory32_bytes: pages * PAGE,
            memory_max_size_required: pure,
            max_tables: 4,
            max_table_elements: if pure { 1_000 } else { 60_000 },
            table_max_size_required: pure,
            max_data_segments: 10,
            max_element_segments: 10,
            memory_offset_choices: MemoryOffsetChoices(95, 4, 1),
            canonicalize_nans: pure,
            disallow_traps: numbers.chance(2),
            simd_enabled: simd,
            relaxed_simd_enabled: simd,
            ..proposals()
        }
    }
}

/// The proposals that the runtime accepts, switched on; all others off.
fn proposals() -> Config {
    Config {
        bulk_memory_enabled: true,
        extended_const_enabled: true,
        multi_value_enabled: true,
        reference_types_enabled: true,
        saturating_float_to_int_enabled: true,
        sign_extension_ops_enabled: true,
        tail_call_enabled: true,
        custom_descriptors_enabled: false,
        custom_page_sizes_enabled: false,
        exceptions_enabled: false,
        gc_enabled: false,
        memory64_enabled: false,
        shared_everything_threads_enabled: false,
        threads_enabled: false,
        wide_arithmetic_enabled: false,
        ..Config::default()
    }
}
