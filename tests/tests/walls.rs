//! The walls between the crates, over `cargo metadata`: who may depend on whom, and what no
//! process of a kind may hold.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests: a panic is the report"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Each crate of the workspace, and the crates of ours that it may depend on outside its tests.
const WALLS: [(&str, &[&str]); 19] = [
    ("agentvm-guards", &[]),
    ("agentvm-policy", &["agentvm-guards"]),
    ("agentvm-vfs", &["agentvm-guards"]),
    ("agentvm-crds", &["agentvm-policy"]),
    ("agentvm-cell-api", &["agentvm-policy"]),
    (
        "agentvm-runtime",
        &["agentvm-guards", "agentvm-policy", "agentvm-vfs"],
    ),
    ("agentvm-jail", &["agentvm-cell-api"]),
    ("agentvm-jail-attacker", &[]),
    (
        "agentvm-cell",
        &[
            "agentvm-cell-api",
            "agentvm-guards",
            "agentvm-jail",
            "agentvm-policy",
            "agentvm-runtime",
            "agentvm-vfs",
        ],
    ),
    (
        "agentvm-gateway",
        &[
            "agentvm-cell-api",
            "agentvm-guards",
            "agentvm-jail",
            "agentvm-policy",
        ],
    ),
    (
        "agentvm-operator",
        &["agentvm-crds", "agentvm-guards", "agentvm-policy"],
    ),
    (
        "agentvm-node-agent",
        &[
            "agentvm-cell-api",
            "agentvm-crds",
            "agentvm-guards",
            "agentvm-policy",
        ],
    ),
    (
        "agentvm",
        &[
            "agentvm-cell",
            "agentvm-cell-api",
            "agentvm-crds",
            "agentvm-gateway",
            "agentvm-guards",
            "agentvm-node-agent",
            "agentvm-policy",
        ],
    ),
    (
        "agentvm-tests",
        &[
            "agentvm-cell",
            "agentvm-cell-api",
            "agentvm-crds",
            "agentvm-gateway",
            "agentvm-policy",
            "agentvm-runtime",
            "agentvm-vfs",
        ],
    ),
    (
        "agentvm-bench",
        &[
            "agentvm-cell-api",
            "agentvm-policy",
            "agentvm-runtime",
            "agentvm-tests",
            "agentvm-vfs",
        ],
    ),
    (
        "agentvm-fuzz-driver",
        &["agentvm-policy", "agentvm-runtime", "agentvm-vfs"],
    ),
    (
        "agentvm-fuzz-modules",
        &["agentvm-policy", "agentvm-runtime"],
    ),
    (
        "agentvm-fuzz-requests",
        &["agentvm-gateway", "agentvm-policy"],
    ),
    ("xtask", &[]),
];

const KUBE: [&str; 4] = ["kube", "kube-client", "kube-core", "k8s-openapi"];
const TLS: [&str; 8] = [
    "rustls",
    "native-tls",
    "openssl",
    "openssl-sys",
    "ring",
    "aws-lc-rs",
    "tokio-rustls",
    "reqwest",
];
const WASMTIME: [&str; 4] = [
    "wasmtime",
    "wasmtime-wasi",
    "cranelift-codegen",
    "wasmparser",
];
const IO: [&str; 4] = ["tokio", "hyper", "rustix", "jiff"];

/// What a crate must not reach by any way, outside its tests.
fn forbidden() -> Vec<(&'static str, Vec<&'static str>)> {
    vec![
        ("agentvm-policy", [&KUBE[..], &TLS, &WASMTIME, &IO].concat()),
        ("agentvm-crds", WASMTIME.to_vec()),
        ("agentvm-cell-api", [&KUBE[..], &TLS, &WASMTIME].concat()),
        ("agentvm-runtime", [&KUBE[..], &TLS].concat()),
        ("agentvm-jail", [&KUBE[..], &TLS, &WASMTIME].concat()),
        ("agentvm-cell", [&KUBE[..], &TLS].concat()),
        ("agentvm-gateway", [&KUBE[..], &WASMTIME].concat()),
        ("agentvm-operator", WASMTIME.to_vec()),
        ("agentvm-node-agent", WASMTIME.to_vec()),
        ("xtask", [&KUBE[..], &TLS, &WASMTIME, &IO].concat()),
    ]
}

