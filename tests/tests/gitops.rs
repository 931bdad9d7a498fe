//! What `GitOps` pipelines see: Argo CD's health check, kstatus and `kubectl wait` in every phase,
//! applies that leave no diff, and examples that the tools' own schemas accept.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use agentvm_crds::agentvm::Phase;
use agentvm_crds::conditions::{
    AcceptedReason, AgentView, At, Cause, ImageReason, OperatorView, PlacedReason, Report, agent,
    operator,
};
use agentvm_policy::EndReason;
use agentvm_tests::control_plane::ControlPlane;
use agentvm_tests::{Result, chart, cluster, crd, go_module, scratch, workspace};
use anyhow::Context as _;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

/// The CRDs of the tools whose objects the examples hold: module and folder.
const TOOLS: [(&str, &str); 4] = [
    (
        "github.com/fluxcd/source-controller@v1.7.0",
        "config/crd/bases",
    ),
    (
        "github.com/fluxcd/helm-controller@v1.4.0",
        "config/crd/bases",
    ),
    (
        "github.com/fluxcd/kustomize-controller@v1.7.3",
        "config/crd/bases",
    ),
    ("github.com/argoproj/argo-cd/v2@v2.14.0", "manifests/crds"),
];

/// What is expected of an object in one of its phases.
struct Row {
    /// Who reported what.
    case: &'static str,
    phase: Phase,
    argo: &'static str,
    kstatus: &'static str,
    object: Value,
}

const MESSAGE: &str = "one sentence";

/// What operators report, with what Argo CD and kstatus should make of it.
fn of_the_operator() -> [(
    &'static str,
    OperatorView<'static>,
    &'static str,
    &'static str,
); 4] {
    let unplaced = OperatorView::Unplaced {
        reason: PlacedReason::Unschedulable,
        message: MESSAGE,
    };
    let refused = OperatorView::Refused {
        reason: AcceptedReason::PolicyRefused,
        message: MESSAGE,
    };
    let assigning = OperatorView::Assigning { node: "flint" };
    [
        ("no node fits", unplaced, "Progressing", "InProgress"),
        ("refused by a policy", refused, "Degraded", "Failed"),
        (
            "suspended before it was placed",
            OperatorView::Suspended,
            "Healthy",
            "Current",
        ),
        ("assigned just now", assigning, "Progressing", "InProgress"),
    ]
}

/// What agents report.
fn of_the_agent() -> [(&'static str, AgentView<'static>, &'static str, &'static str); 8] {
    let waiting = |cause| AgentView::BackOff {
        cause,
        message: MESSAGE,
    };
    let failed = |cause| AgentView::Failed {
        cause,
        message: MESSAGE,
    };
    let trap = Cause::Ended(EndReason::Trap);
    let absent = Cause::Image(ImageReason::ConfigMapNotFound);
    let invalid = Cause::Image(ImageReason::InvalidModule);
    let complete = AgentView::Complete { message: MESSAGE };
    [
        ("starting", AgentView::Starting, "Progressing", "InProgress"),
        ("running", AgentView::Running, "Healthy", "Current"),
        (
            "waiting after a trap",
            waiting(trap),
            "Progressing",
            "InProgress",
        ),
        (
            "waiting for a ConfigMap",
            waiting(absent),
            "Progressing",
            "InProgress",
        ),
        ("suspended", AgentView::Suspended, "Healthy", "Current"),
        ("complete", complete, "Healthy", "Current"),
        ("failed by a trap", failed(trap), "Degraded", "Failed"),
        (
            "failed by its module",
            failed(invalid),
            "Degraded",
            "Failed",
        ),
    ]
}

