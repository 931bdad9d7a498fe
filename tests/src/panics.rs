//! L11: a panic in host code is a bug, whatever else a test is about. It ends one VM alone, so that
//! nobody might notice: every process's log and every cell's count are looked at when a test ends.

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use crate::Result;
use crate::node::Node;
use crate::process::Process;
use crate::wait::{self, Look};

/// The metric that counts them.
const METRIC: &str = "agentvm_host_panics_total";

/// The line in which a program of ours tells that it panicked. What a guest prints is told as JSON.
pub fn in_log(log: &str) -> Option<&str> {
    log.lines()
        .find(|line| line.starts_with("thread '") && line.contains("panicked at"))
}

/// What an agent's metrics say; it is an error where they don't.
pub fn in_metrics(exposition: &str) -> Result<u64> {
    let value = exposition
        .lines()
        .find_map(|line| line.strip_prefix(METRIC)?.strip_prefix(' '));
    let value = value.with_context(|| format!("no {METRIC} in:\n{exposition}"))?;
    value
        .parse()
        .with_context(|| format!("{METRIC} is {value:?}"))
}

/// Fails where host code has panicked in the processes that a node has now, and where that can't be
/// told of one that runs.
pub fn none_on(node: &Node) -> Result<()> {
    for log in [node.warden.stderr()?, node.agent(Process::stderr)?] {
        ensure_none_in(&node.name, &log)?;
    }
    let counted = wait::until(&format!("{} to tell of panics", node.name), || {
        Ok(match counted(node) {
            Ok(count) => Look::Yes(count),
            Err(unread) => Look::NotYet(format!("{unread:#}")),
        })
    })?;
    ensure!(
        counted == 0,
        "{counted} panics in host code on node {}; its logs tell where",
        node.name
    );
    Ok(())
}

/// Fails with the line that tells of a panic.
pub fn ensure_none_in(whose: &str, log: &str) -> Result<()> {
    match in_log(log) {
        None => Ok(()),
        Some(line) => bail!("host code panicked on {whose}: {line}"),
    }
}

/// By the agent and by each cell: an agent that a test has killed tells nothing.
fn counted(node: &Node) -> Result<u64> {
    let mut count = 0;
    if node.agent(Process::ended)?.is_none() {
        count = in_metrics(&node.metrics()?)?;
    }
    if node.warden.ended()?.is_some() {
        return Ok(count);
    }
    for cell in node.cells()? {
        let namespace = crate::vm::text(&cell, "/namespace");
        let stats = node.ask(&node.cell_socket(&namespace), "/v1/stats")?;
        let panics = stats.get("hostPanics").and_then(Value::as_u64);
        count += panics.with_context(|| format!("no hostPanics in {stats}"))?;
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use std::panic::AssertUnwindSafe;

    use super::*;

    #[test]
    fn l11_a_count_that_is_not_there_is_no_zero() {
        let text = "# TYPE agentvm_host_panics_total counter\nagentvm_host_panics_total 3\n";
        assert_eq!(in_metrics(text).ok(), Some(3));
        for unread in [
            "",
            "# TYPE agentvm_host_panics_total counter\n",
            "agentvm_host_panics_total_of_others 3\n",
            "agentvm_host_panics_total many\n",
        ] {
            assert!(in_metrics(unread).is_err(), "{unread:?}");
        }
    }

    #[test]
    fn l11_a_process_that_told_of_a_panic_fails_the_test_that_started_it() -> Result<()> {
        let dir = crate::scratch::dir("panics")?;
        for (name, says, fails) in [
            ("calm", "thread 'a' is well", false),
            ("panicked", "thread 'a' (1) panicked at b:1:1:", true),
        ] {
            let process = Process::start(name, &dir, "sh", |command| {
                command.args(["-c", "echo \"$0\" >&2", says])
            })?;
            process.wait_for_end(wait::PATIENCE)?;
            let dropped = std::panic::catch_unwind(AssertUnwindSafe(|| drop(process)));
            assert_eq!(dropped.is_err(), fails, "{name}");
        }
        Ok(())
    }

    #[test]
    fn l11_a_panic_is_found_in_a_log_and_a_guests_word_is_none() {
        let ours = "thread 'guest-0' (17) panicked at runtime/src/vm.rs:3:5:\noops\n";
        let guests = "{\"text\":\"thread 'main' panicked at src/main.rs:3:5:\"}\n";
        assert!(ensure_none_in("amber", &format!("{guests}{ours}")).is_err());
        assert!(ensure_none_in("amber", guests).is_ok());
    }
}
