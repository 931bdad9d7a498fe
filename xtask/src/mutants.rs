//! The tests that switch guards off, to show that each guard holds something back.
//!
//! They need the feature `mutants` of the crates that have it, which no other build turns on.

use std::collections::BTreeSet;

use anyhow::Context as _;
use serde_json::Value;

use crate::step;

/// The feature that lets tests switch guards off.
const FEATURE: &str = "mutants";

/// Runs the integration tests of every crate that has the feature, with the feature.
///
/// All crates are selected and the tests named, since a selection of crates would build every
/// dependency again, with other features.
pub(crate) fn run() -> anyhow::Result<()> {
    let output =
        step::cargo(["metadata", "--format-version=1", "--no-deps", "--locked"])?.output()?;
    anyhow::ensure!(
        output.status.success(),
        "cargo metadata: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let selection = Selection::of(&serde_json::from_slice(&output.stdout)?)
        .context("cargo metadata has another form")?;
    anyhow::ensure!(
        !selection.tests.is_empty(),
        "no crate has the feature `{FEATURE}`: where have the guards' tests gone?"
    );
    let mut tests = step::cargo([
        "test",
        "--workspace",
        "--no-fail-fast",
        "--locked",
        "--features",
    ])?;
    tests.arg(selection.features.join(","));
    for test in &selection.tests {
        tests.args(["--test", test]);
    }
    step::run(
        "running the tests that switch guards off",
        tests.env("AGENTVM_CACHE", step::cache()?),
    )
}

#[derive(Debug, PartialEq, Eq)]
struct Selection {
    features: Vec<String>,
    tests: BTreeSet<String>,
}

impl Selection {
    fn of(metadata: &Value) -> Option<Self> {
        let packages = metadata.get("packages")?.as_array()?.iter();
        let guarded =
            packages.filter(|package| package.pointer(&format!("/features/{FEATURE}")).is_some());
        let mut selection = Self {
            features: Vec::new(),
            tests: BTreeSet::new(),
        };
        for package in guarded {
            selection
                .features
                .push(format!("{}/{FEATURE}", package.get("name")?.as_str()?));
            let targets = package.get("targets")?.as_array()?.iter();
            let tests = targets
                .filter(|target| target.pointer("/kind/0").is_some_and(|kind| kind == "test"));
            selection
                .tests
                .extend(tests.filter_map(|test| Some(test.get("name")?.as_str()?.to_owned())));
        }
        Some(selection)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tests_of_crates_with_the_feature_are_selected_and_no_others() {
        let metadata = json!({"packages": [
            {"name": "guarded", "features": {"mutants": []}, "targets": [
                {"name": "guarded", "kind": ["lib"]}, {"name": "walls", "kind": ["test"]}]},
            {"name": "plain", "features": {}, "targets": [{"name": "laws", "kind": ["test"]}]},
        ]});
        let selection = Selection::of(&metadata).unwrap();
        assert_eq!(selection.features, ["guarded/mutants"]);
        assert_eq!(selection.tests, BTreeSet::from(["walls".to_owned()]));
    }
}
