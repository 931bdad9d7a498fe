//! What the chart takes from elsewhere: flags, roles without Helm, the module of its test.

use std::fs;
use std::process::Command;

use agentvm_tests::program::output_of;
use agentvm_tests::{Result, built, chart, guests, workspace};
use anyhow::Context as _;
use base64::Engine as _;
use serde_json::Value;

use super::pods::{containers, name, pods};

#[test]
fn deploy_is_what_the_chart_renders() -> Result<()> {
    for name in ["rbac.yaml", "admission.yaml"] {
        let shown = format!("templates/{name}");
        let said = chart::template("agentvm-system", &["--show-only", &shown])?.done()?;
        let documents: Vec<String> = said
            .split("\n---\n")
            .map(without_source)
            .filter(|one| !one.is_empty())
            .collect();
        let rendered = format!(
            "# Rendered from charts/agentvm/templates/{name}; AGENTVM_UPDATE=1 cargo test -p agentvm-tests --test chart.\n\n{}\n",
            documents.join("\n---\n")
        );
        let path = workspace::root().join("deploy").join(name);
        if std::env::var_os("AGENTVM_UPDATE").is_some() {
            fs::write(&path, &rendered)?;
        }
        let committed = fs::read_to_string(&path)?;
        assert!(
            committed == rendered,
            "deploy/{name} is not what the chart renders: its first line says how to write it"
        );
    }
    Ok(())
}

fn without_source(document: &str) -> String {
    let lines = document.trim_start_matches("---\n").lines();
    let lines: Vec<&str> = lines
        .filter(|line| !line.starts_with("# Source: "))
        .collect();
    lines.join("\n").trim().to_owned()
}

#[test]
fn the_tests_module_is_the_probe_that_its_source_says() -> Result<()> {
    let text = base64::engine::general_purpose::STANDARD.encode(guests::probe("hello")?);
    let path = chart::folder().join("files/hello.wasm.base64");
    if std::env::var_os("AGENTVM_UPDATE").is_some() {
        fs::write(&path, format!("{text}\n"))?;
    }
    assert_eq!(fs::read_to_string(path)?.replace('\n', ""), text);
    Ok(())
}

#[test]
fn every_flag_and_variable_of_the_chart_is_one_that_its_program_knows() -> Result<()> {
    let more = [
        "--set",
        "namespaces={teal}",
        "--set",
        "node.insecureRegistries={reg:5000},node.maxCells=7",
        "--set",
        "gateway.clusterCidrs={10.96.0.0/12},gateway.nameServers={10.96.0.10}",
        "--set",
        "gateway.rootCertificates.configMap=roots",
    ];
    for (owner, pod) in pods(&more)? {
        for container in containers(&pod) {
            let words: Vec<&str> = ["command", "args"]
                .into_iter()
                .flat_map(|list| {
                    container
                        .get(list)
                        .and_then(Value::as_array)
                        .into_iter()
                        .flatten()
                })
                .filter_map(Value::as_str)
                .collect();
            let (program, rest) = words.split_first().context("a command")?;
            let program = built::binary(program.trim_start_matches('/'))?;
            let verbs = rest.iter().take_while(|word| !word.starts_with("--"));
            let help = output_of(Command::new(&program).args(verbs).arg("--help"))?;
            let help = String::from_utf8_lossy(&help.stdout).into_owned();
            for flag in rest.iter().filter(|word| word.starts_with("--")) {
                let flag = flag.split('=').next().unwrap_or(flag);
                assert!(
                    help.contains(&format!("{flag} ")),
                    "{owner}: {flag} in\n{help}"
                );
            }
            for variable in container
                .get("env")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .map(name)
            {
                // The agent takes its log filter from the environment alone.
                let known = [format!("[env: {variable}="), format!("`{variable}`")];
                assert!(
                    known.iter().any(|known| help.contains(known)),
                    "{owner}: {variable} in\n{help}"
                );
            }
        }
    }
    Ok(())
}
