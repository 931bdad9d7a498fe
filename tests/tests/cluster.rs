//! The whole way of an AgentVM through a cluster, from `kubectl apply` to nothing left behind.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use agentvm_tests::audit::AuditedWrite;
use agentvm_tests::built::binary;
use agentvm_tests::cluster::{self, Cluster};
use agentvm_tests::node::Node;
use agentvm_tests::program::{missing, output_of};
use agentvm_tests::vm::{self, Namespace, is_true, number, phase, text};
use agentvm_tests::wait::{self, Look};
use agentvm_tests::{Result, guests, http};
use anyhow::{Context, ensure};
use serde_json::{Value, json};

const SCRIPT: &str = "import sys\nprint('the answer is', 6 * 7, 'said', sys.argv[1])\n";

#[test]
fn cpython_from_a_registry_runs_the_script_of_a_configmap() -> Result<()> {
    let cluster = cluster::shared()?;
    let namespace = Namespace::create(cluster.plane, "cl-python")?;
    let image = push(cluster, &guests::cpython()?, "guests/cpython:3.12")?;
    namespace.config_map("script", &json!({"main.py": SCRIPT}))?;
    let vm = vm::manifest(
        "answer",
        &json!({
            "image": image,
            "args": ["-c", "$(SCRIPT)", "CPython"],
            "env": [{"name": "SCRIPT", "valueFrom": {"configMapKeyRef": {"name": "script", "key": "main.py"}}}],
            "limits": {"memory": "128Mi", "cpu": "1"},
        }),
    );
    let kubectl = |args: &[&str], input: &str| {
        let args: Vec<&str> = ["-n", &namespace.name]
            .into_iter()
            .chain(args.iter().copied())
            .collect();
        cluster.plane.kubectl.run_with(&args, input)?.done()
    };
    kubectl(&["apply", "-f", "-"], &vm.to_string())?;
    let waited = kubectl(
        &[
            "wait",
            "--for=condition=Complete",
            "--timeout=180s",
            "avm/answer",
        ],
        "",
    );
    let object = namespace.vm("answer")?;
    waited.with_context(|| vm::seen(&object))?;

    let node = cluster.node(&text(&object, "/status/assignment/nodeName"))?;
    let uid = vm::uid(&object)?;
    let lines = printed(node, &uid)?;
    assert_eq!(
        lines,
        [(
            "stdout".to_owned(),
            "the answer is 42 said CPython".to_owned()
        )]
    );
    assert_eq!(number(&object, "/status/exit/code"), 0, "{object}");
    assert_eq!(text(&object, "/status/exit/reason"), "Completed");
    assert!(
        text(&object, "/status/moduleDigest").starts_with("sha256:"),
        "{object}"
    );
    assert!(is_true(
        &object,
        "Ready",
        &vm::condition(&object, "Ready").context("Ready")?.reason
    ));

    let table = kubectl(&["get", "avm"], "")?;
    assert_eq!(
        columns(&table, 0),
        ["NAME", "PHASE", "READY", "NODE", "RESTARTS", "AGE"],
        "{table}"
    );
    assert_eq!(
        columns(&table, 1)[..5],
        ["answer", "Complete", "True", &node.name, "0"],
        "{table}"
    );
    let wide = kubectl(&["get", "avm", "-o", "wide"], "")?;
    for column in ["IMAGE", "MEMORY", "CPU"] {
        assert!(columns(&wide, 0).contains(&column.to_owned()), "{wide}");
    }
    assert!(wide.contains(&image) && wide.contains("128Mi"), "{wide}");
    Ok(())
}

#[test]
fn a_component_runs_like_a_core_module() -> Result<()> {
    let cluster = cluster::shared()?;
    let namespace = Namespace::create(cluster.plane, "cl-component")?;
    namespace.run_probe("component", "component", &json!({}))?;
    let vm = namespace.wait_phase("component", "Complete")?;
    assert_eq!(number(&vm, "/status/exit/code"), 0, "{vm}");
    Ok(())
}

#[test]
fn a_whole_life_takes_three_writes_of_the_status() -> Result<()> {
    let cluster = cluster::shared()?;
    let namespace = Namespace::create(cluster.plane, "cl-writes")?;
    // Long enough for `Running` to be written on a busy machine before the end is: an agent that
    // knows of the end already writes nothing else.
    for vm in ["first", "second", "third"] {
        namespace.run_probe(vm, "stay", &json!({"limits": {"timeout": "10s"}}))?;
    }
    for vm in ["first", "second", "third"] {
        namespace.wait_phase(vm, "Failed")?;
        let writes = cluster.plane.audit.status_writes(&namespace.name, vm)?;
        let users: Vec<&str> = writes.iter().map(AuditedWrite::account).collect();
        assert_eq!(
            users,
            [
                "agentvm-operator",
                "agentvm-node-agent",
                "agentvm-node-agent"
            ],
            "{vm}: {writes:#?}"
        );
        assert!(writes.iter().all(|write| write.code == 200), "{writes:#?}");
    }
    Ok(())
}