/// The statuses that operator and agent write, from the very functions that write them.
fn rows() -> Result<Vec<Row>> {
    let now = Time("2030-01-01T12:00:00Z".parse()?);
    let at = At {
        generation: Some(1),
        now: &now,
        previous: &[],
    };
    let mut rows = Vec::new();
    for (case, view, argo, kstatus) in of_the_operator() {
        rows.push(row(case, &[operator(&view, &at)], argo, kstatus)?);
    }
    for (case, view, argo, kstatus) in of_the_agent() {
        let placed = operator(
            &OperatorView::Assigned {
                node: "flint",
                refused: None,
            },
            &at,
        );
        rows.push(row(case, &[placed, agent(&view, &at)], argo, kstatus)?);
    }
    Ok(rows)
}

/// An object whose status is what `reports` say together.
fn row(
    case: &'static str,
    reports: &[Report],
    argo: &'static str,
    kstatus: &'static str,
) -> Result<Row> {
    let phase = reports
        .iter()
        .find_map(|report| report.phase)
        .context("someone owns the phase")?;
    let conditions: Vec<_> = reports
        .iter()
        .flat_map(|report| &report.conditions)
        .collect();
    let object = json!({
        "apiVersion": "agentvm.dev/v1alpha1", "kind": "AgentVM",
        "metadata": {"name": "heron", "namespace": "default", "generation": 1},
        "spec": {"image": "localhost:5000/heron:v1"},
        "status": {"observedGeneration": 1, "phase": phase.as_str(), "conditions": conditions},
    });
    Ok(Row {
        case,
        phase,
        argo,
        kstatus,
        object,
    })
}

#[test]
fn the_recorded_statuses_are_of_every_phase() -> Result<()> {
    let rows = rows()?;
    for phase in Phase::ALL {
        assert!(
            rows.iter().any(|row| row.phase == phase),
            "{}",
            phase.as_str()
        );
    }
    Ok(())
}

/// A control plane with our CRDs and those of the tools; nobody guards a status here.
fn plane() -> Result<&'static ControlPlane> {
    static PLANE: OnceLock<Result<ControlPlane, String>> = OnceLock::new();
    let plane = PLANE.get_or_init(|| start().map_err(|error| format!("{error:?}")));
    plane.as_ref().map_err(|error| anyhow::anyhow!("{error}"))
}

fn start() -> Result<ControlPlane> {
    let plane = cluster::install("gitops", &["crds/yaml"])?;
    for (module, folder) in TOOLS {
        let folder = go_module::yaml_files(module, folder)?;
        let mut crds: Vec<PathBuf> = fs::read_dir(&folder)?
            .map(|entry| Ok(entry?.path()))
            .collect::<Result<_>>()?;
        crds.retain(|path| !path.ends_with("kustomization.yaml"));
        assert!(!crds.is_empty(), "{module} has CRDs");
        for crd in crds {
            plane
                .kubectl
                .run(&["apply", "--server-side", "-f", text(&crd)?])?
                .done()?;
        }
    }
    crd::wait_until_established(&plane)?;
    Ok(plane)
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("the path is UTF-8")
}

/// A value as Lua writes it.
fn lua(value: &Value) -> String {
    match value {
        Value::Null => "nil".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) => {
            let bytes = text.bytes().map(|byte| format!("\\{byte:03}"));
            format!("\"{}\"", bytes.collect::<String>())
        }
        Value::Array(items) => format!(
            "{{{}}}",
            items.iter().map(lua).collect::<Vec<_>>().join(", ")
        ),
        Value::Object(fields) => {
            let fields = fields
                .iter()
                .map(|(name, value)| format!("[\"{name}\"] = {}", lua(value)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(", "))
        }
    }
}

/// What Argo CD's health check says of `object`: status and message.
fn argo(object: &Value) -> Result<(String, String)> {
    let file = workspace::root().join("examples/gitops/argocd/argocd-cm.yaml");
    let config: Value = serde_yaml::from_str(&fs::read_to_string(file)?)?;
    let check = config
        .pointer("/data/resource.customizations.health.agentvm.dev_AgentVM")
        .and_then(Value::as_str)
        .context("a health check")?;
    let script = format!(
        "obj = {}\nlocal function check()\n{check}\nend\nlocal hs = check()\nprint(hs.status)\nprint(hs.message)\n",
        lua(object)
    );
    // The version whose language Argo CD's own interpreter speaks.
    let said = piped(Command::new("lua5.1").arg("-"), &script)?;
    let (status, message) = said.trim_end().split_once('\n').context("two lines")?;
    Ok((status.to_owned(), message.to_owned()))
}

