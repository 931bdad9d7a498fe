//! What a VM lives through: restarts, changes, suspension, and the death of everything around it.

#![expect(
    clippy::indexing_slicing,
    reason = "a JSON value that lacks a name gives null, it does not panic"
)]

use std::time::Duration;

use agentvm_tests::Result;
use agentvm_tests::cluster::{self, Cluster};
use agentvm_tests::node::{Node, NodeSettings};
use agentvm_tests::process::{self, Process};
use agentvm_tests::vm::{Namespace, condition, manifest, number, phase, text};
use agentvm_tests::wait::{self, Look};
use anyhow::{Context, ensure};
use rustix::process::Signal;
use serde_json::{Value, json};

#[test]
fn the_restart_policy_says_which_end_is_followed_by_another_run() -> Result<()> {
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
fn a_suspended_vm_is_gone_from_its_cell_and_runs_again_when_resumed() -> Result<()> {
    let cluster = cluster::shared()?;
    let namespace = Namespace::create(cluster.plane, "li-suspend")?;
    let uid = namespace.run_probe("sleeper", "stay", &json!({}))?;
    let first = namespace.wait_phase("sleeper", "Running")?;
    namespace.change("sleeper", &json!({"suspend": true}))?;
    let suspended = namespace.wait_phase("sleeper", "Suspended")?;
    assert_eq!(
        condition(&suspended, "Ready").context("Ready")?.status,
        "True",
        "as its spec asks: {suspended}"
    );
    node_of(cluster, &suspended)?.wait_until_gone(&namespace.name, &uid)?;
    namespace.change("sleeper", &json!({"suspend": false}))?;
    let second = namespace.wait_phase("sleeper", "Running")?;
    assert_eq!(
        number(&second, "/status/restarts"),
        0,
        "resuming is no restart: {second}"
    );
    assert!(text(&second, "/status/startedAt") >= text(&first, "/status/startedAt"));
    Ok(())
}

#[test]
fn a_vm_created_suspended_does_not_run() -> Result<()> {
    let cluster = cluster::shared()?;
    let namespace = Namespace::create(cluster.plane, "li-asleep")?;
    namespace.run_probe("asleep", "hello", &json!({"suspend": true}))?;
    let vm = namespace.wait_phase("asleep", "Suspended")?;
    assert_eq!(text(&vm, "/status/startedAt"), "", "{vm}");
    namespace.change("asleep", &json!({"suspend": false}))?;
    namespace.wait_phase("asleep", "Complete").map(|_| ())
}

#[test]
fn cpu_and_log_rate_change_while_the_guest_runs_on() -> Result<()> {
    let cluster = cluster::shared()?;
    let namespace = Namespace::create(cluster.plane, "li-live")?;
    let uid = namespace.run_probe(
        "spinner",
        "spin",
        &json!({"limits": {"cpu": "20m", "memory": "1Mi"}}),
    )?;
    let before = namespace.wait_phase("spinner", "Running")?;
    namespace.change(
        "spinner",
        &json!({"limits": {"cpu": "40m", "logRate": "2Ki"}}),
    )?;
    let node = node_of(cluster, &before)?;
    wait::until("the cell to hold the new limits", || {
        let vm = held(node, &namespace, &uid)?;
        let limits = vm
            .pointer("/spec/grants/limits")
            .cloned()
            .unwrap_or_default();
        let new = limits["cpuMillicores"] == 40 && limits["logRateBytesPerSecond"] == 2048;
        Ok(wait::yes_if(new, || vm.to_string()))
    })?;
    let after = namespace.wait_for("spinner", "the new limits are reported", |vm| {
        text(vm, "/status/effective/limits/cpu") == "40m"
            && number(vm, "/status/observedGeneration") == number(vm, "/metadata/generation")
    })?;
    for field in ["/status/startedAt", "/status/phase"] {
        assert_eq!(text(&after, field), text(&before, field), "{field}");
    }
    assert_eq!(number(&after, "/status/restarts"), 0);
    Ok(())
}

#[test]
fn new_arguments_take_another_run_that_counts_as_no_restart() -> Result<()> {
    let cluster = cluster::shared()?;
    let namespace = Namespace::create(cluster.plane, "li-args")?;
    let uid = namespace.run_probe(
        "speaker",
        "echo",
        &json!({"args": ["old"], "env": [{"name": "A", "value": "b"}]}),
    )?;
    let before = namespace.wait_phase("speaker", "Running")?;
    let node = node_of(cluster, &before)?;
    wait_printed(node, &uid, &["old", "A=b"])?;
    namespace.change("speaker", &json!({"args": ["new"]}))?;
    wait_printed(node, &uid, &["old", "A=b", "new", "A=b"])?;
    let after = namespace.wait_for("speaker", "the new generation runs", |vm| {
        phase(vm) == "Running"
            && number(vm, "/status/observedGeneration") == number(vm, "/metadata/generation")
    })?;
    assert_eq!(number(&after, "/status/restarts"), 0, "{after}");
    Ok(())
}

#[test]
fn what_a_vm_is_made_of_never_changes() -> Result<()> {
    let plane = cluster::installed()?;
    let namespace = Namespace::create(plane, "li-fixed")?;
    namespace.run_probe("fixed", "hello", &json!({"suspend": true}))?;
    for (field, change) in [
        (
            "spec.module",
            json!({"module": {"configMap": {"name": "another", "key": "main.wasm"}}}),
        ),
        ("spec.restartPolicy", json!({"restartPolicy": "Always"})),
        (
            "spec.image",
            json!({"module": null, "image": "registry.test/another:1"}),
        ),
    ] {
        let patch = json!({"spec": change}).to_string();
        let args = [
            "-n",
            &namespace.name,
            "patch",
            "avm/fixed",
            "--type=merge",
            "-p",
            &patch,
        ];
        let said = plane.kubectl.run(&args)?.refused()?;
        let name = field.trim_start_matches("spec.");
        ensure!(
            said.contains(name) && said.contains("immutable"),
            "{field}: {said}"
        );
    }
    Ok(())
}

#[test]
fn cells_outlive_a_killed_agent_and_the_next_one_adopts_them() -> Result<()> {
    let cluster = cluster::shared()?;
    let node = cluster.add_node("li-agent", &NodeSettings::reserved())?;
    let namespace = Namespace::create(cluster.plane, "li-adopt")?;
    let uid = namespace.run_probe(
        "stayer",
        "stay",
        &only_on(&node, json!({"restartPolicy": "Always"})),
    )?;
    let short = namespace.run_probe("napper", "nap", &only_on(&node, json!({})))?;
    let before = namespace.wait_phase("stayer", "Running")?;
    namespace.wait_phase("napper", "Running")?;
    let (pid, held_before) = (
        node.cell_pid(&namespace.name)?,
        held(&node, &namespace, &uid)?,
    );

    node.agent(Process::crash)?;
    wait::until("the guest to end while no agent is there", || {
        let vm = held(&node, &namespace, &short)?;
        Ok(wait::yes_if(text(&vm, "/state") == "Ended", || {
            vm.to_string()
        }))
    })?;
    node.restart_agent()?;

    let napped = namespace.wait_phase("napper", "Complete")?;
    assert_eq!(number(&napped, "/status/restarts"), 0, "{napped}");
    namespace.change("stayer", &json!({"limits": {"cpu": "30m"}}))?;
    let after = namespace.wait_for("stayer", "the new agent obeys", |vm| {
        text(vm, "/status/effective/limits/cpu") == "30m"
    })?;
    assert_eq!(
        node.cell_pid(&namespace.name)?,
        pid,
        "the cell is another process"
    );
    let held_after = held(&node, &namespace, &uid)?;
    assert_eq!(
        held_after["spec"]["attempt"], held_before["spec"]["attempt"],
        "the guest was started again"
    );
    assert_eq!(
        held_after["startedUnixMs"], held_before["startedUnixMs"],
        "the guest was started again"
    );
    assert_eq!(number(&after, "/status/restarts"), 0, "{after}");
    assert_eq!(
        text(&after, "/status/startedAt"),
        text(&before, "/status/startedAt")
    );
    Ok(())
}

#[test]
fn a_vm_deleted_while_no_agent_runs_is_cleaned_up_by_the_next_one() -> Result<()> {
    let cluster = cluster::shared()?;
    let node = cluster.add_node("li-orphan", &NodeSettings::reserved())?;
    let namespace = Namespace::create(cluster.plane, "li-orphan")?;
    let uid = namespace.run_probe("orphan", "stay", &only_on(&node, json!({})))?;
    namespace.wait_phase("orphan", "Running")?;
    node.agent(Process::crash)?;
    namespace.delete("orphan")?;
    node.restart_agent()?;
    node.wait_until_gone(&namespace.name, &uid)
}

#[test]
fn a_killed_cell_takes_only_its_own_namespace_along() -> Result<()> {
    let cluster = cluster::shared()?;
    let node = cluster.add_node("li-cell", &NodeSettings::reserved())?;
    let hurt = Namespace::create(cluster.plane, "li-hurt")?;
    let well = Namespace::create(cluster.plane, "li-well")?;
    hurt.run_probe("once", "stay", &only_on(&node, json!({})))?;
    hurt.run_probe(
        "again",
        "stay",
        &only_on(&node, json!({"restartPolicy": "OnFailure"})),
    )?;
    well.run_probe("bystander", "stay", &only_on(&node, json!({})))?;
    let before = well.wait_phase("bystander", "Running")?;
    for vm in ["once", "again"] {
        hurt.wait_phase(vm, "Running")?;
    }
    let cell = node
        .cell_pid(&hurt.name)?
        .context("the namespace has a cell")?;
    process::signal(cell, Signal::KILL)?;

    let once = hurt.wait_phase("once", "Failed")?;
    assert_eq!(text(&once, "/status/exit/reason"), "Evicted", "{once}");
    hurt.wait_for("again", "it runs again", |vm| {
        phase(vm) == "Running" && number(vm, "/status/restarts") == 1
    })?;
    let after = well.vm("bystander")?;
    assert_eq!(after["status"], before["status"], "a neighbour noticed");
    Ok(())
}

#[test]
fn a_killed_warden_takes_its_cells_along_and_a_new_one_serves_again() -> Result<()> {
    let cluster = cluster::shared()?;
    let mut node = cluster.add_node("li-warden", &NodeSettings::reserved())?;
    let namespace = Namespace::create(cluster.plane, "li-warden")?;
    namespace.run_probe(
        "victim",
        "stay",
        &only_on(&node, json!({"restartPolicy": "OnFailure"})),
    )?;
    namespace.wait_phase("victim", "Running")?;
    let cell = node
        .cell_pid(&namespace.name)?
        .context("the namespace has a cell")?;
    node.warden.crash()?;
    wait::until("the cell to end with its warden", || {
        Ok(wait::yes_if(!process::is_alive(cell), || {
            format!("process {cell} lives")
        }))
    })?;
    node.restart_warden()?;
    namespace.wait_for("victim", "it runs again", |vm| {
        phase(vm) == "Running" && number(vm, "/status/restarts") == 1
    })?;
    Ok(())
}

#[test]
fn sigterm_ends_the_agent_and_the_warden_cleanly() -> Result<()> {
    let cluster = cluster::shared()?;
    let node = cluster.add_node("li-term", &NodeSettings::reserved())?;
    let namespace = Namespace::create(cluster.plane, "li-term")?;
    namespace.run_probe("stayer", "stay", &only_on(&node, json!({})))?;
    namespace.wait_phase("stayer", "Running")?;
    let cell = node
        .cell_pid(&namespace.name)?
        .context("the namespace has a cell")?;
    let ends_well = |process: &Process| {
        process.signal(Signal::TERM)?;
        process.wait_for_end(Duration::from_secs(20))
    };
    assert!(node.agent(ends_well)?.success(), "the agent");
    assert!(process::is_alive(cell), "a cell outlives its agent");
    assert!(ends_well(&node.warden)?.success(), "the warden");
    assert!(!process::is_alive(cell), "no cell outlives its warden");
    Ok(())
}

#[test]
fn the_second_operator_waits_and_takes_over_when_the_first_is_killed() -> Result<()> {
    let cluster = cluster::shared()?;
    let namespace = Namespace::create(cluster.plane, "li-lead")?;
    let second = cluster.start_operator("operator-1")?;
    for number in 0..5 {
        namespace.run_probe(&format!("early-{number}"), "hello", &json!({}))?;
    }
    for number in 0..5 {
        namespace.wait_phase(&format!("early-{number}"), "Complete")?;
    }
    let placed_by = |vm: &str| {
        let mut writes = cluster.plane.audit.status_writes(&namespace.name, vm)?;
        writes.retain(|write| write.account() == "agentvm-operator");
        anyhow::Ok(
            writes
                .into_iter()
                .map(|write| write.pod)
                .collect::<Vec<_>>(),
        )
    };
    for number in 0..5 {
        assert_eq!(
            placed_by(&format!("early-{number}"))?,
            ["operator-0"],
            "two operators act"
        );
    }
    cluster.operator(|operator| operator.process.crash())?;
    namespace.run_probe("late", "hello", &json!({}))?;
    namespace.wait_phase("late", "Complete")?;
    assert_eq!(placed_by("late")?, ["operator-1"]);

    second.process.must_run()?;
    second.process.signal(Signal::TERM)?;
    assert!(
        second
            .process
            .wait_for_end(Duration::from_secs(20))?
            .success(),
        "the operator ends cleanly"
    );
    cluster.restart_operator("operator-2")?;
    namespace.run_probe("later", "hello", &json!({}))?;
    // An operator that ended cleanly has given up its Lease: no one waits for it to expire.
    namespace.wait_for_within(Duration::from_secs(10), "later", "placed", |vm| {
        !text(vm, "/status/assignment/nodeName").is_empty()
    })?;
    Ok(())
}

#[test]
fn an_object_that_cannot_be_decoded_poisons_nothing() -> Result<()> {
    let cluster = cluster::shared()?;
    let namespace = Namespace::create(cluster.plane, "li-poison")?;
    let grace =
        "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/terminationGracePeriod";
    let crd = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/agentvms.agentvm.dev";
    let strict = cluster
        .plane
        .api
        .get(crd)?
        .context("our CRD")?
        .pointer(grace)
        .context("the field's schema")?
        .clone();
    let set = |schema: &Value| {
        let patch = json!([{"op": "replace", "path": grace, "value": schema}]).to_string();
        let args = [
            "patch",
            "crd",
            "agentvms.agentvm.dev",
            "--type=json",
            "-p",
            &patch,
        ];
        cluster.plane.kubectl.run(&args)?.done()
    };
    // An API server of another version of ours may let through what this one can't read.
    set(&json!({"x-kubernetes-int-or-string": true}))?;
    let module = namespace.module("hello")?;
    let strange = manifest(
        "strange",
        &json!({"module": module, "terminationGracePeriod": 7}),
    );
    let created = wait::until("the API server to take the relaxed schema", || {
        let said = cluster.plane.kubectl.run_with(
            &["-n", &namespace.name, "apply", "-f", "-"],
            &strange.to_string(),
        )?;
        Ok(wait::yes_if(said.ok, || said.stderr))
    });
    set(&strict)?;
    created?;
    namespace.run_probe("healthy", "hello", &json!({}))?;
    namespace.wait_phase("healthy", "Complete")?;
    cluster.operator(|operator| operator.process.must_run())?;
    for node in &cluster.nodes {
        node.agent(Process::must_run)?;
    }
    Ok(())
}

#[test]
fn a_vm_that_fits_nowhere_says_why_and_is_placed_once_it_fits() -> Result<()> {
    let cluster = cluster::shared()?;
    let namespace = Namespace::create(cluster.plane, "li-fit")?;
    let spec = json!({"nodeSelector": {"tests/late": "yes"}});
    namespace.run_probe("patient", "stay", &spec)?;
    let vm = namespace.wait_for("patient", "Placed is Unschedulable", |vm| {
        condition(vm, "Placed")
            .is_some_and(|found| found.status == "False" && found.reason == "Unschedulable")
    })?;
    assert_eq!(phase(&vm), "Pending");
    let message = condition(&vm, "Placed").context("Placed")?.message;
    ensure!(
        message.starts_with("0/")
            && message.contains("nodes: ")
            && message.contains("nodeSelector"),
        "{message}"
    );

    let late = NodeSettings {
        labels: json!({"tests/late": "yes"}),
        ..NodeSettings::reserved()
    };
    let node = cluster.add_node("li-late", &late)?;
    let tainted = namespace.wait_for("patient", "the taint is named", |vm| {
        condition(vm, "Placed").is_some_and(|found| found.message.contains("taint"))
    })?;
    assert_eq!(phase(&tainted), "Pending");
    let patch = json!({"spec": {"taints": null}});
    cluster.plane.api.patch("/api/v1/nodes/li-late", &patch)?;
    let placed = namespace.wait_phase("patient", "Running")?;
    assert_eq!(text(&placed, "/status/assignment/nodeName"), node.name);
    cluster.plane.api.patch(
        "/api/v1/nodes/li-late",
        &json!({"spec": {"unschedulable": true}}),
    )?;
    namespace.run_probe("cordoned", "stay", &spec)?;
    namespace.wait_for("cordoned", "no place on a cordoned node", |vm| {
        condition(vm, "Placed").is_some_and(|found| found.reason == "Unschedulable")
    })?;
    assert_eq!(
        phase(&namespace.vm("patient")?),
        "Running",
        "a cordon evicts nobody"
    );
    Ok(())
}

#[test]
fn room_that_another_vm_frees_is_taken_at_once() -> Result<()> {
    let cluster = cluster::shared()?;
    let node = cluster.add_node("li-room", &NodeSettings::reserved())?;
    let namespace = Namespace::create(cluster.plane, "li-room")?;
    let core = || only_on(&node, json!({"limits": {"cpu": "1", "memory": "1Mi"}}));
    for vm in ["first", "second"] {
        namespace.run_probe(vm, "stay", &core())?;
        namespace.wait_phase(vm, "Running")?;
    }
    namespace.run_probe("waiting", "stay", &core())?;
    let vm = namespace.wait_for("waiting", "Unschedulable", |vm| {
        condition(vm, "Placed").is_some_and(|found| found.reason == "Unschedulable")
    })?;
    let message = condition(&vm, "Placed").context("Placed")?.message;
    ensure!(message.contains("1 insufficient cpu"), "{message}");
    namespace.delete("first")?;
    namespace.wait_phase("waiting", "Running").map(|_| ())
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

/// Adds to a spec that it runs on this reserved node alone.
fn only_on(node: &Node, mut spec: Value) -> Value {
    spec["nodeSelector"] = json!({"kubernetes.io/hostname": node.name});
    spec["tolerations"] = json!([{"key": "tests", "operator": "Exists"}]);
    spec["terminationGracePeriod"] = json!("2s");
    spec
}

fn node_of<'a>(cluster: &'a Cluster, vm: &Value) -> Result<&'a Node> {
    cluster.node(&text(vm, "/status/assignment/nodeName"))
}

/// A VM as its cell holds it.
fn held(node: &Node, namespace: &Namespace<'_>, uid: &str) -> Result<Value> {
    let vms = node.vms(&namespace.name)?;
    vms.into_iter()
        .find(|vm| text(vm, "/uid") == uid)
        .with_context(|| format!("no VM {uid} in its cell"))
}

/// Waits until a VM has printed exactly these lines, after `argv[0]`.
fn wait_printed(node: &Node, uid: &str, wanted: &[&str]) -> Result<()> {
    wait::until(&format!("output {wanted:?}"), || {
        let stdout = node.warden.stdout()?;
        let lines = stdout
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let said: Vec<String> = lines
            .filter(|line| text(line, "/uid") == uid)
            .map(|line| text(&line, "/text"))
            .collect();
        let said: Vec<&str> = said
            .iter()
            .map(String::as_str)
            .filter(|line| wanted.contains(line))
            .collect();
        Ok(wait::yes_if(said == wanted, || format!("{said:?}")))
    })
}
