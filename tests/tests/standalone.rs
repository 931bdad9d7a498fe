//! `agentvm run`: the manifests of a cluster on one machine without one.

#![expect(
    clippy::indexing_slicing,
    reason = "a JSON value that lacks a name gives null, it does not panic"
)]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use agentvm_tests::built::binary;
use agentvm_tests::process::{self, Process};
use agentvm_tests::program::output_of;
use agentvm_tests::vm::manifest;
use agentvm_tests::wait::{self, Look};
use agentvm_tests::{Result, guests, http, panics, scratch, workspace};
use anyhow::{Context, ensure};
use rustix::process::Signal;
use serde_json::{Value, json};

const IMAGE: &str = "registry.test/guests/probe:v1";

/// A folder with one manifest and one module.
struct Stage {
    dir: PathBuf,
}

impl Stage {
    fn new(name: &str, documents: &[Value]) -> Result<Self> {
        let dir = scratch::dir(name)?;
        let yaml: Vec<String> = documents.iter().map(Value::to_string).collect();
        fs::write(dir.join("vm.yaml"), yaml.join("\n---\n"))?;
        Ok(Self { dir })
    }

    /// One VM that runs a probe.
    fn of_probe(probe: &str, name: &str, more: Value) -> Result<Self> {
        let mut spec = more;
        spec["image"] = json!(IMAGE);
        let stage = Self::new(name, &[manifest(name, &spec)])?;
        fs::write(stage.dir.join("probe.wasm"), guests::probe(probe)?)?;
        Ok(stage)
    }

    fn arguments(&self) -> Vec<String> {
        let path = |file: &str| self.dir.join(file).display().to_string();
        let mut arguments = vec!["run".to_owned(), "-f".to_owned(), path("vm.yaml")];
        if self.dir.join("probe.wasm").exists() {
            arguments.extend([
                "--module".to_owned(),
                format!("{IMAGE}={}", path("probe.wasm")),
            ]);
        }
        arguments
    }

    fn run(&self) -> Result<Ran> {
        let started = Instant::now();
        let output = output_of(Command::new(binary("agentvm")?).args(self.arguments()))?;
        Ok(Ran::new(&output, started.elapsed()))
    }

    /// Starts it, and waits until the guest has printed `line`.
    fn start(&self, more: &[&str], line: &str) -> Result<Process> {
        let agentvm = Process::start("agentvm", &self.dir, binary("agentvm")?, |command| {
            command.args(self.arguments()).args(more)
        })?;
        wait::until(&format!("the guest to print {line:?}"), || {
            agentvm.must_run()?;
            let stdout = agentvm.stdout()?;
            Ok(wait::yes_if(
                stdout.lines().any(|printed| printed == line),
                || stdout,
            ))
        })?;
        Ok(agentvm)
    }
}

/// Where the tests of files are: beside this one, since a process runs its tests at once.
#[path = "standalone/files.rs"]
mod files;

/// What a call of `agentvm run` did.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
    took: Duration,
}

impl Ran {
    fn new(output: &Output, took: Duration) -> Self {
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(panics::in_log(&stderr), None);
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: stderr.into_owned(),
            took,
        }
    }
}

#[test]
fn cpython_runs_the_script_of_a_config_map_in_the_same_yaml() -> Result<()> {
    let script = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "script"},
        "data": {"main.py": "import sys\nprint('the answer is', 6 * 7)\nprint('and why', file=sys.stderr)\nsys.exit(7)\n"},
    });
    let vm = manifest(
        "answer",
        &json!({
            "image": "registry.test/cpython:3.12",
            "args": ["-c", "$(SCRIPT)"],
            "env": [{"name": "SCRIPT", "valueFrom": {"configMapKeyRef": {"name": "script", "key": "main.py"}}}],
            "limits": {"memory": "128Mi", "cpu": "1"},
        }),
    );
    let stage = Stage::new("st-python", &[script, vm])?;
    let cpython = format!(
        "registry.test/cpython:3.12={}",
        guests::cpython()?.display()
    );
    let started = Instant::now();
    let output = output_of(
        Command::new(binary("agentvm")?)
            .args(stage.arguments())
            .args(["--module", &cpython]),
    )?;
    let ran = Ran::new(&output, started.elapsed());
    assert_eq!(ran.code, Some(7), "{ran:?}");
    assert_eq!(ran.stdout, "the answer is 42\n", "{ran:?}");
    assert!(ran.stderr.contains("and why\n"), "{ran:?}");
    Ok(())
}

#[test]
fn output_is_the_guests_and_nothing_else_and_its_exit_code_is_ours() -> Result<()> {
    for (probe, code, stdout) in [("hello", 0, "hello from a probe\n"), ("exit3", 3, "")] {
        let ran = Stage::of_probe(probe, &format!("st-{probe}"), json!({}))?.run()?;
        assert_eq!(
            (ran.code, ran.stdout.as_str()),
            (Some(code), stdout),
            "{ran:?}"
        );
    }
    Ok(())
}