fn piped(command: &mut Command, input: &str) -> Result<String> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| agentvm_tests::program::missing(command.get_program()))?;
    child
        .stdin
        .take()
        .context("a standard input")?
        .write_all(input.as_bytes())?;
    let output = child.wait_with_output()?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(
        output.status.success(),
        "{}: {complaint}",
        command.get_program().display()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn argo_cd_tells_the_health_of_every_phase() -> Result<()> {
    for row in rows()? {
        let (status, message) = argo(&row.object)?;
        assert_eq!(status, row.argo, "{}", row.case);
        assert!(
            message.contains(": ") && !message.ends_with(": "),
            "{}: {message}",
            row.case
        );
    }
    Ok(())
}

#[test]
fn argo_cd_waits_for_an_operator_that_has_not_seen_the_object() -> Result<()> {
    let mut rows = rows()?;
    let running = rows
        .iter_mut()
        .find(|row| row.case == "running")
        .context("running")?;
    let metadata = running
        .object
        .get_mut("metadata")
        .and_then(Value::as_object_mut)
        .context("metadata")?;
    metadata.insert("generation".to_owned(), json!(2));
    assert_eq!(argo(&running.object)?.0, "Progressing");
    let new = json!({"metadata": {"generation": 1}, "spec": {}});
    assert_eq!(argo(&new)?.0, "Progressing");
    let assigned_only = json!({"metadata": {"generation": 1}, "status": {"conditions": []}});
    assert_eq!(argo(&assigned_only)?.0, "Progressing");
    Ok(())
}

#[test]
fn kstatus_itself_judges_every_phase_as_documented() -> Result<()> {
    let rows = rows()?;
    let objects: Vec<String> = rows.iter().map(|row| row.object.to_string()).collect();
    let objects = objects.join(
        "
",
    );
    let said = piped(&mut Command::new(go_module::program("kstatus")?), &objects)?;
    let said: Vec<(&str, &str)> = rows.iter().map(|row| row.case).zip(said.lines()).collect();
    let expected: Vec<(&str, &str)> = rows.iter().map(|row| (row.case, row.kstatus)).collect();
    assert_eq!(said, expected);
    Ok(())
}

#[test]
fn kubectl_wait_returns_in_the_phases_that_it_should() -> Result<()> {
    let plane = plane()?;
    let collection = "/apis/agentvm.dev/v1alpha1/namespaces/default/agentvms";
    let waits = |condition: &str| -> Result<bool> {
        let condition = format!("--for=condition={condition}");
        Ok(plane
            .kubectl
            .run(&["wait", &condition, "--timeout=0s", "agentvm/heron"])?
            .ok)
    };
    for row in rows()? {
        let object = json!({"apiVersion": "agentvm.dev/v1alpha1", "kind": "AgentVM", "metadata": {"name": "heron"},
            "spec": row.object.get("spec")});
        plane.api.create(collection, &object)?;
        let status = row.object.get("status").context("a status")?;
        plane
            .kubectl
            .patch_status("default", "agentvm/heron", status)?
            .done()?;
        let phase = row.phase;
        assert_eq!(waits("Ready")?, row.kstatus == "Current", "{}", row.case);
        assert_eq!(waits("Complete")?, phase == Phase::Complete, "{}", row.case);
        assert_eq!(waits("Stalled")?, phase == Phase::Failed, "{}", row.case);
        assert_eq!(waits("Failed")?, phase == Phase::Failed, "{}", row.case);
        plane.api.delete(&format!("{collection}/heron"))?;
    }
    Ok(())
}

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
