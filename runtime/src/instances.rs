//! What the host will hold of a program's instances, besides memories and tables: read off its
//! compiled code, which says what wasmtime is going to allocate.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use wasmtime_environ::component::{
    ComponentArtifacts, GlobalInitializer, InstantiateModule, VMComponentOffsets,
};
use wasmtime_environ::obj::ELF_WASMTIME_INFO;
use wasmtime_environ::{CompiledModuleInfo, HostPtr, Module, VMOffsets};

use crate::validate::Kind;

/// What an instance takes besides what its module declares.
const OVERHEAD_BYTES: u64 = agentvm_policy::budget::INSTANCE_OVERHEAD_BYTES.value;
/// What an element of a passive segment takes, each instance has its own.
const ELEMENT_BYTES: u64 = agentvm_policy::budget::PASSIVE_ELEMENT_BYTES.value;

/// Why the code does not say it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unknown {
    #[error("the code can't be read")]
    Read(#[from] io::Error),
    #[error("the code has no section {ELF_WASMTIME_INFO}")]
    NoSection,
    #[error("the section {ELF_WASMTIME_INFO} can't be decoded")]
    Decode(#[from] postcard::Error),
}

/// Bytes of all instances that a run of the program in `code` has.
pub(crate) fn bytes(kind: Kind, code: &File) -> Result<u64, Unknown> {
    let info = section(code, ELF_WASMTIME_INFO)?.ok_or(Unknown::NoSection)?;
    match kind {
        Kind::Core => {
            let (module, _rest) = postcard::take_from_bytes::<CompiledModuleInfo>(&info)?;
            Ok(of_module(&module.module))
        }
        Kind::Component => Ok(of_component(&postcard::from_bytes(&info)?)),
    }
}

fn of_component(artifacts: &ComponentArtifacts) -> u64 {
    let component = &artifacts.info.component;
    let instances = component.initializers.iter().map(|step| match step {
        GlobalInitializer::InstantiateModule(InstantiateModule::Static(module, _), _) => artifacts
            .static_modules
            .get(*module)
            .map_or(0, |module| of_module(&module.module)),
        // A module from outside: there is none.
        GlobalInitializer::InstantiateModule(InstantiateModule::Import(..), _)
        | GlobalInitializer::LowerImport { .. }
        | GlobalInitializer::ExtractMemory(_)
        | GlobalInitializer::ExtractRealloc(_)
        | GlobalInitializer::ExtractCallback(_)
        | GlobalInitializer::ExtractPostReturn(_)
        | GlobalInitializer::ExtractTable(_)
        | GlobalInitializer::Resource(_) => 0,
    });
    let own = VMComponentOffsets::new(HostPtr, component).size_of_vmctx();
    instances.fold(OVERHEAD_BYTES + u64::from(own), u64::saturating_add)
}

fn of_module(module: &Module) -> u64 {
    let context = VMOffsets::new(HostPtr, module).size_of_vmctx();
    let elements = module.passive_elements.iter().map(|(_, (_, count))| *count);
    elements
        .fold(0, u64::saturating_add)
        .saturating_mul(ELEMENT_BYTES)
        .saturating_add(OVERHEAD_BYTES + u64::from(context))
}

/// The section of that name in an ELF file of this machine, which wasmtime has written.
fn section(code: &File, name: &str) -> io::Result<Option<Vec<u8>>> {
    let headers: u64 = number(code, 0x28, 8)?;
    let size = number(code, 0x3a, 2)?;
    let header = |index: u64| headers.saturating_add(index.saturating_mul(size));
    let place = |at: u64| {
        let from = number(code, at.saturating_add(0x18), 8)?;
        let len = number(code, at.saturating_add(0x20), 8)?;
        Ok::<_, io::Error>((from, len))
    };
    let (names, _) = place(header(number(code, 0x3e, 2)?))?;
    for index in 0..number(code, 0x3c, 2)? {
        let at = header(index);
        let name_at = names.saturating_add(number(code, at, 4)?);
        if is_text(code, name_at, name)? {
            let (from, len) = place(at)?;
            return read(code, from, len).map(Some);
        }
    }
    Ok(None)
}

/// Whether `text` and a zero are at `at`.
fn is_text(code: &File, at: u64, text: &str) -> io::Result<bool> {
    let mut there = vec![0; text.len() + 1];
    let count = code.read_at(&mut there, at)?;
    let there = there.get(..count).unwrap_or_default();
    Ok(there.strip_suffix(&[0]) == Some(text.as_bytes()))
}

/// The number of `len` bytes at `at`.
fn number(code: &File, at: u64, len: usize) -> io::Result<u64> {
    let mut bytes = [0; 8];
    if let Some(place) = bytes.get_mut(..len) {
        code.read_exact_at(place, at)?;
    }
    Ok(u64::from_le_bytes(bytes))
}

fn read(code: &File, at: u64, len: u64) -> io::Result<Vec<u8>> {
    let within = len <= code.metadata()?.len();
    let len = usize::try_from(len).ok().filter(|_| within);
    let mut bytes = vec![0; len.ok_or(io::ErrorKind::UnexpectedEof)?];
    code.read_exact_at(&mut bytes, at)?;
    Ok(bytes)
}
