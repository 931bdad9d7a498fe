//! What the handles of a component count of its memory: each from the call that makes it to the
//! one that drops it.
//!
//! Files, listings, headers, requests and answers are charged where they are made, by what they
//! hold; what is left are streams, pollables, errors and tokens.

use wasmtime::component::Resource;
use wasmtime_wasi::WasiView as _;
use wasmtime_wasi::cli::WasiCliView as _;
use wasmtime_wasi::clocks::WasiClocksView as _;
use wasmtime_wasi::p2::bindings::cli::{stderr, stdin, stdout};
use wasmtime_wasi::p2::bindings::clocks::monotonic_clock::{self, Duration, Instant};
use wasmtime_wasi::p2::bindings::io::poll::HostPollable;
use wasmtime_wasi::p2::bindings::sockets::instance_network;
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, DynPollable, Network};
use wasmtime_wasi::sockets::WasiSocketsView as _;

use crate::guards::{Guard, is_on};
use crate::host::Host;

/// What the host holds of any of them: its place in the table, what lies there, and the timer of a
/// pollable.
pub(in crate::preview2) const HANDLE_BYTES: u64 = agentvm_policy::budget::HANDLE_BYTES.value;

impl Host {
    /// Takes the memory of a handle that is about to be made. There is no error that a component
    /// could be told, so one without memory traps, as it does where it has too many handles.
    pub(in crate::preview2) fn take_handle(&self) -> wasmtime::Result<()> {
        if !is_on(Guard::HandleCharge) || self.shared.budget.memory.take_host(HANDLE_BYTES) {
            return Ok(());
        }
        Err(wasmtime::Error::msg(
            "made a handle with its memory used up",
        ))
    }

    /// A handle was dropped.
    pub(in crate::preview2) fn give_handle_back(&self) {
        if is_on(Guard::HandleCharge) {
            self.shared.budget.memory.give_host_back(HANDLE_BYTES);
        }
    }
}

impl stdin::Host for Host {
    fn get_stdin(&mut self) -> wasmtime::Result<Resource<DynInputStream>> {
        self.take_handle()?;
        stdin::Host::get_stdin(&mut self.cli())
    }
}

impl stdout::Host for Host {
    fn get_stdout(&mut self) -> wasmtime::Result<Resource<DynOutputStream>> {
        self.take_handle()?;
        stdout::Host::get_stdout(&mut self.cli())
    }
}

impl stderr::Host for Host {
    fn get_stderr(&mut self) -> wasmtime::Result<Resource<DynOutputStream>> {
        self.take_handle()?;
        stderr::Host::get_stderr(&mut self.cli())
    }
}

impl monotonic_clock::Host for Host {
    fn now(&mut self) -> wasmtime::Result<Instant> {
        monotonic_clock::Host::now(&mut self.clocks())
    }

    fn resolution(&mut self) -> wasmtime::Result<Duration> {
        monotonic_clock::Host::resolution(&mut self.clocks())
    }

    fn subscribe_instant(&mut self, when: Instant) -> wasmtime::Result<Resource<DynPollable>> {
        self.take_handle()?;
        monotonic_clock::Host::subscribe_instant(&mut self.clocks(), when)
    }

    fn subscribe_duration(&mut self, after: Duration) -> wasmtime::Result<Resource<DynPollable>> {
        self.take_handle()?;
        monotonic_clock::Host::subscribe_duration(&mut self.clocks(), after)
    }
}

impl HostPollable for Host {
    async fn ready(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<bool> {
        self.ctx().table.ready(pollable).await
    }

    async fn block(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        self.ctx().table.block(pollable).await
    }

    fn drop(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        HostPollable::drop(self.ctx().table, pollable)?;
        self.give_handle_back();
        Ok(())
    }
}

/// The network is a token without power: all that takes it is refused.
impl instance_network::Host for Host {
    fn instance_network(&mut self) -> wasmtime::Result<Resource<Network>> {
        self.take_handle()?;
        instance_network::Host::instance_network(&mut self.sockets())
    }
}
