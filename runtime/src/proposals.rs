//! Which proposals of WebAssembly programs may use, and how the others are called.

use wasmparser::WasmFeatures;
use wasmtime::Config;

use crate::guards::{Guard, is_on};

/// What programs made by Go, C, Rust, Python and JavaScript toolchains use. Of reference types,
/// functions alone can be referred to: `externref` takes a garbage collector, which is closed.
const ACCEPTED: [WasmFeatures; 13] = [
    WasmFeatures::MUTABLE_GLOBAL,
    WasmFeatures::SATURATING_FLOAT_TO_INT,
    WasmFeatures::SIGN_EXTENSION,
    WasmFeatures::REFERENCE_TYPES,
    WasmFeatures::MULTI_VALUE,
    WasmFeatures::BULK_MEMORY,
    WasmFeatures::FLOATS,
    WasmFeatures::SIMD,
    WasmFeatures::RELAXED_SIMD,
    WasmFeatures::TAIL_CALL,
    WasmFeatures::MULTI_MEMORY,
    WasmFeatures::EXTENDED_CONST,
    WasmFeatures::COMPONENT_MODEL,
];

/// Opens those that are accepted; whatever wasmtime adds to its defaults stays closed.
pub(crate) fn accept(config: &mut Config) {
    if is_on(Guard::ClosedProposals) {
        config.wasm_features(WasmFeatures::all(), false);
    }
    config
        .wasm_features(ACCEPTED.into_iter().collect(), true)
        .relaxed_simd_deterministic(true)
        .concurrency_support(false);
}

/// The name of a proposal as it stands in a sentence: `custom-page-sizes`, `component model: async`.
pub(crate) fn name(feature: WasmFeatures) -> String {
    let named = feature.iter_names().next();
    let name = named.map_or("unknown", |(name, _)| name);
    let name = name.to_ascii_lowercase().replace('_', "-");
    match name.strip_prefix("cm-") {
        Some(part) => format!("component model: {part}"),
        None => name,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    #[test]
    fn the_documentation_lists_what_is_accepted_and_nothing_else() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/api.md");
        let text = std::fs::read_to_string(path).unwrap();
        let (_, table) = text.split_once("| proposal |").unwrap();
        let (table, after) = table.split_once("\n\n").unwrap();
        let listed = table.lines().skip(2).flat_map(|row| {
            let names = row.split('|').nth(1).unwrap().split(',');
            names.map(|name| name.trim().trim_matches('`').to_owned())
        });
        let of_the_core = WasmFeatures::FLOATS;
        let accepted = ACCEPTED.into_iter().filter(|flag| *flag != of_the_core);
        assert_eq!(
            listed.collect::<BTreeSet<_>>(),
            accepted.map(name).collect::<BTreeSet<_>>()
        );
        for flag in [
            WasmFeatures::THREADS,
            WasmFeatures::EXCEPTIONS,
            WasmFeatures::GC,
            WasmFeatures::MEMORY64,
        ] {
            assert!(after.contains(&format!("`{}`", name(flag))), "{flag:?}");
        }
        assert!(table.contains(&format!("`{}`", name(WasmFeatures::GC_TYPES))));
    }

    #[test]
    fn a_proposal_is_called_as_its_authors_do() {
        for (feature, expected) in [
            (WasmFeatures::THREADS, "threads"),
            (WasmFeatures::CUSTOM_PAGE_SIZES, "custom-page-sizes"),
            (WasmFeatures::CM_ASYNC, "component model: async"),
            (WasmFeatures::empty(), "unknown"),
        ] {
            assert_eq!(name(feature), expected);
        }
    }

    #[test]
    fn what_an_engine_accepts_is_the_list_and_nothing_else() {
        let mut config = Config::new();
        accept(&mut config);
        let engine = wasmtime::Engine::new(&config).unwrap();
        assert_eq!(
            engine.get_wasm_features(),
            ACCEPTED.into_iter().collect::<WasmFeatures>()
        );
    }
}
