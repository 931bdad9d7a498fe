//! An API server that does not answer for a while: no VM notices, and nothing is forgotten.
//!
//! Alone in its binary, since every other test needs an API server.

use agentvm_tests::Result;
use agentvm_tests::cluster;
use agentvm_tests::vm::{Namespace, number, phase, text};
use agentvm_tests::wait;
use anyhow::Context;
use rustix::process::Signal;
use serde_json::json;

#[test]
fn k09_running_vms_outlive_an_api_server_that_hangs_and_their_ends_are_told_later() -> Result<()> {
    let cluster = cluster::shared()?;
    let namespace = Namespace::create(cluster.plane, "outage")?;
    namespace.run_probe("stayer", "stay", &json!({"restartPolicy": "Always"}))?;
    let uid = namespace.run_probe("napper", "nap", &json!({}))?;
    let before = namespace.wait_phase("stayer", "Running")?;
    let napping = namespace.wait_phase("napper", "Running")?;
    let node = cluster.node(&text(&napping, "/status/assignment/nodeName"))?;
    let is_leader = || {
        cluster.operator(|operator| Ok(operator.metrics()?.contains("agentvm_operator_leader 1")))
    };
    assert!(is_leader()?);

    cluster.plane.api_server().signal(Signal::STOP)?;
    wait::until("the guest to end and the operator to step down", || {
        let vms = node.vms(&namespace.name)?;
        let napper = vms
            .iter()
            .find(|vm| text(vm, "/uid") == uid)
            .context("the cell keeps the end")?;
        let (ended, leads) = (text(napper, "/state") == "Ended", is_leader()?);
        Ok(wait::yes_if(ended && !leads, || {
            format!("leads: {leads}, {napper}")
        }))
    })?;
    cluster.plane.api_server().signal(Signal::CONT)?;

    let napped = namespace.wait_phase("napper", "Complete")?;
    assert_eq!(number(&napped, "/status/restarts"), 0, "{napped}");
    namespace.run_probe("late", "hello", &json!({}))?;
    namespace.wait_phase("late", "Complete")?;
    let after = namespace.vm("stayer")?;
    assert_eq!(phase(&after), "Running");
    assert_eq!(number(&after, "/status/restarts"), 0);
    assert_eq!(
        text(&after, "/status/startedAt"),
        text(&before, "/status/startedAt")
    );
    Ok(())
}
