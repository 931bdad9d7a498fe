//! A component's arguments and environment: exactly what the manifest declares, paid for.

use wasmtime::component::{HasSelf, Linker};
use wasmtime_wasi::p2::bindings::cli::environment;

use crate::host::{Host, held_bytes, size};

pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    environment::add_to_linker::<Host, HasSelf<Host>>(linker, |host| host)
}

impl environment::Host for Host {
    fn get_environment(&mut self) -> wasmtime::Result<Vec<(String, String)>> {
        self.lend_strings(self.env.iter().flat_map(|(name, value)| [name, value]))?;
        Ok(self.env.clone())
    }

    fn get_arguments(&mut self) -> wasmtime::Result<Vec<String>> {
        self.lend_strings(&self.args)?;
        Ok(self.args.clone())
    }

    fn initial_cwd(&mut self) -> wasmtime::Result<Option<String>> {
        Ok(None)
    }
}

impl Host {
    /// Has the component pay for copies of `strings`, which the host holds for as long as it
    /// takes the component to make room for them: that is code of the component's own.
    fn lend_strings<'a>(
        &self,
        strings: impl IntoIterator<Item = &'a String>,
    ) -> wasmtime::Result<()> {
        let (count, bytes) = size(strings);
        self.charge_bytes(bytes);
        if self.shared.budget.memory.lend(held_bytes(count, bytes)) {
            return Ok(());
        }
        Err(wasmtime::Error::msg(
            "its memory is used up, and it asked for its arguments or environment",
        ))
    }
}
