//! Makes a guest pay for host calls, in fuel, and lets others run in between.

use agentvm_vfs::Filesystem;
use wasmtime::{CallHook, CallHookHandler, StoreContextMut, Trap};

use crate::guards::{Guard, is_on};
use crate::host::Host;
use crate::turn::Turn;

/// What any host call costs: about 300 ns of a processor.
pub(crate) const FUEL_PER_CALL: u64 = agentvm_policy::budget::CALL_FUEL.value;
/// What the host's work on one byte costs.
const FUEL_PER_BYTE: u64 = agentvm_policy::budget::BYTE_FUEL.value;
/// What one step of a filesystem costs: about 100 ns of a processor.
const FUEL_PER_STEP: u64 = agentvm_policy::budget::STEP_FUEL.value;

impl Host {
    /// Charges the current host call for work on `bytes`.
    pub(crate) fn charge_bytes(&self, bytes: usize) {
        self.shared.budget.fuel.owe(fuel_for(bytes));
    }

    /// Charges the current host call for what the filesystem did for it since the last one, and
    /// for `bytes` copied. Both guest interfaces call it after each call of the filesystem.
    pub(crate) fn charge_files(&self, bytes: usize) {
        let fuel = fuel_for_files(&self.filesystem, bytes);
        self.shared.budget.fuel.owe(fuel);
    }
}

/// What the work of `filesystem` since this was last asked costs, and `bytes` copied with it.
pub(crate) fn fuel_for_files(filesystem: &Filesystem, bytes: usize) -> u64 {
    let work = filesystem.take_work().saturating_mul(FUEL_PER_STEP);
    if is_on(Guard::FileCharge) {
        work.saturating_add(fuel_for(bytes))
    } else {
        0
    }
}

/// What the host's work on `bytes` costs.
pub(crate) fn fuel_for(bytes: usize) -> u64 {
    u64::try_from(bytes)
        .unwrap_or(u64::MAX)
        .saturating_mul(FUEL_PER_BYTE)
}

/// Stands at every crossing between guest and host, for core modules and components alike.
pub(crate) struct Toll;

#[wasmtime_wasi::async_trait]
impl CallHookHandler<Host> for Toll {
    async fn handle_call_event(
        &self,
        mut store: StoreContextMut<'_, Host>,
        event: CallHook,
    ) -> wasmtime::Result<()> {
        match event {
            CallHook::CallingWasm => store.data().shared.started.open(),
            CallHook::CallingHost => {
                store.data().shared.budget.fuel.owe(FUEL_PER_CALL);
                follow_rate(&mut store)?;
                settle(&mut store).await?;
            }
            CallHook::ReturningFromHost => {
                settle(&mut store).await?;
                store.data().shared.budget.memory.take_lent_back();
            }
            CallHook::ReturningFromWasm => note_fuel(&mut store)?,
        }
        Ok(())
    }
}

/// Gives way as often as the VM's rate asks for now.
fn follow_rate(store: &mut StoreContextMut<'_, Host>) -> wasmtime::Result<()> {
    let interval = store.data().shared.budget.cpu.interval();
    if interval != store.data().interval {
        store.data_mut().interval = interval;
        store.fuel_async_yield_interval(Some(interval))?;
    }
    Ok(())
}

/// Takes what is owed out of the store, and yields where an interval's worth was used and the
/// turn is over.
///
/// Called at each crossing, and by host functions between the chunks of long work.
///
/// # Errors
///
/// [`Trap::OutOfFuel`] where more is owed than is left.
pub(crate) async fn settle(store: &mut StoreContextMut<'_, Host>) -> wasmtime::Result<()> {
    let left = store.get_fuel()?;
    let owed = if is_on(Guard::HostCallCharge) {
        store.data().shared.budget.fuel.take_owed()
    } else {
        0
    };
    let after = left.saturating_sub(owed);
    if owed > 0 {
        store.set_fuel(after)?;
    }
    let host = store.data_mut();
    host.shared
        .budget
        .fuel
        .set_used(host.fuel_granted.saturating_sub(after));
    if owed > left {
        return Err(Trap::OutOfFuel.into());
    }
    if host.fuel_at_last_yield.saturating_sub(after) >= host.interval {
        host.fuel_at_last_yield = after;
        if Turn::is_over() {
            tokio::task::yield_now().await;
        }
    }
    Ok(())
}

fn note_fuel(store: &mut StoreContextMut<'_, Host>) -> wasmtime::Result<()> {
    let left = store.get_fuel()?;
    let host = store.data();
    host.shared
        .budget
        .fuel
        .set_used(host.fuel_granted.saturating_sub(left));
    Ok(())
}
