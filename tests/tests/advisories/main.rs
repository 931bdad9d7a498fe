//! E15: no lock file names a version of a package with a vulnerability that is known here, and the
//! runtime's packages are of one release.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests: a panic is the report"
)]

mod unreached;

use std::collections::BTreeSet;
use std::path::Path;

/// Every lock file of the repository.
const LOCKS: [&str; 2] = ["Cargo.lock", "fuzz/Cargo.lock"];

/// Cranelift's minor version is this much higher than the major one of the wasmtime that it is of.
const CRANELIFT_AHEAD: u64 = 87;

type Version = [u64; 3];

/// From the first of them on, and before the second.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Range {
    from: Version,
    before: Option<Version>,
}

#[derive(Debug)]
struct Advisory<'text> {
    id: &'text str,
    package: &'text str,
    fixed: Vec<Range>,
}

/// Without what marks a build or a version before a release, which no fix is in.
fn version(text: &str) -> Version {
    let parts = text.split(['+', '-']).next().unwrap().split('.');
    let parts: Vec<u64> = parts.map(|part| part.parse().unwrap()).collect();
    parts.try_into().unwrap()
}

fn range(text: &str) -> Range {
    let mut range = Range {
        from: [0; 3],
        before: None,
    };
    for bound in text.split_whitespace() {
        match (bound.strip_prefix(">="), bound.strip_prefix('<')) {
            (Some(from), _) => range.from = version(from),
            (_, Some(before)) => range.before = Some(version(before)),
            (None, None) => panic!("{bound} is no bound"),
        }
    }
    range
}

/// None at all where no version is without the vulnerability.
fn ranges(text: &str) -> Vec<Range> {
    match text {
        "none" => Vec::new(),
        _ => text.split(',').map(range).collect(),
    }
}

fn advisories() -> Vec<Advisory<'static>> {
    let lines = include_str!("known.txt").lines();
    lines
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let columns: Vec<&str> = line.split('|').map(str::trim).collect();
            let [id, package, fixed] = columns.try_into().unwrap();
            Advisory {
                id,
                package,
                fixed: ranges(fixed),
            }
        })
        .collect()
}

impl Advisory<'_> {
    fn concerns(&self, package: &str, version: Version) -> bool {
        let is_fixed = |range: &Range| {
            range.from <= version && range.before.is_none_or(|before| version < before)
        };
        self.package == package && !self.fixed.iter().any(is_fixed)
    }
}

/// What a lock file names.
fn packages(lock: &str) -> Vec<(String, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(lock);
    let text = std::fs::read_to_string(path).unwrap();
    let value = |line: &str, key: &str| Some(line.strip_prefix(key)?.trim_matches('"').to_owned());
    let lines: Vec<&str> = text.lines().collect();
    let pairs = lines.iter().zip(lines.iter().skip(1));
    pairs
        .filter_map(|(name, of)| Some((value(name, "name = ")?, value(of, "version = ")?)))
        .collect()
}

#[test]
fn e15_no_package_is_of_a_version_with_a_known_vulnerability() {
    let unreached = unreached::ids();
    let mut advisories = advisories();
    advisories.retain(|advisory| !unreached.contains(&advisory.id));
    for lock in LOCKS {
        for (package, text) in packages(lock) {
            for advisory in &advisories {
                assert!(
                    !advisory.concerns(&package, version(&text)),
                    "{lock}: {package} {text} has {}: update it to one of {:?}, or say in unreached.txt \
                     what holds it back",
                    advisory.id,
                    advisory.fixed
                );
            }
        }
    }
}

#[test]
fn e15_what_is_listed_is_about_what_is_used() {
    let used: BTreeSet<String> = packages("Cargo.lock")
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    for Advisory { id, package, .. } in advisories() {
        assert!(used.contains(package), "{id}: nothing depends on {package}");
    }
}

#[test]
fn e15_an_older_version_is_found() {
    let advisories = advisories();
    for (id, text, expected) in [
        ("RUSTSEC-2026-0269", "47.0.3", true),
        ("RUSTSEC-2026-0269", "47.0.4", false),
        ("RUSTSEC-2026-0188", "36.0.11", true),
        ("RUSTSEC-2026-0188", "36.0.12", false),
        ("RUSTSEC-2026-0570", "46.0.3", false),
        ("RUSTSEC-2026-0570", "48.0.8", true),
        ("RUSTSEC-2026-0258", "0.4.15", true),
        ("RUSTSEC-2024-0449", "0.2.11", true),
    ] {
        let advisory = advisories
            .iter()
            .find(|advisory| advisory.id == id)
            .unwrap();
        let found = advisory.concerns(advisory.package, version(text));
        assert_eq!(found, expected, "{id} in {} {text}", advisory.package);
    }
}

/// A fix of the code generator is none while the runtime beside it is older, or the reverse.
#[test]
fn e15_the_runtime_and_its_code_generator_are_of_one_release() {
    for lock in LOCKS {
        let versions = |is_one: fn(&str) -> bool| {
            let packages = packages(lock).into_iter();
            let ours = packages.filter(move |(name, _)| is_one(name));
            ours.map(|(_, text)| version(&text))
                .collect::<BTreeSet<_>>()
        };
        let runtime = versions(|name| name == "wasmtime" || name.starts_with("wasmtime-"));
        let generator = versions(|name| name.starts_with("cranelift-"));
        let [release] = runtime.into_iter().collect::<Vec<_>>().try_into().unwrap();
        let [major, minor, patch] = release;
        assert_eq!(minor, 0, "{lock}");
        let expected = BTreeSet::from([[0, major + CRANELIFT_AHEAD, patch]]);
        assert_eq!(generator, expected, "{lock}: beside wasmtime {release:?}");
    }
}
