//! What follows the end of a run.

use agentvm_tests::vm::{Namespace, condition, number, phase};
use agentvm_tests::wait::Look;
use agentvm_tests::{Result, cluster, wait};
use anyhow::Context;
use serde_json::json;

#[test]
fn c13_the_restart_policy_says_which_end_is_followed_by_another_run() -> Result<()> {
    let cluster = cluster::shared()?;
    let namespace = Namespace::create(cluster.plane, "li-restart")?;
    for (vm, probe, policy) in [
        ("never-fails", "exit3", "Never"),
        ("retry-fails", "exit3", "OnFailure"),
        ("retry-done", "hello", "OnFailure"),
        ("always-done", "hello", "Always"),
    ] {
        namespace.run_probe(vm, probe, &json!({"restartPolicy": policy}))?;
    }
    for vm in ["retry-fails", "always-done"] {
        let vm = namespace.wait_phase(vm, "BackOff")?;
        let reconciling = condition(&vm, "Reconciling").context("Reconciling")?;
        assert_eq!(reconciling.status, "True", "{vm}");
        assert_eq!(
            number(&vm, "/status/restarts"),
            0,
            "the first back-off is 10 s long: {vm}"
        );
    }
    for vm in ["retry-fails", "always-done"] {
        namespace.wait_for(vm, "one restart", |vm| number(vm, "/status/restarts") == 1)?;
    }
    for (vm, end) in [("never-fails", "Failed"), ("retry-done", "Complete")] {
        let vm = namespace.vm(vm)?;
        assert_eq!(
            (phase(&vm), number(&vm, "/status/restarts")),
            (end.to_owned(), 0),
            "{vm}"
        );
    }
    Ok(())
}

#[test]
fn an_ended_vm_is_deleted_when_its_time_to_live_is_over() -> Result<()> {
    let cluster = cluster::shared()?;
    let namespace = Namespace::create(cluster.plane, "li-ttl")?;
    namespace.run_probe("brief", "hello", &json!({"ttlAfterFinished": "1s"}))?;
    let path = format!(
        "/apis/agentvm.dev/v1alpha1/namespaces/{}/agentvms/brief",
        namespace.name
    );
    wait::until("the object to be gone", || {
        Ok(cluster
            .plane
            .api
            .get(&path)?
            .map_or(Look::Yes(()), |vm| Look::NotYet(vm["status"].to_string())))
    })
}
