//! Everything that the host functions of one VM work on: the data of its store.

use std::sync::Arc;

use agentvm_vfs::{Filesystem, Timestamp};
use rand::rngs::StdRng;
use rand::{SeedableRng, TryRngCore};
use tokio::time::Instant;
use wasmtime::Memory;

use crate::clocks::Clocks;
use crate::egress::Egress;
use crate::guards::{Guard, is_on};
use crate::handle::Shared;
use crate::limiter::Limiter;
use crate::preview1::Descriptors;
use crate::preview2::Preview2;
use crate::stdio::Outputs;
use crate::vm::VmConfig;

/// What an argument counts of a VM's memory besides its bytes.
const STRING_BYTES: u64 = agentvm_policy::budget::STRING_BYTES.value;

/// The state behind one guest's imports.
pub(crate) struct Host {
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) outputs: Outputs,
    pub(crate) clocks: Clocks,
    pub(crate) random: StdRng,
    pub(crate) limiter: Limiter,
    pub(crate) shared: Arc<Shared>,
    /// The fuel after which it lets others run.
    pub(crate) interval: u64,
    /// The fuel that was left when the guest last let others run.
    pub(crate) fuel_at_last_yield: u64,
    /// The fuel it had when it started.
    pub(crate) fuel_granted: u64,
    pub(crate) filesystem: Filesystem,
    /// The most files and directories it may have open at once, besides what it starts with.
    pub(crate) open_files: usize,
    pub(crate) descriptors: Descriptors,
    /// Carries its requests; `None` where it may make none.
    pub(crate) egress: Option<Arc<dyn Egress>>,
    /// The exported memory of a core module, once it was looked up.
    pub(crate) memory: Option<Memory>,
    /// What a component needs besides; a core module never pays for it.
    pub(crate) preview2: Option<Box<Preview2>>,
}

impl Host {
    pub(crate) fn new(config: VmConfig, shared: Arc<Shared>) -> Self {
        let VmConfig {
            args,
            env,
            grants,
            filesystem,
            egress,
            stdout,
            stderr,
        } = config;
        let open_files = usize::try_from(grants.limits.open_files).unwrap_or(usize::MAX);
        let fuel = grants.limits.fuel.filter(|_| is_on(Guard::FuelLimit));
        let fuel = fuel.unwrap_or(u64::MAX);
        Self {
            args,
            env,
            outputs: Outputs { stdout, stderr },
            clocks: Clocks::new(Instant::now(), grants.clock),
            random: fresh_random(),
            limiter: Limiter::new(Arc::clone(&shared.budget)),
            interval: shared.budget.cpu.interval(),
            fuel_at_last_yield: fuel,
            fuel_granted: fuel,
            descriptors: Descriptors::new(&filesystem, open_files, Arc::clone(&shared.budget)),
            filesystem,
            open_files,
            egress: egress.filter(|_| grants.network || !is_on(Guard::NoNetwork)),
            memory: None,
            preview2: None,
            shared,
        }
    }

    /// What its arguments and environment count of its memory.
    pub(crate) fn argument_bytes(&self) -> u64 {
        let variables = self.env.iter().flat_map(|(name, value)| [name, value]);
        let (count, bytes) = size(self.args.iter().chain(variables));
        held_bytes(count, bytes)
    }

    /// What the VM's files take for the time now: its own wall clock, as coarse as that is.
    pub(crate) fn now(&self) -> Timestamp {
        self.clocks.realtime_ns()
    }
}

/// How many `strings` there are, and the bytes of all of them.
pub(crate) fn size<'a>(strings: impl IntoIterator<Item = &'a String>) -> (usize, usize) {
    let add = |(count, bytes): (usize, usize), string: &String| (count + 1, bytes + string.len());
    strings.into_iter().fold((0, 0), add)
}

/// What `count` strings of `bytes` bytes take of the host's memory.
pub(crate) fn held_bytes(count: usize, bytes: usize) -> u64 {
    let count = u64::try_from(count).unwrap_or(u64::MAX);
    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
    count.saturating_mul(STRING_BYTES).saturating_add(bytes)
}

/// A generator of its own for each VM, seeded by the operating system, so that no two
/// VMs ever share a stream.
fn fresh_random() -> StdRng {
    let mut seed = <StdRng as SeedableRng>::Seed::default();
    match rand::rngs::OsRng.try_fill_bytes(&mut seed) {
        Ok(()) => StdRng::from_seed(seed),
        Err(_) => StdRng::from_rng(&mut rand::rng()),
    }
}
