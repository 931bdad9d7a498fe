//! Streams and polling, with a bound on how much one call may ask.

use wasmtime::component::{HasSelf, Linker, Resource};
use wasmtime_wasi::WasiView;
use wasmtime_wasi::p2::DynPollable;
use wasmtime_wasi::p2::bindings::io::poll::{self, Host as Poll};
use wasmtime_wasi::p2::bindings::io::{error, streams};

use super::MAX_HANDLES;
use crate::charge::FUEL_PER_CALL;
use crate::guards::{Guard, is_on};
use crate::host::Host;

/// What the host holds of one handle while the component waits for it.
const HELD_BYTES: u64 = agentvm_policy::budget::SUBSCRIPTION_BYTES.value;

pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    error::add_to_linker::<Host, HasSelf<Host>>(linker, |host| host)?;
    streams::add_to_linker::<Host, HasSelf<Host>>(linker, |host| host)?;
    poll::add_to_linker::<Host, HasSelf<Host>>(linker, |host| host)
}

impl error::Host for Host {}

impl error::HostError for Host {
    /// Says what happened without where: a debugging text would carry a backtrace of the host.
    fn to_debug_string(&mut self, error: Resource<wasmtime::Error>) -> wasmtime::Result<String> {
        let text = self.ctx().table.get(&error)?.to_string();
        self.charge_bytes(text.len());
        Ok(text)
    }

    fn drop(&mut self, error: Resource<wasmtime::Error>) -> wasmtime::Result<()> {
        error::HostError::drop(self.ctx().table, error)?;
        self.give_handle_back();
        Ok(())
    }
}

impl Poll for Host {
    async fn poll(&mut self, pollables: Vec<Resource<DynPollable>>) -> wasmtime::Result<Vec<u32>> {
        let count = pollables.len();
        if count > MAX_HANDLES && is_on(Guard::PollBound) {
            let message = format!("polled {count} handles at once; the limit is {MAX_HANDLES}");
            return Err(wasmtime::Error::msg(message));
        }
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        let budget = &self.shared.budget;
        budget.fuel.owe(count.saturating_mul(FUEL_PER_CALL));
        if !budget.memory.lend(count.saturating_mul(HELD_BYTES)) {
            let message = format!("polled {count} handles with its memory used up");
            return Err(wasmtime::Error::msg(message));
        }
        self.ctx().table.poll(pollables).await
    }
}
