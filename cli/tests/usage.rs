//! Usage errors, version, completion, and the name that kubectl calls.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a panic is the report"
)]

use std::process::{Command, Output};

fn agentvm(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_agentvm"))
        .args(args)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn usage_errors_end_with_code_2() {
    for args in [
        &[][..],
        &["rnu"],
        &["validate"],
        &["why", "-f", "vm.yaml", "GET"],
        &["push", "agent.wasm"],
        &["push", "agent.wasm", "UPPER CASE"],
        &[
            "push",
            "agent.wasm",
            "registry.example/a@sha256:0000000000000000000000000000000000000000000000000000000000000000",
        ],
        &["version", "-o", "xml"],
        &["completion", "dos"],
    ] {
        let output = agentvm(args);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{args:?}: {}",
            text(&output.stderr)
        );
    }
}

#[test]
fn file_that_is_not_wasm_is_refused_in_one_sentence_before_any_connection() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("agent.wasm");
    std::fs::write(&file, "#!/bin/sh\n").unwrap();
    let output = agentvm(&["push", file.to_str().unwrap(), "registry.invalid/a:v1"]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(
        said.contains("is not WebAssembly") && said.lines().count() == 1,
        "{said}"
    );
}

#[test]
fn version_is_told_to_people_and_programs() {
    assert!(text(&agentvm(&["version"]).stdout).starts_with("agentvm "));
    let json: serde_json::Value =
        serde_json::from_slice(&agentvm(&["version", "-o", "json"]).stdout).unwrap();
    assert_eq!(json["apiVersion"], "agentvm.dev/v1alpha1");
}

#[test]
fn completion_knows_every_public_command_and_every_shell() {
    for shell in ["bash", "zsh", "fish"] {
        let script = text(&agentvm(&["completion", shell]).stdout);
        for command in ["run", "push", "validate", "why", "version", "completion"] {
            assert!(
                script.contains(command),
                "{shell} does not complete {command}"
            );
        }
        assert!(!script.contains("warden"), "{shell} completes a process");
    }
}

#[test]
fn help_shows_no_command_that_is_not_for_people() {
    let help = text(&agentvm(&["--help"]).stdout);
    for command in ["warden", "cell", "compile"] {
        assert!(
            !help
                .lines()
                .any(|line| line.split_whitespace().next() == Some(command)),
            "{help}"
        );
    }
}

#[test]
fn kubectl_plugin_calls_itself_as_the_user_typed_it() {
    let folder = tempfile::tempdir().unwrap();
    let plugin = folder.path().join("kubectl-agentvm");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_agentvm"), &plugin).unwrap();
    let help = Command::new(plugin)
        .args(["validate", "--help"])
        .output()
        .unwrap();
    assert!(
        text(&help.stdout).contains("Usage: kubectl agentvm validate"),
        "{}",
        text(&help.stdout)
    );
}

#[test]
fn help_of_run_tells_of_copies_and_of_every_exit_code() {
    let output = agentvm(&["run", "--help"]);
    let help = text(&output.stdout);
    for word in [
        "--copy-in <DIR:/PATH>",
        "--copy-out </PATH:DIR>",
        "Exit codes:",
    ] {
        assert!(help.contains(word), "no word on {word:?}: {help}");
    }
    for code in [123, 124, 125, 126, 130, 134, 137, 143, 152] {
        assert!(help.contains(&format!("  {code}  ")), "{code}: {help}");
    }
    let script = text(&agentvm(&["completion", "bash"]).stdout);
    assert!(script.contains("--copy-in") && script.contains("--copy-out"));
}
