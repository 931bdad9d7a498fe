//! Every example is a manifest that a cluster would take.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a panic is the report"
)]

use std::path::{Path, PathBuf};
use std::process::Command;

fn examples() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let files = folder
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().path());
    files
        .filter(|file| {
            file.extension()
                .is_some_and(|extension| extension == "yaml")
        })
        .collect()
}

#[test]
fn every_example_is_accepted() {
    let examples = examples();
    assert!(examples.len() >= 5, "the examples have gone: {examples:?}");
    for example in examples {
        let output = Command::new(env!("CARGO_BIN_EXE_agentvm"))
            .args(["validate", "-o", "json", "-f"])
            .arg(&example)
            .output()
            .unwrap();
        let shown = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success(),
            "{}: {shown}{}",
            example.display(),
            String::from_utf8_lossy(&output.stderr)
        );
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let objects = report["objects"].as_array().unwrap();
        let vms = objects
            .iter()
            .filter(|object| object["kind"] == "AgentVM")
            .count();
        assert!(vms >= 1, "{} runs nothing", example.display());
        assert!(
            objects.iter().all(|object| object.get("notes").is_none()),
            "{}: {shown}",
            example.display()
        );
    }
}

#[test]
fn every_guest_that_an_example_names_has_its_source_or_where_to_get_it_beside_it() {
    let guests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/guests");
    for example in examples() {
        let text = std::fs::read_to_string(&example).unwrap();
        let images = text
            .lines()
            .filter_map(|line| line.trim().strip_prefix("image: localhost:5000/"));
        for image in images {
            let (name, _) = image.split_once(':').unwrap();
            assert!(
                ["main.go", "README.md"]
                    .iter()
                    .any(|source| guests.join(name).join(source).is_file()),
                "{} names {image}",
                example.display()
            );
        }
    }
}
