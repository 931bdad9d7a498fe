//! Clusters that lack roles or have CRDs of another version: operator and agent say in one
//! sentence what is missing and what brings it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use agentvm_tests::built::binary;
use agentvm_tests::control_plane::ControlPlane;
use agentvm_tests::process::Process;
use agentvm_tests::{Result, crd, http, scratch, wait, workspace};
use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const VMS: &str = "agentvms.agentvm.dev";
const NODES: &str = "agentnodes.agentvm.dev";

fn plane(name: &str) -> Result<(ControlPlane, PathBuf)> {
    let dir = scratch::dir(name)?;
    Ok((ControlPlane::start(&dir)?, dir))
}

/// An operator that has its Lease in the namespace `default`.
fn operator(dir: &Path, name: &str, kubeconfig: &Path) -> Result<Process> {
    let listen = http::loopback(http::free_port()?).to_string();
    Process::start(name, dir, binary("agentvm-operator")?, |command| {
        command.env_clear().env("KUBECONFIG", kubeconfig).args([
            "--identity",
            name,
            "--listen",
            &listen,
            "--system-namespace",
            "default",
        ])
    })
}

/// An agent without a warden.
fn agent(dir: &Path, name: &str, kubeconfig: &Path) -> Result<Process> {
    let listen = http::loopback(http::free_port()?).to_string();
    let run_dir = dir.join(format!("run-{name}"));
    fs::create_dir(&run_dir)?;
    Process::start(name, dir, binary("agentvm-node-agent")?, |command| {
        command
            .env_clear()
            .env("KUBECONFIG", kubeconfig)
            .args(["--node-name", "flint", "--lease-namespace", "default"])
            .args(["--listen", &listen, "--run-dir"])
            .arg(run_dir)
    })
}

/// Waits for a line of the log that holds all of these words.
fn says(process: &Process, words: &[&str]) -> Result<()> {
    wait::until(&format!("a line with {words:?}"), || {
        process.must_run()?;
        let log = process.stderr()?;
        let said = log
            .lines()
            // What is quoted in a sentence is quoted once more in a line of JSON.
            .map(|line| line.replace("\\\"", "\""))
            .any(|line| words.iter().all(|word| line.contains(word)));
        Ok(wait::yes_if(said, || log))
    })
}

#[test]
fn who_lacks_a_role_names_the_verb_the_resource_and_what_brings_it_back() -> Result<()> {
    let (plane, dir) = plane("no-roles")?;
    let heron = plane.kubeconfig_of_person("heron")?;
    let words = [
        "User \"heron\" cannot get resource \"leases\"",
        "in the namespace \"default\"",
        "`helm upgrade` brings them back",
        "`kubectl apply --server-side -f deploy`",
    ];
    says(&operator(&dir, "operator", &heron)?, &words)?;
    says(&agent(&dir, "agent", &heron)?, &words)?;

    // A role too few: the election is won, and a watch is refused.
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
        "metadata": {"name": "leases", "namespace": "default"},
        "rules": [{"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["*"]}],
    });
    plane.kubectl.apply(&role.to_string())?.done()?;
    let bind = [
        "create",
        "rolebinding",
        "leases",
        "--role=leases",
        "--user=heron",
    ];
    plane.kubectl.run(&bind)?.done()?;
    let words = [
        "watch failed",
        "\"kind\":\"Node\"",
        "User \"heron\" cannot list resource \"nodes\"",
        "`helm upgrade` brings them back",
    ];
    says(&operator(&dir, "operator-2", &heron)?, &words)
}

