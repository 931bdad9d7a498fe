//! Many at once, and names that are used again.

use std::time::Duration;

use agentvm_tests::flaky::Flaky;
use agentvm_tests::node::NodeSettings;
use agentvm_tests::vm::{Namespace, manifest, number, text};
use agentvm_tests::{Result, cluster, wait};
use serde_json::{Value, json};

use crate::only_on;

#[test]
fn k05_a_hundred_vms_applied_at_once_all_complete_in_three_writes_each() -> Result<()> {
    let cluster = cluster::shared()?;
    let namespace = Namespace::create(cluster.plane, "li-crowd")?;
    let module = namespace.module("hello")?;
    let spec = json!({"module": module, "limits": {"cpu": "10m", "memory": "1Mi"}});
    let crowd: Vec<Value> = (0..100)
        .map(|number| manifest(&format!("vm-{number}"), &spec))
        .collect();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": crowd}).to_string();
    cluster
        .plane
        .kubectl
        .run_with(&["-n", &namespace.name, "create", "-f", "-"], &list)?
        .done()?;
    for number in 0..100 {
        let name = format!("vm-{number}");
        namespace.wait_phase(&name, "Complete")?;
        let writes = cluster.plane.audit.status_writes(&namespace.name, &name)?;
        assert!(writes.len() <= 3, "{name}: {writes:#?}");
    }
    Ok(())
}

#[test]
fn k29_a_name_that_is_used_again_at_once_leaves_nothing_of_the_first() -> Result<()> {
    let cluster = cluster::shared()?;
    let namespace = Namespace::create(cluster.plane, "li-again")?;
    let mut uids = Vec::new();
    for round in 0..20 {
        uids.push(namespace.run_probe("phoenix", "stay", &json!({"limits": {"memory": "1Mi"}}))?);
        // Some are deleted before they are placed, some while they start, some while they run.
        if round % 3 == 0 {
            namespace.wait_phase("phoenix", "Running")?;
        }
        namespace.delete("phoenix")?;
    }
    let last = namespace.run_probe("phoenix", "stay", &json!({"limits": {"memory": "1Mi"}}))?;
    let vm = namespace.wait_phase("phoenix", "Running")?;
    assert_eq!(text(&vm, "/metadata/uid"), last);
    assert_eq!(number(&vm, "/status/restarts"), 0);
    wait::until("one VM to be left", || {
        let mut held = Vec::new();
        for node in &cluster.nodes {
            held.extend(node.vms(&namespace.name)?.iter().map(|vm| text(vm, "/uid")));
        }
        Ok(wait::yes_if(held == [last.clone()], || {
            format!("{held:?}, should be {last}")
        }))
    })
}

#[test]
fn k28_a_deleted_namespace_takes_its_vms_along() -> Result<()> {
    let cluster = cluster::shared()?;
    let node = cluster.add_node("li-room-2", &NodeSettings::reserved())?;
    let namespace = Namespace::create(cluster.plane, "li-doomed")?;
    for name in ["one", "two"] {
        namespace.run_probe(name, "stay", &only_on(&node, json!({})))?;
    }
    for name in ["one", "two"] {
        namespace.wait_phase(name, "Running")?;
    }
    let delete = ["delete", "namespace", &namespace.name, "--timeout=30s"];
    cluster.plane.kubectl.run(&delete)?.done()?;
    wait::until("its VMs to be gone", || {
        let vms = node.vms(&namespace.name)?;
        Ok(wait::yes_if(vms.is_empty(), || format!("{vms:?}")))
    })
}

#[test]
fn k06_watches_that_are_cut_all_the_time_miss_nothing() -> Result<()> {
    let cluster = cluster::shared()?;
    let flaky = Flaky::start(cluster.plane.address()?, Duration::from_millis(700))?;
    let settings = NodeSettings {
        through: Some(flaky.address),
        ..NodeSettings::reserved()
    };
    let node = cluster.add_node("li-flaky", &settings)?;
    let namespace = Namespace::create(cluster.plane, "li-flaky")?;
    let spec = || only_on(&node, json!({"limits": {"cpu": "10m", "memory": "1Mi"}}));
    let mut uids = Vec::new();
    for at in 0..15 {
        uids.push(namespace.run_probe(&format!("stay-{at}"), "stay", &spec())?);
        namespace.run_probe(&format!("hello-{at}"), "hello", &spec())?;
    }
    for at in 0..15 {
        namespace.wait_phase(&format!("hello-{at}"), "Complete")?;
        let vm = namespace.wait_phase(&format!("stay-{at}"), "Running")?;
        assert_eq!(number(&vm, "/status/restarts"), 0);
        namespace.delete(&format!("stay-{at}"))?;
    }
    for uid in &uids {
        node.wait_until_gone(&namespace.name, uid)?;
    }
    let cuts = flaky.cuts();
    assert!(cuts > 10, "the network was kind: {cuts} cuts");
    Ok(())
}
