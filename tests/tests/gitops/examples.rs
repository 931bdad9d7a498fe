//! The examples: applied as they stand, they leave no diff, and the tools' schemas accept them.

use std::fs;
use std::path::PathBuf;

use agentvm_tests::control_plane::ControlPlane;
use agentvm_tests::{Result, chart, scratch, workspace};
use anyhow::Context as _;
use serde_json::{Value, json};

use super::{plane, text};

/// Every manifest of the examples that is applied as it stands.
fn manifests() -> Result<Vec<PathBuf>> {
    let examples = workspace::root().join("examples");
    let folders = [
        "",
        "gitops/argocd",
        "gitops/argocd/app",
        "gitops/flux",
        "gitops/flux/install",
    ];
    let mut files = Vec::new();
    for folder in folders {
        for entry in fs::read_dir(examples.join(folder))? {
            let path = entry?.path();
            if path.extension().is_some_and(|it| it == "yaml") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Makes the namespaces that the objects of a manifest name.
fn make_namespaces(plane: &ControlPlane, yaml: &str) -> Result<()> {
    for object in chart::parse(yaml)? {
        if let Some(name) = object
            .pointer("/metadata/namespace")
            .and_then(Value::as_str)
        {
            let namespace =
                json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
            plane.kubectl.apply(&namespace.to_string())?.done()?;
        }
    }
    Ok(())
}

/// Applies a manifest and gives what `kubectl diff` shows after that.
fn diff_after_apply(plane: &ControlPlane, yaml: &str) -> Result<String> {
    make_namespaces(plane, yaml)?;
    let manager = "--field-manager=pipeline";
    let apply = [
        "apply",
        "--server-side",
        "--validate=strict",
        "--force-conflicts",
        manager,
        "-f",
        "-",
    ];
    plane.kubectl.run_with(&apply, yaml)?.done()?;
    diff(plane, yaml)
}

fn diff(plane: &ControlPlane, yaml: &str) -> Result<String> {
    let args = [
        "diff",
        "--server-side",
        "--force-conflicts",
        "--field-manager=pipeline",
        "-f",
        "-",
    ];
    let said = plane.kubectl.run_with(&args, yaml)?;
    anyhow::ensure!(
        said.ok || !said.stdout.is_empty(),
        "kubectl diff: {}",
        said.stderr
    );
    Ok(said.stdout)
}

#[test]
fn every_example_is_valid_and_leaves_no_diff_when_it_is_applied() -> Result<()> {
    let plane = plane()?;
    let manifests = manifests()?;
    assert!(manifests.len() >= 12, "{manifests:?}");
    for path in manifests {
        let yaml = fs::read_to_string(&path)?;
        let left = diff_after_apply(plane, &yaml).with_context(|| path.display().to_string())?;
        assert_eq!(left, "", "{}", path.display());
    }
    let hello = fs::read_to_string(workspace::root().join("examples/hello.yaml"))?;
    let changed = diff(plane, &hello.replace("everyone in it", "nobody"))?;
    assert!(
        changed.contains("+      value: nobody") || changed.contains("+    value: nobody"),
        "a diff is seen: {changed}"
    );
    Ok(())
}

#[test]
fn the_tools_schemas_refuse_a_typo_in_the_examples() -> Result<()> {
    let plane = plane()?;
    for (file, word, typo) in [
        ("flux/vms.yaml", "dependsOn:", "dependOn:"),
        (
            "flux/install/release.yaml",
            "reconcileStrategy:",
            "reconcileStrategie:",
        ),
        ("argocd/application.yaml", "syncPolicy:", "syncPolicie:"),
    ] {
        let yaml = fs::read_to_string(workspace::root().join("examples/gitops").join(file))?;
        make_namespaces(plane, &yaml)?;
        let args = [
            "apply",
            "--server-side",
            "--validate=strict",
            "--dry-run=server",
            "--field-manager=typo",
            "-f",
            "-",
        ];
        let said = plane
            .kubectl
            .run_with(&args, &yaml.replace(word, typo))?
            .refused()?;
        assert!(said.contains(typo.trim_end_matches(':')), "{said}");
    }
    Ok(())
}

#[test]
fn the_values_of_the_examples_are_values_of_the_chart() -> Result<()> {
    for (file, kind, path) in [
        ("flux/install/release.yaml", "HelmRelease", "/spec/values"),
        (
            "argocd/install.yaml",
            "Application",
            "/spec/source/helm/valuesObject",
        ),
    ] {
        let yaml = fs::read_to_string(workspace::root().join("examples/gitops").join(file))?;
        let objects = chart::parse(&yaml)?;
        let values = chart::find(&objects, kind, "agentvm")?.pointer(path);
        let values = values.with_context(|| format!("{file} has values"))?;
        let written = scratch::dir("values")?.join(format!("{kind}.json"));
        fs::write(&written, values.to_string())?;
        let rendered = chart::objects("agentvm-system", &["--values", text(&written)?])?;
        let operator = chart::find(&rendered, "Deployment", "agentvm-operator")?;
        let image = operator.pointer("/spec/template/spec/containers/0/image");
        let image = image.and_then(Value::as_str).unwrap_or("");
        assert!(
            image.starts_with("registry.example.com/you/agentvm:"),
            "{file}: {image}"
        );
        chart::find(&rendered, "AgentPolicy", "agentvm-default")?;
    }
    Ok(())
}

fn kustomize(plane: &ControlPlane, overlay: &str) -> Result<String> {
    let folder = workspace::root()
        .join("examples/gitops/kustomize/overlays")
        .join(overlay);
    plane.kubectl.run(&["kustomize", text(&folder)?])?.done()
}

#[test]
fn a_generated_config_map_is_found_under_its_generated_name_in_each_overlay() -> Result<()> {
    let plane = plane()?;
    let mut names = Vec::new();
    for overlay in ["dev", "prod"] {
        let yaml = kustomize(plane, overlay)?;
        let objects = chart::parse(&yaml)?;
        let vm = chart::find(&objects, "AgentVM", "primes")?;
        let reference = vm
            .pointer("/spec/env/0/valueFrom/configMapKeyRef/name")
            .and_then(Value::as_str)
            .context("a reference")?;
        chart::find(&objects, "ConfigMap", reference)?;
        assert_ne!(reference, "primes", "its name tells its contents");
        let image = vm
            .pointer("/spec/image")
            .and_then(Value::as_str)
            .context("an image")?;
        assert!(image.ends_with("/cpython:3.12"), "{image}");
        assert_eq!(diff_after_apply(plane, &yaml)?, "", "{overlay}");
        names.push(reference.to_owned());
    }
    names.dedup();
    assert_eq!(names.len(), 2, "another script is another name");
    Ok(())
}

#[test]
fn waves_begin_with_what_is_given_and_no_wave_is_empty() -> Result<()> {
    let yaml = fs::read_to_string(workspace::root().join("examples/gitops/argocd/app/desk.yaml"))?;
    let waves = chart::parse(&yaml)?.into_iter().map(|object| {
        let wave = object.pointer("/metadata/annotations/argocd.argoproj.io~1sync-wave");
        let wave = wave
            .and_then(Value::as_str)
            .and_then(|text| text.parse::<u8>().ok());
        let kind = object
            .get("kind")
            .and_then(Value::as_str)
            .unwrap_or("")
            .to_owned();
        wave.map(|wave| (wave, kind)).context("a wave")
    });
    let expected = [(0, "ConfigMap"), (1, "AgentVM"), (2, "AgentVM")]
        .map(|(wave, kind)| (wave, kind.to_owned()));
    assert_eq!(waves.collect::<Result<Vec<_>>>()?, expected);
    Ok(())
}
