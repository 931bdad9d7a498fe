//! `agentvm:http/requests`: requests of a core module, each behind a descriptor of preview1.
//!
//! `wit/README.md` is what guests are told. An exchange is opened with its method, URL and
//! headers; then `fd_write` sends the body of the request and `fd_read` reads that of the answer,
//! `poll_oneoff` waits for either, and `fd_close` gives it up.

mod exchange;
mod head;
mod open;
mod pipe;
mod transfer;

use wasmtime::{Caller, Linker};

pub(super) use self::exchange::Exchange;
pub(super) use self::transfer::{read, write};
use super::errno::code;
use crate::host::Host;
use crate::imports::Signature;

/// The module that all of them are imported from.
pub(crate) const MODULE: &str = "agentvm:http/requests@0.1.0";

/// Every function with the letters of its parameters; all return an error number.
const FUNCTIONS: [(&str, &str); 5] = [
    ("failure", "iiii"),
    ("finish", "i"),
    ("head", "iiii"),
    ("open", "iiiiiiii"),
    ("trailers", "iiii"),
];

/// The type of the function `name`, where there is one.
pub(super) fn signature(name: &str) -> Option<Signature> {
    let (_, params) = FUNCTIONS.iter().find(|(known, _)| *known == name)?;
    Some(Signature {
        params,
        results: "i",
    })
}

/// Links every function of [`FUNCTIONS`].
pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    open::link(linker)?;
    head::link(linker)?;
    linker.func_wrap(MODULE, "finish", |mut caller: Caller<'_, Host>, fd: u32| {
        let open = &mut caller.data_mut().descriptors;
        code(open.exchange_mut(fd).and_then(Exchange::finish))
    })?;
    Ok(())
}

#[cfg(test)]
pub(super) fn functions() -> impl Iterator<Item = &'static str> {
    FUNCTIONS.iter().map(|(name, _)| *name)
}
