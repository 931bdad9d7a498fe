//! `agentvm run`: a VM with a key, one path and nothing else.

use std::fs;
use std::process::{Command, Output};

use agentvm_tests::built::binary;
use agentvm_tests::program::output_of;
use agentvm_tests::vm::manifest;
use agentvm_tests::{Result, guests, panics, scratch};
use anyhow::ensure;
use serde_json::{Value, json};

use crate::outside::{API, Outside};
use crate::site::{asks, with_key};

const KEY: &str = "CANARY-alone-77aa21";
const IMAGE: &str = "registry.test/guests/ask:v1";

fn policy(egress: &Value) -> Value {
    json!({
        "apiVersion": "agentvm.dev/v1alpha1", "kind": "AgentPolicy",
        "metadata": {"name": "open"},
        "spec": {"namespaceSelector": {}, "capabilities": {"network": {"egress": egress}}},
    })
}

fn secret(key: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"},
        "stringData": {"token": key},
    })
}

fn asker(args: &[String]) -> Value {
    let spec = json!({
        "image": IMAGE, "args": args,
        "capabilities": asks(&[with_key(API)]),
        "limits": {"memory": "128Mi", "cpu": "1"},
    });
    manifest("asker", &spec)
}

/// Runs the documents in the network of `outside`.
fn run(name: &str, documents: &[Value], outside: &Outside) -> Result<Output> {
    let dir = scratch::dir(name)?;
    let yaml: Vec<String> = documents.iter().map(Value::to_string).collect();
    fs::write(dir.join("vm.yaml"), yaml.join("\n---\n"))?;
    let place = &outside.place;
    let output = output_of(
        Command::new("nsenter")
            .arg(format!("--net={}", place.network.display()))
            .arg("--")
            .arg(binary("agentvm")?)
            .args(["run", "-f"])
            .arg(dir.join("vm.yaml"))
            .arg("--module")
            .arg(format!("{IMAGE}={}", guests::go_for_vms("ask")?.display()))
            .arg("--root-certificates")
            .arg(&place.root_certificates)
            .args(["--name-server", &place.name_server.to_string()])
            .arg("--access-log")
            .arg(dir.join("access.log"))
            .env("HTTPS_PROXY", "http://93.184.9.9:3128"),
    )?;
    assert_eq!(
        panics::in_log(&String::from_utf8_lossy(&output.stderr)),
        None
    );
    Ok(output)
}

#[test]
fn a_standalone_vm_reaches_its_one_path_with_a_key_that_it_never_sees() -> Result<()> {
    let outside = Outside::start(&scratch::dir("re-st-out")?);
    let args = [
        format!("GET https://{API}/v1/x"),
        format!("GET https://{API}/v2/x"),
        format!("POST https://{API}/v1/x"),
        "GET https://evil.example.org/secret-path".to_owned(),
        "GET http://169.254.169.254/".to_owned(),
    ];
    let everything = json!([{"host": "*", "methods": ["*"], "paths": ["*"]}]);
    let documents = [policy(&everything), secret(KEY), asker(&args)];
    let output = run("re-st", &documents, &outside)?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{stdout}\n{stderr}");
    let denied = "HTTP-request-denied";
    let wanted = [
        format!("{}: 200  api", args[0]),
        format!("{}: {denied}", args[1]),
        format!("{}: {denied}", args[2]),
        format!("{}: {denied}", args[3]),
        format!("{}: {denied}", args[4]),
    ];
    assert_eq!(stdout.lines().collect::<Vec<_>>(), wanted, "{stderr}");

    let sent = outside.api.requests().concat();
    ensure!(sent.contains(&format!("Bearer {KEY}")), "{sent}");
    ensure!(!sent.contains("guests own"), "{sent}");
    assert_eq!(outside.dns.asked(), [API]);

    // Each host is warned of once, without what stands behind it.
    for host in [API, "evil.example.org", "169.254.169.254"] {
        let start = "agentvm: default/asker: EgressDenied: ";
        let warnings = stderr.lines().filter(|line| line.starts_with(start));
        let of_host = warnings.filter(|line| line.contains(host)).count();
        assert_eq!(of_host, 1, "{host}: {stderr}");
    }
    ensure!(!stderr.contains("secret-path"), "{stderr}");
    let log = fs::read_to_string(scratch::dir("re-st")?.join("access.log"))?;
    assert_eq!(log.lines().count(), args.len(), "{log}");
    ensure!(
        !log.contains("/v1") && !log.contains("secret-path"),
        "{log}"
    );
    for (who, said) in [
        ("stdout", stdout),
        ("stderr", stderr),
        ("the access log", log),
    ] {
        ensure!(!said.contains(KEY), "{who} tells the key: {said}");
    }
    Ok(())
}

#[test]
fn what_a_standalone_run_lacks_is_said_before_anything_is_started() -> Result<()> {
    let outside = Outside::start(&scratch::dir("re-st-lack-out")?);
    let args = [format!("GET https://{API}/v1/x")];
    let everything = json!([{"host": "*", "methods": ["*"], "paths": ["*"]}]);
    let other = json!([{"host": "other.example.com", "methods": ["*"], "paths": ["*"]}]);
    for (documents, parts) in [
        (
            vec![secret(KEY), asker(&args)],
            ["PolicyRefused", "no AgentPolicy selects the namespace"],
        ),
        (
            vec![policy(&other), secret(KEY), asker(&args)],
            ["PolicyRefused", "spec.capabilities.network.egress[0]"],
        ),
        (
            vec![policy(&everything), asker(&args)],
            [
                "spec.capabilities.network.egress[0].inject[0].secretKeyRef.name",
                "there is no Secret keys in namespace default",
            ],
        ),
        (
            vec![
                policy(&everything),
                secret(&format!("{KEY}\n")),
                asker(&args),
            ],
            ["secretKeyRef.key", "line break"],
        ),
    ] {
        let output = run("re-st-lack", &documents, &outside)?;
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(126), "{stderr}");
        for part in parts {
            ensure!(stderr.contains(part), "{part}: {stderr}");
        }
        ensure!(!stderr.contains(KEY), "{stderr}");
    }
    assert_eq!(outside.api.connections(), 0);
    Ok(())
}