#[test]
fn arguments_and_environment_are_those_of_the_manifest_and_nothing_of_ours() -> Result<()> {
    let spec = json!({"args": ["$(A)", "two"], "env": [{"name": "A", "value": "b c"}]});
    let stage = Stage::of_probe("echo", "st-env", spec)?;
    let agentvm = stage.start(&[], "A=b c")?;
    let stdout = agentvm.stdout()?;
    let lines: Vec<&str> = stdout.lines().skip(1).collect();
    assert_eq!(lines, ["b c", "two", "A=b c"], "after argv[0]: {stdout}");
    Ok(())
}

#[test]
fn a_misbehaving_guest_is_stopped_and_the_reason_names_the_field_to_raise() -> Result<()> {
    for (probe, limits, code, says) in [
        (
            "spin",
            "{fuel: 10M, cpu: '1'}",
            152,
            "OutOfFuel spec.limits.fuel program's",
        ),
        (
            "grow",
            "{memory: 16Mi, cpu: '1'}",
            137,
            "MemoryLimit spec.limits.memory",
        ),
        (
            "spin",
            "{timeout: 1s, cpu: 50m}",
            124,
            "DeadlineExceeded spec.limits.timeout",
        ),
        ("trap", "{}", 134, "Trap unreachable program's"),
    ] {
        let limits: Value = serde_yaml::from_str(limits)?;
        let ran =
            Stage::of_probe(probe, &format!("st-{code}"), json!({"limits": limits}))?.run()?;
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(code), ""), "{ran:?}");
        for word in says.split(' ') {
            assert!(ran.stderr.contains(word), "no word on {word:?}: {ran:?}");
        }
        assert!(ran.took < Duration::from_secs(30), "{ran:?}");
    }
    Ok(())
}

#[test]
fn a_limit_that_presses_is_said_with_its_field_before_it_ends_the_guest() -> Result<()> {
    let limits = json!({"fuel": "600M", "cpu": "50m"});
    let ran = Stage::of_probe("spin", "st-pressing", json!({"limits": limits}))?.run()?;
    assert_eq!(ran.code, Some(152), "{ran:?}");
    let said = [
        "FuelPressure: ",
        "of limits.fuel is used",
        "(raise spec.limits.fuel)",
    ];
    let warned = |line: &&str| said.iter().all(|part| line.contains(part));
    let lines: Vec<&str> = ran.stderr.lines().collect();
    let at = lines.iter().position(warned);
    let end = lines.iter().position(|line| line.contains("OutOfFuel: "));
    assert!(at.is_some() && at < end, "{ran:?}");
    Ok(())
}

#[test]
fn sigint_lets_the_guest_end_and_leaves_no_process_behind() -> Result<()> {
    let stage = Stage::of_probe(
        "stay",
        "st-sigint",
        json!({"terminationGracePeriod": "20s"}),
    )?;
    let agentvm = stage.start(&[], "up")?;
    let children = process::descendants(agentvm.pid())?;
    ensure!(
        children.len() >= 2,
        "a warden and a cell at least, not {children:?}"
    );
    agentvm.signal(Signal::INT)?;
    agentvm.wait_for_end(Duration::from_secs(10))?;
    assert_eq!(
        agentvm.stdout()?,
        "up\nbye\n",
        "its stdin was closed, and it had time"
    );
    wait_until_dead(&children)
}

#[test]
fn a_guest_that_does_not_listen_is_stopped_after_its_grace() -> Result<()> {
    let stage = Stage::of_probe("deaf", "st-deaf", json!({"terminationGracePeriod": "1s"}))?;
    let agentvm = stage.start(&[], "deaf")?;
    let children = process::descendants(agentvm.pid())?;
    agentvm.signal(Signal::INT)?;
    agentvm.wait_for_end(Duration::from_secs(10))?;
    wait_until_dead(&children)
}

#[test]
fn nothing_outlives_a_killed_agentvm() -> Result<()> {
    let stage = Stage::of_probe("stay", "st-sigkill", json!({}))?;
    let agentvm = stage.start(&[], "up")?;
    let children = process::descendants(agentvm.pid())?;
    agentvm.crash()?;
    wait_until_dead(&children)
}

#[test]
fn metrics_are_those_of_the_agent() -> Result<()> {
    let address = http::loopback(http::free_port()?);
    let stage = Stage::of_probe("stay", "st-metrics", json!({}))?;
    let agentvm = stage.start(&["--metrics", &address.to_string()], "up")?;
    wait::until("the VM's series", || {
        agentvm.must_run()?;
        Ok(match http::get(address, "/metrics") {
            Ok(answer) => wait::yes_if(
                answer
                    .body
                    .contains("namespace=\"default\",vm=\"st-metrics\""),
                || answer.body,
            ),
            Err(error) => Look::NotYet(format!("{error:#}")),
        })
    })
}