#[test]
fn a_vm_that_stays_becomes_ready_and_its_deletion_leaves_nothing() -> Result<()> {
    let cluster = cluster::shared()?;
    let namespace = Namespace::create(cluster.plane, "cl-stay")?;
    let uid = namespace.run_probe("stayer", "stay", &json!({"terminationGracePeriod": "20s"}))?;
    let args = [
        "-n",
        &namespace.name,
        "wait",
        "--for=condition=Ready",
        "--timeout=60s",
        "avm/stayer",
    ];
    let waited = cluster.plane.kubectl.run(&args)?.done();
    let object = namespace.vm("stayer")?;
    waited.with_context(|| vm::seen(&object))?;
    assert_eq!(phase(&object), "Running");
    let node = cluster.node(&text(&object, "/status/assignment/nodeName"))?;
    let cell = node.cell_socket(&namespace.name);
    let log = http::get_unix(&cell, &format!("/v1/vms/{uid}/log"))?;
    assert!(log.status == 200 && log.body.contains("\"up\""), "{log:?}");
    let left = || traces(node, &namespace.name, &uid);
    assert_eq!(
        left()?.len(),
        2,
        "an entry in the cell and an open log: {:?}",
        left()?
    );

    let deleted = [
        "-n",
        &namespace.name,
        "delete",
        "avm/stayer",
        "--timeout=30s",
    ];
    cluster.plane.kubectl.run(&deleted)?.done()?;
    wait::until("nothing to be left of the VM", || {
        let left = left()?;
        Ok(wait::yes_if(left.is_empty(), || format!("{left:?}")))
    })?;
    let said: Vec<String> = printed(node, &uid)?
        .into_iter()
        .map(|(_, text)| text)
        .collect();
    assert_eq!(
        said,
        ["up", "bye"],
        "closing its stdin tells a guest that it has to end"
    );
    Ok(())
}

#[test]
fn a_guest_that_does_not_listen_is_stopped_when_its_grace_is_over() -> Result<()> {
    let cluster = cluster::shared()?;
    let namespace = Namespace::create(cluster.plane, "cl-deaf")?;
    let uid = namespace.run_probe("deaf", "deaf", &json!({"terminationGracePeriod": "1s"}))?;
    let object = namespace.wait_phase("deaf", "Running")?;
    let node = cluster.node(&text(&object, "/status/assignment/nodeName"))?;
    namespace.delete("deaf")?;
    node.wait_until_gone(&namespace.name, &uid)
}

#[test]
fn metrics_carry_namespace_and_vm_and_promtool_finds_no_fault() -> Result<()> {
    let cluster = cluster::shared()?;
    let namespace = Namespace::create(cluster.plane, "cl-metrics")?;
    let limits = json!({
        "limits": {"memory": "32Mi", "storage": "1Mi", "inodes": 100},
        "mounts": [{"path": "/work", "emptyDir": {}}],
    });
    namespace.run_probe("meter", "stay", &limits)?;
    // Without mounts, each call of the filesystem is a denial.
    namespace.run_probe("ender", "nosy", &json!({}))?;
    let running = namespace.wait_phase("meter", "Running")?;
    let ended = namespace.wait_phase("ender", "Failed")?;
    for node in &cluster.nodes {
        check_with_promtool(&node.metrics()?)?;
    }
    let metrics_of = |vm: &Value| {
        cluster
            .node(&text(vm, "/status/assignment/nodeName"))?
            .metrics()
    };
    let sample = |metrics: &str, vm: &str, family: &str, label: &str| {
        let labels = format!("{{namespace=\"{}\",vm=\"{vm}\"", namespace.name);
        let start = format!("{family}{labels}");
        let mut lines = metrics
            .lines()
            .filter(|line| line.starts_with(&start) && line.contains(label));
        lines.next()?.rsplit(' ').next()?.parse::<f64>().ok()
    };
    wait::until("the running VM's series", || {
        let metrics = metrics_of(&running)?;
        let sample = |family, label| sample(&metrics, "meter", family, label).unwrap_or(-1.0);
        let sound = sample("agentvm_vm_state", "state=\"Running\"") >= 1.0
            && sample("agentvm_vm_restarts_total", "") >= 0.0
            && sample("agentvm_vm_cpu_seconds_total", "") > 0.0
            && sample("agentvm_vm_cpu_throttled_seconds_total", "") >= 0.0
            && sample("agentvm_vm_fuel_total", "") > 0.0
            && sample("agentvm_vm_memory_bytes", "") >= 65_536.0
            && sample("agentvm_vm_memory_peak_bytes", "") >= 65_536.0
            && sample("agentvm_vm_memory_limit_bytes", "") >= 33_554_432.0
            && sample("agentvm_vm_log_bytes_total", "") >= 3.0
            && sample("agentvm_vm_storage_bytes", "") >= 0.0
            && sample("agentvm_vm_storage_limit_bytes", "") >= 1_048_576.0
            && sample("agentvm_vm_inodes", "") >= 0.0
            && sample("agentvm_vm_inodes_limit", "") >= 100.0
            && sample("agentvm_vm_filesystem_operations_total", "result=\"ok\"") >= 0.0
            && sample("agentvm_vm_log_dropped_bytes_total", "") >= 0.0;
        Ok(wait::yes_if(sound, || metrics))
    })?;
    let metrics = metrics_of(&ended)?;
    for (family, label) in [
        ("agentvm_vm_state", "state=\"Failed\""),
        ("agentvm_vm_exits_total", "reason=\"Error\""),
        ("agentvm_vm_denials_total", "interface=\"filesystem\""),
    ] {
        let value = sample(&metrics, "ender", family, label);
        ensure!(
            value == Some(1.0),
            "{family} of an ended VM is {value:?} in {metrics}"
        );
    }
    ensure!(
        metrics.contains("agentvm_start_latency_seconds_bucket{"),
        "no start latency in {metrics}"
    );
    let uid = vm::uid(&ended)?;
    ensure!(
        !metrics.contains(&uid),
        "a uid in a label makes a new series for each object"
    );
    Ok(())
}

