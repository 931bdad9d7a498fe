//! The budget table is the whole table: nothing in the sources bounds a guest beside it, nothing
//! in it is stale, and `docs/limits.md` says the same.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests: a panic is the report"
)]

mod known;
mod scan;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use agentvm_policy::budget::{at_limit, bounds, document};
use agentvm_policy::{EndReason, LimitField};

use known::{ELSEWHERE, Known, UNBOUND};
use scan::{Constant, constants};

/// The crates whose code meets guests.
const CRATES: [&str; 6] = ["runtime", "cell", "vfs", "cell-api", "jail", "gateway"];

#[test]
fn every_number_that_bounds_a_guest_is_in_the_table() {
    let unknown: Vec<_> = sources()
        .into_iter()
        .filter(|constant| !constant.is_from_the_table() && !is_known(&constant.path))
        .map(|constant| format!("{} = {}", constant.path, constant.value))
        .collect();
    assert!(
        unknown.is_empty(),
        "if it bounds what a guest makes the host do, it is a row in policy/src/budget and the \
         code takes it from there; if not, policy/tests/budget/known.rs says why: {unknown:#?}"
    );
}

#[test]
fn what_is_known_of_the_sources_is_still_there() {
    let paths: BTreeSet<String> = sources().into_iter().map(|found| found.path).collect();
    let stale: Vec<_> = known()
        .filter(|name| !paths.iter().any(|path| matches(name, path)))
        .collect();
    assert!(stale.is_empty(), "these are gone: {stale:?}");
}

#[test]
fn constants_that_cannot_take_their_value_from_the_table_have_the_same() {
    for Known { path, value, bound } in ELSEWHERE {
        assert_eq!(value, bound.value, "{path} and budget::{}", bound.name);
    }
}

#[test]
fn every_row_is_one_that_the_code_takes_or_equals() {
    let crates = CRATES.iter().chain(&["crds", "node-agent", "policy"]);
    let code: String = crates
        .flat_map(|name| scan::files(&root().join(name).join("src")))
        .map(|file| std::fs::read_to_string(file).unwrap())
        .collect();
    let idle: Vec<_> = bounds()
        .filter(|bound| !ELSEWHERE.iter().any(|row| row.bound.name == bound.name))
        .filter(|bound| !is_taken(&code, bound.name))
        .map(|bound| bound.name)
        .collect();
    assert!(idle.is_empty(), "no code takes these: {idle:?}");
}

fn is_taken(code: &str, name: &str) -> bool {
    let uses = code.split("budget::").skip(1);
    let mut names = uses.map(|rest| rest.split('.').next().unwrap_or(rest).trim());
    names.any(|used| used == name)
}

#[test]
fn rows_have_names_of_their_own_and_sentences() {
    let mut names = BTreeSet::new();
    for bound in bounds() {
        assert!(names.insert(bound.name), "{} is there twice", bound.name);
        assert!(bound.value > 0, "{} permits nothing", bound.name);
        for text in [bound.what, bound.seen] {
            assert!(!text.is_empty() && !text.ends_with('.'), "{text:?}");
        }
    }
}

#[test]
fn every_limit_of_a_manifest_names_its_end_and_a_metric_that_is_there() {
    let metrics = std::fs::read_to_string(root().join("docs/metrics.md")).unwrap();
    for field in LimitField::ALL {
        let seen = at_limit(field);
        assert!(
            metrics.contains(&format!("`{}`", seen.series)),
            "{field:?}: {} is not in docs/metrics.md",
            seen.series
        );
        let raised = seen.end.and_then(EndReason::field_to_raise);
        assert!(
            raised.is_none_or(|raised| raised == field.path()),
            "{field:?} ends with a reason that tells to raise {raised:?}"
        );
    }
}

#[test]
fn the_document_is_what_the_table_says() {
    let path = root().join("docs/limits.md");
    if std::env::var_os("AGENTVM_UPDATE").is_some() {
        std::fs::write(&path, document()).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == document(),
        "docs/limits.md is not what the table says: its first lines say how to write it"
    );
}

fn is_known(path: &str) -> bool {
    known().any(|name| matches(name, path))
}

fn known() -> impl Iterator<Item = &'static str> {
    let unbound = UNBOUND.into_iter().flat_map(|(_, names)| names).copied();
    unbound.chain(ELSEWHERE.into_iter().map(|row| row.path))
}

/// Whether `path` is what `name` means, which may end in `*` for a whole module.
fn matches(name: &str, path: &str) -> bool {
    name.strip_suffix('*')
        .map_or(name == path, |start| path.starts_with(start))
}

fn sources() -> Vec<Constant> {
    let mut found = Vec::new();
    for name in CRATES {
        let source = root().join(name).join("src");
        for file in scan::files(&source) {
            let text = std::fs::read_to_string(&file).unwrap();
            let module = scan::module(name, file.strip_prefix(&source).unwrap());
            found.extend(constants(&module, &text));
        }
    }
    assert!(found.len() > 100, "only {} were found", found.len());
    found
}

fn root() -> PathBuf {
    let here = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo runs tests");
    Path::new(&here).join("..")
}
