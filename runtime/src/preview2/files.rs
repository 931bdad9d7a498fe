//! `wasi:filesystem` over the VM's own filesystem: one preopened directory `/`, or none at all.

mod descriptor;
mod error;
mod handles;
mod listing;
mod metadata;
mod request;
mod streams;

use wasmtime::component::{HasSelf, Linker, Resource};
use wasmtime_wasi::WasiView as _;
use wasmtime_wasi::p2::FsError;
use wasmtime_wasi::p2::bindings::filesystem::preopens;
use wasmtime_wasi::p2::bindings::filesystem::types::{self, Descriptor, ErrorCode};

pub(super) use self::metadata::HashKey;
use crate::host::Host;

pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    preopens::add_to_linker::<Host, HasSelf<Host>>(linker, |host| host)?;
    types::add_to_linker::<Host, HasSelf<Host>>(linker, |host| host)
}

impl preopens::Host for Host {
    fn get_directories(&mut self) -> wasmtime::Result<Vec<(Resource<Descriptor>, String)>> {
        if self.filesystem.is_empty() {
            return Ok(Vec::new());
        }
        let root = self.add_root()?;
        Ok(vec![(root, "/".to_owned())])
    }
}

impl types::Host for Host {
    fn convert_error_code(&mut self, error: FsError) -> wasmtime::Result<ErrorCode> {
        error.downcast()
    }

    fn filesystem_error_code(
        &mut self,
        error: Resource<wasmtime::Error>,
    ) -> wasmtime::Result<Option<ErrorCode>> {
        let error = self.ctx().table.get(&error)?;
        Ok(error.downcast_ref().copied().map(error::code))
    }
}