#[test]
fn a_request_above_the_policy_is_refused_and_nothing_runs() -> Result<()> {
    let policy = json!({
        "apiVersion": "agentvm.dev/v1alpha1", "kind": "AgentPolicy", "metadata": {"name": "small-vms"},
        "spec": {"namespaceSelector": {}, "limits": {"max": {"memory": "32Mi"}}},
    });
    let run = |name: &str, memory: &str| {
        let vm = manifest(name, &json!({"image": IMAGE, "limits": {"memory": memory}}));
        let stage = Stage::new(name, &[policy.clone(), vm])?;
        fs::write(stage.dir.join("probe.wasm"), guests::probe("hello")?)?;
        stage.run()
    };
    let refused = run("st-big", "64Mi")?;
    assert!(refused.code.is_some_and(|code| code != 0), "{refused:?}");
    assert_eq!(refused.stdout, "", "{refused:?}");
    for word in ["small-vms", "spec.limits.memory", "64Mi", "32Mi"] {
        assert!(
            refused.stderr.contains(word),
            "no word on {word:?}: {refused:?}"
        );
    }
    let ran = run("st-small", "32Mi")?;
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (Some(0), "hello from a probe\n"),
        "{ran:?}"
    );
    Ok(())
}

#[test]
fn what_cannot_run_is_refused_in_one_sentence_that_names_it() -> Result<()> {
    let vm = |spec: Value| manifest("bad", &spec);
    let cases: [(&str, Value, &[&str]); 7] = [
        (
            "st-bad-field",
            vm(json!({"image": IMAGE, "imgae": 1})),
            &["spec.imgae"],
        ),
        (
            "st-bad-type",
            vm(json!({"image": IMAGE, "args": "one"})),
            &["spec.args"],
        ),
        (
            "st-bad-memory",
            vm(json!({"image": IMAGE, "limits": {"memory": "-1"}})),
            &["spec.limits.memory"],
        ),
        (
            "st-bad-both",
            vm(json!({"image": IMAGE, "module": {"configMap": {"name": "a", "key": "b"}}})),
            &["image", "module"],
        ),
        ("st-bad-neither", vm(json!({})), &["image", "module"]),
        (
            "st-bad-map",
            vm(json!({"module": {"configMap": {"name": "ghost", "key": "b"}}})),
            &["ghost"],
        ),
        (
            "st-bad-kind",
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}),
            &["AgentVM"],
        ),
    ];
    for (name, document, says) in cases {
        let ran = Stage::new(name, &[document])?.run()?;
        assert!(ran.code.is_some_and(|code| code != 0), "{name}: {ran:?}");
        for word in says {
            assert!(
                ran.stderr.contains(word),
                "{name}: no word on {word:?}: {ran:?}"
            );
        }
        assert!(!ran.stderr.contains("panicked"), "{name}: {ran:?}");
        assert!(ran.stderr.lines().count() <= 3, "{name}: {ran:?}");
    }
    Ok(())
}

#[test]
fn a_module_that_is_none_is_refused() -> Result<()> {
    for (name, bytes, says) in [
        ("st-text", b"#!/bin/sh\n".to_vec(), "InvalidModule"),
        (
            "st-foreign",
            guests::probe("import_foreign")?,
            "open_the_vault",
        ),
    ] {
        let stage = Stage::new(name, &[manifest(name, &json!({"image": IMAGE}))])?;
        fs::write(stage.dir.join("probe.wasm"), bytes)?;
        let ran = stage.run()?;
        assert!(ran.code.is_some_and(|code| code != 0), "{ran:?}");
        assert!(ran.stderr.contains(says), "{ran:?}");
    }
    Ok(())
}

#[test]
fn a_manifest_that_is_not_there_is_named() -> Result<()> {
    let output =
        output_of(Command::new(binary("agentvm")?).args(["run", "-f", "/no/such/vm.yaml"]))?;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(
        !output.status.success() && stderr.contains("/no/such/vm.yaml"),
        "{stderr}"
    );
    Ok(())
}

/// The examples are manifests that work: what a reader tries first.
#[test]
fn every_example_is_valid() -> Result<()> {
    let examples = workspace::root().join("examples");
    let mut seen = 0;
    for entry in fs::read_dir(examples)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "yaml")
        {
            let output = output_of(
                Command::new(binary("agentvm")?)
                    .arg("validate")
                    .arg("-f")
                    .arg(&path),
            )?;
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            ensure!(output.status.success(), "{}: {said}", path.display());
            seen += 1;
        }
    }
    ensure!(seen > 0, "no example");
    Ok(())
}

fn wait_until_dead(pids: &[u32]) -> Result<()> {
    wait::until("every process to be gone", || {
        let alive: Vec<u32> = pids
            .iter()
            .copied()
            .filter(|pid| process::is_alive(*pid))
            .collect();
        Ok(wait::yes_if(alive.is_empty(), || format!("{alive:?} live")))
    })
    .context("it left processes behind")
}