#[test]
fn crds_of_another_version_are_told_at_the_start_with_what_to_run() -> Result<()> {
    let (plane, dir) = plane("skew")?;
    let admin = plane.kubectl.kubeconfig().to_owned();

    let without = operator(&dir, "without", &admin)?;
    says(
        &without,
        &["CRD agentvms.agentvm.dev is not installed", "apply-crds"],
    )?;
    let kind = "the API server does not serve this kind";
    says(
        &without,
        &["watch failed", "\"kind\":\"AgentPolicy\"", kind],
    )?;
    drop(without);

    install(&plane, VMS, |_| Ok(()))?;
    install(&plane, NODES, |crd| {
        age(crd, "0.0.9");
        remove_status_field(crd, "version")
    })?;
    crd::wait_until_established(&plane)?;
    let older = operator(&dir, "older", &admin)?;
    let words = [
        "is of 0.0.9, older than this program of 0.1.0",
        "`helm upgrade`",
    ];
    says(&older, &words)?;
    let agent = agent(&dir, "agent", &admin)?;
    says(
        &agent,
        &[
            "AgentNode was not written",
            "older than this program",
            "`helm upgrade`",
        ],
    )?;
    drop((older, agent));

    plane
        .kubectl
        .run(&[
            "annotate",
            "--overwrite",
            "crd",
            VMS,
            "agentvm.dev/version=9.0.0",
        ])?
        .done()?;
    let newer = operator(&dir, "newer", &admin)?;
    says(
        &newer,
        &[
            "is of 9.0.0, newer than this program of 0.1.0",
            "upgrade the release",
        ],
    )
}

#[test]
fn crds_that_hold_objects_of_another_version_are_left_alone_with_a_sentence() -> Result<()> {
    let (plane, dir) = plane("stored")?;
    let admin = plane.kubectl.kubeconfig().to_owned();
    install(&plane, VMS, |crd| {
        age(crd, "0.0.9");
        let versions = crd.pointer_mut("/spec/versions/0").context("a version")?;
        if let Some(version) = versions.as_object_mut() {
            version.insert("name".to_owned(), json!("v1beta1"));
        }
        Ok(())
    })?;
    crd::wait_until_established(&plane)?;
    let mut apply = Command::new(binary("agentvm")?);
    let applied = apply
        .args(["cluster", "apply-crds"])
        .env("KUBECONFIG", &admin)
        .output()?;
    ensure!(!applied.status.success(), "it should have been refused");
    let said = String::from_utf8_lossy(&applied.stderr).into_owned();
    assert_eq!(said.trim().lines().count(), 1, "{said}");
    for word in [
        "CRD agentvms.agentvm.dev can't be applied",
        "v1beta1",
        "storedVersions",
    ] {
        assert!(said.contains(word), "no word on {word}: {said}");
    }
    let operator = operator(&dir, "operator", &admin)?;
    let words = [
        "CRD agentvms.agentvm.dev serves v1beta1",
        "speaks v1alpha1 alone",
    ];
    says(&operator, &words)
}

/// Installs one CRD, changed.
fn install(
    plane: &ControlPlane,
    name: &str,
    change: impl FnOnce(&mut Value) -> Result<()>,
) -> Result<()> {
    let file = name.split('.').next().unwrap_or_default();
    let yaml = workspace::root().join(format!("crds/yaml/{file}.yaml"));
    let mut crd: Value = serde_yaml::from_str(&fs::read_to_string(yaml)?)?;
    change(&mut crd)?;
    plane.api.create(CRDS, &crd).map(|_| ())
}

fn age(crd: &mut Value, version: &str) {
    if let Some(annotations) = crd
        .pointer_mut("/metadata/annotations")
        .and_then(Value::as_object_mut)
    {
        annotations.insert("agentvm.dev/version".to_owned(), json!(version));
    }
}

fn remove_status_field(crd: &mut Value, field: &str) -> Result<()> {
    let path = "/spec/versions/0/schema/openAPIV3Schema/properties/status/properties";
    let fields = crd.pointer_mut(path).and_then(Value::as_object_mut);
    let fields = fields.context("a schema of the status")?;
    // A column may name it.
    fields.remove(field).context("a field to remove")?;
    Ok(())
}
