//! Every attack on CPU time or memory that one guest can make by itself.

use agentvm_cell_api::cell::VmSpec;
use agentvm_cell_api::mounts::{Mount, MountSource};
use agentvm_cell_api::warden::Module;

use crate::guests::{self, calls, component, files, memory};
use crate::harness::spec;

const MIB: u64 = 1 << 20;

/// A guest and what it is given.
pub(crate) struct Probe {
    /// As the rows of tables are named.
    pub(crate) name: &'static str,
    pub(crate) wasm: Vec<u8>,
    /// MiB of `limits.memory`.
    memory: u64,
    /// MiB of `limits.storage`, and so a mount, or none.
    storage: Option<u64>,
    /// Bytes of `limits.logRate`.
    log_rate: u64,
    /// Bytes of one variable of the environment.
    environment: usize,
}

impl Probe {
    fn new(name: &'static str, wasm: Vec<u8>) -> Self {
        Self {
            name,
            wasm,
            memory: 16,
            storage: None,
            log_rate: 64 << 10,
            environment: 0,
        }
    }

    /// No attack: waits for its stdin.
    pub(crate) fn quiet() -> Self {
        Self::new("quiet", calls::reads_stdin())
    }

    fn memory(self, mib: u64) -> Self {
        Self {
            memory: mib,
            ..self
        }
    }

    fn files(self) -> Self {
        Self {
            storage: Some(16),
            ..self
        }
    }

    /// A specification that runs it at `millicores`.
    pub(crate) fn spec(&self, module: &Module, millicores: u64) -> VmSpec {
        let mut spec = spec(module);
        spec.kind = module.kind;
        let limits = &mut spec.grants.limits;
        limits.cpu_millicores = millicores;
        limits.memory_bytes = self.memory * MIB;
        limits.log_rate_bytes_per_second = self.log_rate;
        if let Some(storage) = self.storage {
            limits.storage_bytes = storage * MIB;
            limits.inodes = 16_384;
            spec.mounts = vec![work()];
        }
        if self.environment > 0 {
            let value = "x".repeat(self.environment);
            spec.env = [("LONG".to_owned(), value)].into();
        }
        spec
    }

    /// What the cell may hold for it.
    pub(crate) fn bytes(&self) -> u64 {
        (self.memory + self.storage.unwrap_or(0)) * MIB
    }
}

/// A writable directory.
fn work() -> Mount {
    Mount {
        path: "/work".to_owned(),
        read_only: false,
        source: MountSource::EmptyDir {
            size_limit_bytes: None,
            archive: None,
        },
    }
}

/// All of them.
pub(crate) fn all() -> Vec<Probe> {
    [computing(), calling(), waiting(), printing(), on_files()]
        .into_iter()
        .flatten()
        .collect()
}

fn computing() -> Vec<Probe> {
    vec![
        Probe::new("spin", guests::spins()),
        Probe::new("recursion", guests::recurses()),
        Probe::new("rec", guests::overflows()),
        Probe::new("startloop", guests::never_starts()),
        // In one instruction, or in one loop, and 24 MiB short of the most that a VM can have: at
        // once it takes longer than each of these gets in all.
        Probe::new("fill", memory::fills(1000)).memory(1024),
        Probe::new("copy", memory::copies(500)).memory(512),
        Probe::new("stores", memory::stores(700)).memory(720),
        Probe::new("tables", memory::fills_tables()),
        Probe::new("grow", memory::grows()).memory(64),
        Probe::new("tgrow", memory::grows_tables()).memory(64),
        Probe::new("wide component", component::is_wide()).memory(64),
        Probe::new("elements", component::has_passive_elements()).memory(48),
    ]
}

fn calling() -> Vec<Probe> {
    vec![
        Probe::new("rnd", calls::asks_for_random_bytes()).memory(40),
        Probe::new("rnd component", component::asks_for_random_bytes()),
        Probe::new("yield", calls::yields()),
        Probe::new("iovecs", calls::writes_nothing()),
        Probe {
            environment: 128 << 10,
            ..Probe::new("environment", calls::reads_its_environment())
        },
    ]
}

fn waiting() -> Vec<Probe> {
    vec![
        Probe::new("bursts", calls::comes_in_bursts()),
        Probe::new("sleep", calls::waits_for(1, 8_000_000_000)),
        Probe::new("stdin", calls::reads_stdin()),
        Probe::new("pollbig", calls::polls_too_much()).memory(72),
        Probe::new("poll 0", calls::waits_for(1, 0)),
        Probe::new("poll 1024", calls::waits_for(1024, 0)),
        Probe::new("timers", calls::waits_for(1024, 1_000_000)),
        Probe::new("timers component", component::waits_for_timers(0)),
        Probe::new("hoard", component::hoards_timers()),
    ]
}

fn printing() -> Vec<Probe> {
    let fast = 16 << 20;
    vec![
        Probe::new("flood", calls::floods(0)),
        Probe::new("flood lines", calls::floods(b'\n')),
        Probe {
            log_rate: fast,
            ..Probe::new("flood fast", calls::floods(b'x'))
        },
        Probe {
            log_rate: fast,
            ..Probe::new("flood lines fast", calls::floods(b'\n'))
        },
    ]
}

fn on_files() -> Vec<Probe> {
    vec![
        Probe::new("create", files::creates()).files(),
        Probe::new("churn", files::churns()).files(),
        Probe::new("readdir", files::lists()).files(),
        Probe::new("fdx", files::opens()).files(),
        Probe::new("links", files::follows_links()).files(),
        Probe::new("long path", files::follows_a_long_path()).files(),
        Probe::new("symsp", files::stretches()).files(),
        Probe::new("read write", files::reads_and_writes())
            .memory(24)
            .files(),
    ]
}
