//! One run of a program: prepared with what it is granted, then driven to its end.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use agentvm_policy::{Grants, Limits};
use agentvm_vfs::Filesystem;
use wasmtime::Store;

use crate::budget::Budget;
use crate::charge::Toll;
use crate::egress::Egress;
use crate::ending::{Ending, Facts, decide};
use crate::guards::{Guard, is_on};
use crate::handle::{Shared, VmHandle};
use crate::host::Host;
use crate::meter::Metered;
use crate::preview2;
use crate::program::{Entry, Program};
use crate::stdio::Output;
use crate::trap::{Failure, classify};

/// What one VM is given. Whatever is not here, it does not have.
pub struct VmConfig {
    /// The arguments, `argv[0]` first.
    pub args: Vec<String>,
    /// The whole environment.
    pub env: Vec<(String, String)>,
    /// What it may do and how much.
    pub grants: Grants,
    /// Its files: the directory `/` is all it finds preopened, and nothing where it has no mounts.
    pub filesystem: Filesystem,
    /// Carries its requests to hosts outside; `None` denies them all.
    pub egress: Option<Arc<dyn Egress>>,
    /// Takes its stdout.
    pub stdout: Arc<dyn Output>,
    /// Takes its stderr.
    pub stderr: Arc<dyn Output>,
}

/// A VM that has not started.
pub struct Vm {
    program: Program,
    host: Box<Host>,
    limits: Limits,
    shared: Arc<Shared>,
    release: Release,
}

/// Lets go of whoever waits for the start of a VM that will never start.
struct Release(Arc<Shared>);

impl Drop for Release {
    fn drop(&mut self) {
        self.0.started.open();
    }
}

/// Pairs a program with what it is granted. Nothing runs until [`Vm::run`] is polled.
pub fn prepare(program: &Program, config: VmConfig) -> (Vm, VmHandle) {
    let limits = config.grants.limits;
    let budget = Budget::new(
        limits.cpu_millicores,
        limits.memory_bytes,
        limits.connections,
    );
    let shared = Arc::new(Shared::new(budget));
    let host = Box::new(Host::new(config, Arc::clone(&shared)));
    let handle = VmHandle {
        shared: Arc::clone(&shared),
    };
    let release = Release(Arc::clone(&shared));
    (
        Vm {
            program: program.clone(),
            host,
            limits,
            shared,
            release,
        },
        handle,
    )
}

impl Vm {
    /// Runs the guest to its end. Spawn it on the tokio runtime of the guests, never on
    /// the one of control tasks.
    ///
    /// It yields after a turn of a millisecond, at the end of the interval of fuel it is in, waits
    /// where the CPU quota is used up, and ends with the turn after its timeout or a stop. It never panics: a panic in
    /// a host function is caught and ends this VM alone. Dropping it frees everything.
    pub async fn run(self) -> Ending {
        let Self {
            program,
            host,
            limits,
            shared,
            release: _release,
        } = self;
        let timeout = limits.timeout_ms.map(Duration::from_millis);
        let guest = run_guest(program, host);
        let outcome = Metered::new(guest, Arc::clone(&shared), timeout).await;
        let stop = shared.control().stop;
        let facts = Facts {
            limits: &limits,
            usage: &shared.budget.usage(),
            memory_was_refused: shared.budget.memory.was_refused(),
            stop,
        };
        decide(outcome, &facts)
    }
}

async fn run_guest(program: Program, host: Box<Host>) -> Result<(), Failure> {
    let arguments = host.argument_bytes();
    if !host.shared.budget.memory.take_host(arguments) {
        return Err(Failure::Arguments(arguments));
    }
    let instances = program.instance_bytes;
    if is_on(Guard::InstanceCharge) && !host.shared.budget.memory.take_host(instances) {
        let what = format!("its instances take {instances} bytes of the host's memory");
        return Err(Failure::Trap(what));
    }
    let mut store = store(&program, *host).map_err(|error| classify(&error))?;
    let result = match &program.entry {
        Entry::Core(pre) => {
            async {
                let instance = pre.instantiate_async(&mut store).await?;
                let start = instance.get_typed_func::<(), ()>(&mut store, "_start")?;
                start.call_async(&mut store, ()).await
            }
            .await
        }
        Entry::Component(pre) => preview2::run(pre, &mut store).await,
    };
    result.map_err(|error| classify(&error))
}

/// The most host memory that the arguments of one call of a component may take.
const HOSTCALL_BYTES: usize = agentvm_policy::budget::HOSTCALL_BYTES.usize();

/// The most handles that all parts of a component hold, of the host and of each other.
const MAX_OWN_HANDLES: usize = agentvm_policy::budget::OWN_HANDLES.usize();

fn store(program: &Program, host: Host) -> wasmtime::Result<Store<Host>> {
    let (fuel, interval) = (host.fuel_granted, host.interval);
    let mut store = Store::new(&program.engine.wasmtime, host);
    store.limiter(|host| &mut host.limiter);
    store.set_fuel(fuel)?;
    store.fuel_async_yield_interval(Some(interval))?;
    store.set_hostcall_fuel(HOSTCALL_BYTES);
    if is_on(Guard::HandleBound) {
        store.set_max_component_handles(MAX_OWN_HANDLES);
    }
    store.call_hook_async(Toll);
    Ok(store)
}

impl fmt::Debug for VmConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VmConfig")
            .field("grants", &self.grants)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Vm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vm")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
