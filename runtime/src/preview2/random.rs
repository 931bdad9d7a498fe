//! Random bytes for components, bounded and paid for.

use rand::RngCore;
use wasmtime::component::{HasSelf, Linker};
use wasmtime_wasi::p2::bindings::random::{insecure, insecure_seed, random};

use crate::guards::{Guard, is_on};
use crate::host::Host;

/// The most bytes of one call; a component must not make the host allocate more.
const MAX_RANDOM_BYTES: u64 = agentvm_policy::budget::RANDOM_BYTES.value;

pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    random::add_to_linker::<Host, HasSelf<Host>>(linker, |host| host)?;
    insecure::add_to_linker::<Host, HasSelf<Host>>(linker, |host| host)?;
    insecure_seed::add_to_linker::<Host, HasSelf<Host>>(linker, |host| host)
}

impl Host {
    fn random_bytes(&mut self, len: u64) -> wasmtime::Result<Vec<u8>> {
        if len > MAX_RANDOM_BYTES && is_on(Guard::RandomBound) {
            return Err(wasmtime::Error::msg(format!(
                "asked for {len} random bytes at once; the limit is {MAX_RANDOM_BYTES}"
            )));
        }
        let mut bytes = vec![0; usize::try_from(len)?];
        self.charge_bytes(bytes.len());
        self.random.fill_bytes(&mut bytes);
        Ok(bytes)
    }
}

impl random::Host for Host {
    fn get_random_bytes(&mut self, len: u64) -> wasmtime::Result<Vec<u8>> {
        self.random_bytes(len)
    }

    fn get_random_u64(&mut self) -> wasmtime::Result<u64> {
        Ok(self.random.next_u64())
    }
}

impl insecure::Host for Host {
    fn get_insecure_random_bytes(&mut self, len: u64) -> wasmtime::Result<Vec<u8>> {
        self.random_bytes(len)
    }

    fn get_insecure_random_u64(&mut self) -> wasmtime::Result<u64> {
        Ok(self.random.next_u64())
    }
}

impl insecure_seed::Host for Host {
    fn insecure_seed(&mut self) -> wasmtime::Result<(u64, u64)> {
        Ok((self.random.next_u64(), self.random.next_u64()))
    }
}