#[test]
fn crates_depend_on_each_other_only_as_the_design_allows() {
    let graph = Graph::load();
    let table: BTreeMap<_, _> = WALLS.into_iter().collect();
    for name in &graph.members {
        let allowed = table.get(name.as_str());
        let allowed =
            allowed.unwrap_or_else(|| panic!("{name} is new: say in WALLS what it may depend on"));
        let ours = graph
            .direct(name)
            .filter(|dependency| graph.members.contains(*dependency));
        let through: Vec<_> = ours
            .filter(|dependency| !allowed.contains(dependency))
            .collect();
        assert!(through.is_empty(), "{name} must not depend on {through:?}");
    }
}

#[test]
fn no_crate_reaches_a_library_that_its_process_must_not_hold() {
    let graph = Graph::load();
    for (name, forbidden) in forbidden() {
        let reached = graph.reached(name);
        let through: Vec<_> = forbidden
            .iter()
            .filter(|library| reached.contains(**library))
            .collect();
        assert!(
            through.is_empty(),
            "{name} must not reach {through:?}: `cargo tree -p {name} -i` shows the way"
        );
    }
}

/// Without this a walk that finds nothing would keep the wall above green for ever.
#[test]
fn walk_finds_the_libraries_where_they_are() {
    let graph = Graph::load();
    for (name, library) in [
        ("agentvm-runtime", "wasmtime"),
        ("agentvm-cell", "cranelift-codegen"),
        ("agentvm-operator", "kube-client"),
        ("agentvm-node-agent", "rustls"),
        ("agentvm", "ring"),
    ] {
        assert!(
            graph.reached(name).contains(library),
            "{name} no longer reaches {library}: is its name still right?"
        );
    }
}

#[test]
fn every_crate_inherits_the_lints_and_says_what_it_is() {
    let metadata = metadata();
    for package in members(&metadata) {
        let name = package["name"].as_str().unwrap();
        let manifest = std::fs::read_to_string(package["manifest_path"].as_str().unwrap()).unwrap();
        assert!(
            manifest.contains("[lints]\nworkspace = true"),
            "{name} does not inherit the workspace's lints"
        );
        let description = package["description"].as_str().unwrap_or_default();
        assert!(
            description.split_whitespace().count() >= 4,
            "{name} needs a sentence as its description"
        );
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked"])
        // What is not for this machine was never downloaded on a bare one.
        .args(["--offline", "--filter-platform", "host-tuple"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "cargo metadata: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

fn members(metadata: &Value) -> impl Iterator<Item = &Value> {
    let ids = metadata["workspace_members"].as_array().unwrap();
    metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|package| ids.contains(&package["id"]))
}

/// Who depends on whom, outside tests, by package name.
struct Graph {
    members: BTreeSet<String>,
    edges: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    fn load() -> Self {
        let metadata = metadata();
        let packages = metadata["packages"].as_array().unwrap();
        let name = |package: &Value| package["name"].as_str().unwrap().to_owned();
        let names: BTreeMap<_, _> = packages
            .iter()
            .map(|it| (it["id"].as_str().unwrap(), name(it)))
            .collect();
        let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for node in metadata["resolve"]["nodes"].as_array().unwrap() {
            let from = &names[node["id"].as_str().unwrap()];
            let dependencies = node["deps"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|dependency| is_for_linux_builds(dependency));
            let to =
                dependencies.map(|dependency| names[dependency["pkg"].as_str().unwrap()].clone());
            edges.entry(from.clone()).or_default().extend(to);
        }
        Self {
            members: members(&metadata).map(name).collect(),
            edges,
        }
    }

    fn direct(&self, name: &str) -> impl Iterator<Item = &str> {
        self.edges[name].iter().map(String::as_str)
    }

    fn reached(&self, name: &str) -> BTreeSet<&str> {
        let mut reached = BTreeSet::new();
        let mut open: Vec<_> = self.direct(name).collect();
        while let Some(next) = open.pop() {
            if reached.insert(next) {
                open.extend(self.direct(next));
            }
        }
        reached
    }
}

/// Whether a dependency is more than one of tests, or of other systems than Linux.
fn is_for_linux_builds(dependency: &Value) -> bool {
    dependency["dep_kinds"]
        .as_array()
        .unwrap()
        .iter()
        .any(|kind| {
            let elsewhere = [
                "windows", "macos", "wasm32", "wasi", "hermit", "redox", "apple", "android",
            ];
            let target = kind["target"].as_str().unwrap_or_default();
            kind["kind"] != "dev"
                && (target.contains("not(")
                    || !elsewhere.iter().any(|system| target.contains(system)))
        })
}