#[test]
fn events_tell_the_story_once() -> Result<()> {
    let cluster = cluster::shared()?;
    let namespace = Namespace::create(cluster.plane, "cl-events")?;
    namespace.run_probe("storied", "hello", &json!({}))?;
    namespace.wait_phase("storied", "Complete")?;
    let events = wait::until("an Event about the placement", || {
        let events = namespace.events("storied")?;
        Ok(if events.iter().any(|event| event.starts_with("Placed")) {
            Look::Yes(events)
        } else {
            Look::NotYet(format!("{events:?}"))
        })
    })?;
    let mut once = events.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), events.len(), "{events:?}");
    Ok(())
}

/// Pushes a file to the cluster's registry by our own command, and gives the image's reference.
fn push(cluster: &Cluster, file: &std::path::Path, name: &str) -> Result<String> {
    let image = format!("{}/{name}", cluster.registry.address);
    let output = output_of(
        Command::new(binary("agentvm")?)
            .args(["push", "--insecure"])
            .arg(file)
            .arg(&image),
    )?;
    ensure!(
        output.status.success(),
        "agentvm push: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(image)
}

/// What a VM has printed: stream and text of each line on the `cells` container's stdout.
fn printed(node: &Node, uid: &str) -> Result<Vec<(String, String)>> {
    let stdout = node.warden.stdout()?;
    let lines = stdout.lines().map(serde_json::from_str::<Value>);
    let lines: Vec<Value> = lines
        .collect::<Result<_, _>>()
        .context("stdout is JSON lines and nothing else")?;
    let of_this = lines.iter().filter(|line| text(line, "/uid") == uid);
    Ok(of_this
        .map(|line| (text(line, "/stream"), text(line, "/text")))
        .collect())
}

/// Everything that a node still has of one namespace's only VM: its cell's entry, its log, which
/// is a file without a name that the cell holds open, and any file with a name.
fn traces(node: &Node, namespace: &str, uid: &str) -> Result<Vec<String>> {
    let mut traces = Vec::new();
    for vm in node.vms(namespace)? {
        if text(&vm, "/uid") == uid {
            traces.push(vm.to_string());
        }
    }
    if let Some(cell) = node.cell_pid(namespace)? {
        for descriptor in fs::read_dir(format!("/proc/{cell}/fd"))?.flatten() {
            let target = fs::read_link(descriptor.path()).unwrap_or_default();
            if target.starts_with(node.log_dir()) {
                traces.push(target.display().to_string());
            }
        }
    }
    for file in fs::read_dir(node.log_dir())? {
        traces.push(file?.path().display().to_string());
    }
    Ok(traces)
}

fn columns(table: &str, row: usize) -> Vec<String> {
    table
        .lines()
        .nth(row)
        .unwrap_or("")
        .split_whitespace()
        .map(str::to_owned)
        .collect()
}

fn check_with_promtool(exposition: &str) -> Result<()> {
    let mut promtool = Command::new("promtool");
    promtool
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = promtool
        .spawn()
        .with_context(|| missing("promtool".as_ref()))?;
    child
        .stdin
        .take()
        .context("promtool reads its input")?
        .write_all(exposition.as_bytes())?;
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success() && said.is_empty(),
        "promtool finds: {said}\nin:\n{exposition}"
    );
    Ok(())
}
