//! A component's arguments and environment: exactly what the manifest declares, paid for.

use wasmtime::component::{HasSelf, Linker};
use wasmtime_wasi::p2::bindings::cli::environment;

use crate::host::Host;

pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    environment::add_to_linker::<Host, HasSelf<Host>>(linker, |host| host)
}

impl environment::Host for Host {
    fn get_environment(&mut self) -> wasmtime::Result<Vec<(String, String)>> {
        self.charge_bytes(
            self.env
                .iter()
                .map(|(name, value)| name.len() + value.len())
                .sum(),
        );
        Ok(self.env.clone())
    }

    fn get_arguments(&mut self) -> wasmtime::Result<Vec<String>> {
        self.charge_bytes(self.args.iter().map(String::len).sum());
        Ok(self.args.clone())
    }

    fn initial_cwd(&mut self) -> wasmtime::Result<Option<String>> {
        Ok(None)
    }
}
