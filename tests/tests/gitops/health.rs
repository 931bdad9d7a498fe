//! Argo CD's health check in its own language, kstatus itself, and `kubectl wait`.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use agentvm_crds::agentvm::Phase;
use agentvm_tests::{Result, go_module, workspace};
use anyhow::Context as _;
use serde_json::{Value, json};

use super::plane;
use super::statuses::rows;

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
    let objects = objects.join("\n");
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
