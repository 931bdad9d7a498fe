//! Checks what a module imports and exports, before it costs a compilation.

use agentvm_policy::budget::{self, Bound};
use wasmparser::types::{CoreTypeId, EntityType, TypesRef};
use wasmparser::{ComponentExternalKind, ComponentTypeRef, FuncType, Payload, ValType};

use crate::engine::{MAX_MEMORY_BYTES, MAX_TABLE_ELEMENTS};
use crate::trap::sanitise;
use crate::validate::{Kind, ModuleError, Validated, invalid, top_level};
use crate::{preview1, preview2};

/// The most names that one [`ModuleError::MissingImports`] carries.
const MAX_NAMES: usize = budget::MISSING_IMPORTS.usize();
/// The most characters of one name.
const MAX_NAME_CHARS: usize = budget::IMPORT_NAME_CHARS.usize();
const PAGE_BYTES: u64 = 64 << 10;

/// Refuses a module that could not be started: no entry point, more memory than a slot
/// has, or an import that nothing is linked for.
pub(crate) fn check(wasm: &[u8], module: &Validated) -> Result<(), ModuleError> {
    let types = module.types.as_ref();
    match module.kind {
        Kind::Core => {
            missing(core_imports(types))?;
            core_entry(types)?;
            core_size(types)
        }
        Kind::Component => {
            let interfaces = interfaces(wasm)?;
            missing(interfaces.unknown)?;
            if interfaces.exports_run {
                return Ok(());
            }
            Err(ModuleError::NoEntryPoint {
                reason: "the component does not export wasi:cli/run@0.2",
            })
        }
    }
}

fn missing(mut names: Vec<String>) -> Result<(), ModuleError> {
    names.sort_unstable();
    names.dedup();
    if names.is_empty() {
        return Ok(());
    }
    let more = names.len().saturating_sub(MAX_NAMES);
    names.truncate(MAX_NAMES);
    if more > 0 {
        names.push(format!("and {more} more"));
    }
    Err(ModuleError::MissingImports { names })
}

fn core_imports(types: TypesRef<'_>) -> Vec<String> {
    types
        .core_imports()
        .into_iter()
        .flatten()
        .filter(|(module, name, ty)| !is_linked(types, module, name, *ty))
        .map(|(module, name, _)| sanitise(&format!("{module}.{name}"), MAX_NAME_CHARS))
        .collect()
}

fn is_linked(types: TypesRef<'_>, module: &str, name: &str, ty: EntityType) -> bool {
    let (EntityType::Func(id) | EntityType::FuncExact(id)) = ty else {
        return false;
    };
    preview1::signature(module, name)
        .is_some_and(|signature| signature.matches(function(&types, id)))
}

fn function<'a>(types: &'a TypesRef<'_>, id: CoreTypeId) -> &'a FuncType {
    types[id].unwrap_func()
}

/// The types of one function of the host, one letter a value: `i` is i32, `I` is i64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Signature {
    pub(crate) params: &'static str,
    pub(crate) results: &'static str,
}

impl Signature {
    fn matches(self, ty: &FuncType) -> bool {
        letters(ty.params()) == self.params && letters(ty.results()) == self.results
    }
}

fn letters(types: &[ValType]) -> String {
    types
        .iter()
        .map(|ty| match ty {
            ValType::I32 => 'i',
            ValType::I64 => 'I',
            ValType::F32 | ValType::F64 | ValType::V128 | ValType::Ref(_) => '?',
        })
        .collect()
}

fn core_entry(types: TypesRef<'_>) -> Result<(), ModuleError> {
    let export = |wanted| {
        let mut exports = types.core_exports().into_iter().flatten();
        exports.find(|(name, _)| *name == wanted).map(|(_, ty)| ty)
    };
    let reason = match (export("_start"), export("memory")) {
        (None, _) => "it does not export a function named _start",
        (Some(EntityType::Func(id) | EntityType::FuncExact(id)), memory) => {
            let ty = function(&types, id);
            if !ty.params().is_empty() || !ty.results().is_empty() {
                "its _start takes parameters or returns results"
            } else if !matches!(memory, Some(EntityType::Memory(_))) {
                "it does not export its memory under the name memory"
            } else {
                return Ok(());
            }
        }
        (Some(_), _) => "its export _start is not a function",
    };
    Err(ModuleError::NoEntryPoint { reason })
}

