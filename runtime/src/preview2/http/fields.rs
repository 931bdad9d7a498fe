//! Headers and trailers: bounded in number and size, and charged for every handle on them.

use http::{HeaderMap, HeaderName};
use wasmtime::component::{Resource, ResourceTableError};
use wasmtime_wasi_http::FieldMap;
use wasmtime_wasi_http::p2::bindings::http::types::{HeaderError as Told, HostFields};
use wasmtime_wasi_http::p2::{HeaderError, HeaderResult};

use super::weight::of_fields;
use crate::egress::headers::{self, MAX_HEADER_BYTES, MAX_HEADERS};
use crate::host::Host;

type Fields = Resource<FieldMap>;

impl HostFields for Host {
    fn new(&mut self) -> wasmtime::Result<Fields> {
        self.take_weight(of_fields(&HeaderMap::new()))?;
        HostFields::new(&mut self.http())
    }

    fn from_list(&mut self, entries: Vec<(String, Vec<u8>)>) -> HeaderResult<Fields> {
        let size = |(name, value): &(String, Vec<u8>)| name.len() + value.len();
        let bytes = entries.iter().map(size).sum();
        self.charge_bytes(bytes);
        fit(entries.len(), bytes)?;
        let fields = HostFields::from_list(&mut self.http(), entries)?;
        self.weigh(&fields).map_err(HeaderError::trap)?;
        Ok(fields)
    }

    fn drop(&mut self, fields: Fields) -> wasmtime::Result<()> {
        let weight = self.weight(&fields)?;
        HostFields::drop(&mut self.http(), fields)?;
        self.give_weight_back(weight);
        Ok(())
    }

    fn get(&mut self, fields: Fields, name: String) -> wasmtime::Result<Vec<Vec<u8>>> {
        let values = HostFields::get(&mut self.http(), fields, name)?;
        self.charge_bytes(values.iter().map(Vec::len).sum());
        Ok(values)
    }

    fn has(&mut self, fields: Fields, name: String) -> wasmtime::Result<bool> {
        self.charge_bytes(name.len());
        HostFields::has(&mut self.http(), fields, name)
    }

    fn set(&mut self, fields: Fields, name: String, values: Vec<Vec<u8>>) -> HeaderResult<()> {
        let replaced = name.parse::<HeaderName>().ok();
        let there = self.map(&fields)?.iter();
        let stays = there.filter(|(known, _)| Some(*known) != replaced.as_ref());
        let (stay, held) = stays.fold((0, 0), |(count, bytes), (known, value)| {
            (count + 1, bytes + known.as_str().len() + value.len())
        });
        let bytes = |value: &Vec<u8>| name.len() + value.len();
        let bytes = held + values.iter().map(bytes).sum::<usize>();
        self.charge_bytes(bytes);
        fit(stay + values.len(), bytes)?;
        self.change(&fields, |view, same| {
            HostFields::set(view, same, name, values)
        })
    }

    fn delete(&mut self, fields: Fields, name: String) -> HeaderResult<()> {
        self.charge_bytes(name.len());
        self.change(&fields, |view, same| HostFields::delete(view, same, name))
    }

    fn append(&mut self, fields: Fields, name: String, value: Vec<u8>) -> HeaderResult<()> {
        let there = self.map(&fields)?;
        let (count, held) = (there.len(), headers::bytes(there));
        self.charge_bytes(name.len() + value.len());
        fit(count + 1, held + name.len() + value.len())?;
        self.change(&fields, |view, same| {
            HostFields::append(view, same, name, value)
        })
    }

    fn entries(&mut self, fields: Fields) -> wasmtime::Result<Vec<(String, Vec<u8>)>> {
        let bytes = headers::bytes(self.map(&fields)?);
        self.charge_bytes(bytes);
        HostFields::entries(&mut self.http(), fields)
    }

    fn clone(&mut self, fields: Fields) -> wasmtime::Result<Fields> {
        let weight = self.weight(&fields)?;
        self.take_weight(weight)?;
        HostFields::clone(&mut self.http(), fields)
    }
}

impl Host {
    fn map(&mut self, fields: &Fields) -> Result<&FieldMap, ResourceTableError> {
        self.http().table.get(fields)
    }

    pub(super) fn weight(&mut self, fields: &Fields) -> Result<u64, ResourceTableError> {
        self.map(fields).map(|map| of_fields(map))
    }

    /// Takes the memory for fields that were just made.
    pub(super) fn weigh(&mut self, fields: &Fields) -> wasmtime::Result<()> {
        let weight = self.weight(fields)?;
        self.take_weight(weight)
    }

    fn change(
        &mut self,
        fields: &Fields,
        change: impl FnOnce(&mut wasmtime_wasi_http::WasiHttpCtxView<'_>, Fields) -> HeaderResult<()>,
    ) -> HeaderResult<()> {
        let before = self.weight(fields)?;
        let same = Resource::new_borrow(fields.rep());
        let changed = change(&mut self.http(), same);
        let after = self.weight(fields)?;
        self.change_weight(before, after)
            .map_err(HeaderError::trap)?;
        changed
    }
}

/// `count` headers of `bytes` bytes, or the nearest error that there is.
fn fit(count: usize, bytes: usize) -> Result<(), HeaderError> {
    if count <= MAX_HEADERS && bytes <= MAX_HEADER_BYTES {
        return Ok(());
    }
    Err(HeaderError::from(Told::InvalidSyntax))
}
