//! Every example, applied as a person would.

use std::fs;

use agentvm_tests::real_node::stage::Stage;
use agentvm_tests::vm::{condition, text};
use agentvm_tests::wait;
use agentvm_tests::{Result, scratch};
use anyhow::{Context as _, ensure};

use super::guests::{self, examples};

/// What becomes of an example's VM: the condition that becomes True, and its reason.
struct Expected {
    file: &'static str,
    namespace: &'static str,
    vm: &'static str,
    condition: &'static str,
    reasons: &'static [&'static str],
    /// Part of what it prints.
    prints: &'static str,
}

const fn expected(
    file: &'static str,
    vm: &'static str,
    condition: &'static str,
    reasons: &'static [&'static str],
    prints: &'static str,
) -> Expected {
    Expected {
        file,
        namespace: "default",
        vm,
        condition,
        reasons,
        prints,
    }
}

const EXPECTED: [Expected; 9] = [
    expected(
        "agent.yaml",
        "detective",
        "Complete",
        &["Completed"],
        "pool exhausted",
    ),
    Expected {
        namespace: "bookkeeping",
        ..expected(
            "files.yaml",
            "bookkeeper",
            "Complete",
            &["Completed"],
            "Egret",
        )
    },
    expected(
        "hello.yaml",
        "hello",
        "Complete",
        &["Completed"],
        "everyone in it",
    ),
    expected(
        "limits.yaml",
        "greedy",
        "Failed",
        &["OutOfFuel"],
        "I hold 52 MiB",
    ),
    // The limit's own reason, or Go's exit code where it notices in time.
    expected(
        "misbehaving-memory.yaml",
        "hoarder",
        "Failed",
        &["MemoryLimit", "ExitCode"],
        "",
    ),
    expected(
        "misbehaving-spin.yaml",
        "snoop",
        "Failed",
        &["OutOfFuel"],
        "",
    ),
    Expected {
        namespace: "research",
        ..expected(
            "policy.yaml",
            "timer",
            "Complete",
            &["Completed"],
            "research",
        )
    },
    expected("python.yaml", "primes", "Complete", &["Completed"], "9592"),
    expected("service.yaml", "echo", "Ready", &["Running"], ""),
];

pub(crate) fn every_example_ends_as_it_should(stage: &Stage) -> Result<()> {
    guests::push_all(stage)?;
    let files: Vec<String> = examples()?.into_iter().map(|(name, _)| name).collect();
    assert_eq!(
        files,
        EXPECTED.map(|expected| expected.file),
        "the table lists every example"
    );
    let dir = scratch::dir("examples")?;
    for (name, manifest) in examples()? {
        let path = dir.join(&name);
        fs::write(
            &path,
            manifest.replace("localhost:5000", &stage.registry.address.to_string()),
        )?;
        let path = path.to_str().context("UTF-8")?;
        stage.kubectl(&["apply", "--server-side", "--filename", path])?;
    }
    for expected in &EXPECTED {
        ends(stage, expected)?;
        let path = dir.join(expected.file);
        // Nothing that the API server or a controller fills in differs from what was applied.
        let diff = [
            "diff",
            "--server-side",
            "--filename",
            path.to_str().context("UTF-8")?,
        ];
        stage
            .kubectl(&diff)
            .with_context(|| format!("{} does not round-trip", expected.file))?;
    }
    Ok(())
}

fn ends(stage: &Stage, expected: &Expected) -> Result<()> {
    let Expected {
        namespace,
        vm,
        condition: wanted,
        reasons,
        ..
    } = expected;
    let condition_flag = format!("--for=condition={wanted}");
    let object = format!("agentvm/{vm}");
    let kubectl = stage.kubectl(&[
        "wait",
        &condition_flag,
        "--timeout=180s",
        "--namespace",
        namespace,
        &object,
    ]);
    let path = format!("/apis/agentvm.dev/v1alpha1/namespaces/{namespace}/agentvms/{vm}");
    let found = stage.object(&path)?;
    kubectl.with_context(|| agentvm_tests::vm::seen(&found))?;
    let condition = condition(&found, wanted).context("the condition that was waited for")?;
    ensure!(
        reasons.contains(&condition.reason.as_str()),
        "{vm} is {wanted} for {}",
        condition.reason
    );
    let events = format!("/apis/events.k8s.io/v1/namespaces/{namespace}/events");
    let events = stage.objects(&events)?;
    ensure!(
        events
            .iter()
            .any(|event| text(event, "/regarding/name") == *vm),
        "there is no Event about {vm}"
    );
    Ok(())
}

pub(crate) fn logs_and_metrics_tell_of_every_guest(stage: &Stage) -> Result<()> {
    let log = stage.cells_log()?;
    for expected in &EXPECTED {
        let by_vm = format!("\"vm\":\"{}\"", expected.vm);
        let lines: Vec<&str> = log.lines().filter(|line| line.contains(&by_vm)).collect();
        ensure!(
            expected.prints.is_empty() || lines.iter().any(|line| line.contains(expected.prints)),
            "{} did not print {:?}: {lines:?}",
            expected.vm,
            expected.prints
        );
    }
    wait::until("the running VM's metrics", || {
        let metrics = stage.metrics()?;
        let series = metrics
            .lines()
            .filter(|line| line.contains("vm=\"echo\""))
            .count();
        Ok(wait::yes_if(series > 5, || {
            format!("{series} series of echo in:\n{metrics}")
        }))
    })
}