fn count(what: &str, found: u32, most: Bound) -> Result<(), ModuleError> {
    if u64::from(found) <= most.value {
        return Ok(());
    }
    Err(ModuleError::Oversized {
        what: format!("{found} {what}"),
        max: most.usize(),
    })
}

fn core_size(types: TypesRef<'_>) -> Result<(), ModuleError> {
    count("memories", types.memory_count(), budget::MEMORIES)?;
    count("tables", types.table_count(), budget::TABLES)?;
    for index in 0..types.memory_count() {
        let bytes = types.memory_at(index).initial.saturating_mul(PAGE_BYTES);
        if bytes > u64::try_from(MAX_MEMORY_BYTES).unwrap_or(u64::MAX) {
            let what = format!("{bytes} bytes of memory to start");
            return Err(ModuleError::Oversized {
                what,
                max: MAX_MEMORY_BYTES,
            });
        }
    }
    for index in 0..types.table_count() {
        let elements = types.table_at(index).initial;
        if elements > u64::try_from(MAX_TABLE_ELEMENTS).unwrap_or(u64::MAX) {
            let what = format!("a table of {elements} elements to start");
            return Err(ModuleError::Oversized {
                what,
                max: MAX_TABLE_ELEMENTS,
            });
        }
    }
    Ok(())
}

#[derive(Default)]
struct Interfaces {
    unknown: Vec<String>,
    exports_run: bool,
}

fn interfaces(wasm: &[u8]) -> Result<Interfaces, ModuleError> {
    let mut found = Interfaces::default();
    for payload in top_level(wasm) {
        let payload = payload?;
        if let Payload::ComponentImportSection(section) = payload {
            for import in section {
                let import = import.map_err(|error| invalid(&error))?;
                let instance = matches!(import.ty, ComponentTypeRef::Instance(_));
                if !instance || !is_linked_interface(import.name.name) {
                    found
                        .unknown
                        .push(sanitise(import.name.name, MAX_NAME_CHARS));
                }
            }
        } else if let Payload::ComponentExportSection(section) = payload {
            for export in section {
                let export = export.map_err(|error| invalid(&error))?;
                found.exports_run |= export.kind == ComponentExternalKind::Instance
                    && preview2_name(export.name.name) == Some("wasi:cli/run");
            }
        }
    }
    Ok(found)
}

fn is_linked_interface(name: &str) -> bool {
    preview2_name(name).is_some_and(|name| preview2::INTERFACES.contains(&name))
}

/// The name of a WASI 0.2 interface without its version: any release of 0.2 is served by
/// what is linked, which is newer than all of them.
fn preview2_name(name: &str) -> Option<&str> {
    let (interface, version) = name.split_once('@')?;
    let patch = version.strip_prefix("0.2.")?;
    (!patch.is_empty() && patch.bytes().all(|byte| byte.is_ascii_digit())).then_some(interface)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_release_of_wasi_0_2_is_known_and_nothing_else() {
        for (name, expected) in [
            ("wasi:cli/run@0.2.0", Some("wasi:cli/run")),
            ("wasi:cli/run@0.2.12", Some("wasi:cli/run")),
            ("wasi:cli/run@0.3.0", None),
            ("wasi:cli/run@0.2.0-rc-2023-11-10", None),
            ("wasi:cli/run@0.2.", None),
            ("wasi:cli/run", None),
        ] {
            assert_eq!(preview2_name(name), expected, "{name}");
        }
    }

    #[test]
    fn missing_names_are_sorted_and_bounded() {
        let names = (0..40).map(|n| format!("m.f{:02}", 39 - n)).collect();
        let Err(ModuleError::MissingImports { names }) = missing(names) else {
            panic!("passed")
        };
        assert_eq!(names.len(), MAX_NAMES + 1);
        assert_eq!(names[0], "m.f00");
        assert_eq!(names[MAX_NAMES], "and 8 more");
    }
}
