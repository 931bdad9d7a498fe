//! Mounted ConfigMaps and Secrets while a guest runs: changes reach it, and nothing of a Secret
//! reaches anybody else.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use agentvm_tests::node::{Node, NodeSettings};
use agentvm_tests::process::Process;
use agentvm_tests::vm::{Namespace, condition, is_true, number, text};
use agentvm_tests::wait::{self, Look};
use agentvm_tests::{Result, cluster, scratch};
use anyhow::{Context, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::{held, only_on};

/// How long a change may take to reach a guest: what the docs promise.
const PROMISED: Duration = Duration::from_secs(30);

#[test]
fn a_change_of_a_mounted_object_reaches_the_guest_within_30_seconds_whichever_agent_runs()
-> Result<()> {
    let cluster = cluster::shared()?;
    let node = cluster.add_node("li-files", &NodeSettings::reserved())?;
    let namespace = Namespace::create(cluster.plane, "li-files")?;
    namespace.config_map("settings", &json!({"text": "one\n"}))?;
    let mounts = json!([
        {"path": "/app", "configMap": {"name": "settings",
            "items": [{"key": "text", "path": "text"}]}},
        {"path": "/nothing", "configMap": {"name": "nowhere", "optional": true}},
        {"path": "/work", "emptyDir": {}},
    ]);
    let uid = namespace.run_probe(
        "watcher",
        "watch",
        &only_on(&node, json!({"mounts": mounts})),
    )?;
    let before = namespace.wait_phase("watcher", "Running")?;
    prints(&node, &uid, &["one"])?;

    change(&namespace, "two\n")?;
    let took = within(PROMISED, || prints(&node, &uid, &["one", "two"]))?;
    println!("a change took {took:?} to reach the guest");

    node.agent(Process::crash)?;
    change(&namespace, "3rd\n")?;
    node.restart_agent()?;
    let took = within(PROMISED, || prints(&node, &uid, &["one", "two", "3rd"]))?;
    println!("a change while no agent ran took {took:?} from the next agent's start");

    let path = format!("/api/v1/namespaces/{}/configmaps/settings", namespace.name);
    cluster.plane.api.delete(&path)?;
    namespace.config_map("settings", &json!({"text": "4th\n"}))?;
    within(PROMISED, || {
        prints(&node, &uid, &["one", "two", "3rd", "4th"])
    })?;

    let after = namespace.vm("watcher")?;
    for field in ["/status/startedAt", "/metadata/resourceVersion"] {
        assert_eq!(text(&after, field), text(&before, field), "{field}");
    }
    assert_eq!(number(&after, "/status/restarts"), 0);
    Ok(())
}

#[test]
fn nothing_of_a_mounted_secret_is_told_to_anybody_but_the_guest() -> Result<()> {
    let cluster = cluster::shared()?;
    let node = cluster.add_node("li-canary", &NodeSettings::reserved())?;
    let namespace = Namespace::create(cluster.plane, "li-canary")?;
    allow_secrets(&namespace)?;
    let first = canary("a");
    secret(&namespace, &first)?;
    let spec = json!({
        "mounts": [{"path": "/key", "secret": {"secretName": "key"}}],
        "limits": {"storage": "64Ki"},
    });
    let uid = namespace.run_probe("keeper", "stay", &only_on(&node, spec))?;
    namespace.wait_phase("keeper", "Running")?;
    let digest = || -> Result<String> {
        Ok(text(
            &held(&node, &namespace, &uid)?,
            "/spec/mounts/0/source/files/sha256",
        ))
    };
    let old = digest()?;

    let second = canary("b");
    secret(&namespace, &second)?;
    wait::until_within(PROMISED, "the cell to have the new Secret", || {
        Ok(wait::yes_if(digest()? != old, || old.clone()))
    })?;

    // One that does not fit makes everybody speak who can.
    let third = canary(&"c".repeat(100 << 10));
    secret(&namespace, &third)?;
    wait::until_within(PROMISED, "an event about files that don't fit", || {
        let events = namespace.events("keeper")?;
        let told = events.iter().any(|event| {
            event.starts_with("FilesNotUpdated: ") && event.contains("limits.storage")
        });
        Ok(wait::yes_if(told, || format!("{events:?}")))
    })?;

    let told = everything_told(&node, &namespace, &uid)?;
    for secret in [&first, &second, &third[third.len() - 40..].to_owned()] {
        for form in [secret.clone(), STANDARD.encode(secret)] {
            // Within a longer text, base64 may begin at any byte.
            let core = form.get(4..form.len() - 4).context("a canary is long")?;
            for (who, said) in &told {
                ensure!(!said.contains(core), "{who} tells of the Secret: {said}");
            }
        }
    }
    Ok(())
}

#[test]
fn memory_pressure_of_a_node_is_a_condition_while_it_lasts_and_one_event() -> Result<()> {
    let cluster = cluster::shared()?;
    let cgroups = scratch::dir("li-cgroups")?;
    show_used(&cgroups, 50_000_000)?;
    let settings = NodeSettings {
        cgroups: Some(cgroups.clone()),
        ..NodeSettings::reserved()
    };
    let node = cluster.add_node("li-pressed", &settings)?;
    let namespace = Namespace::create(cluster.plane, "li-pressed")?;
    let mounts = json!({"mounts": [{"path": "/work", "emptyDir": {}}]});
    namespace.run_probe("writer", "stay", &only_on(&node, mounts))?;
    namespace.run_probe("thinker", "stay", &only_on(&node, json!({})))?;
    namespace.wait_phase("writer", "Running")?;
    let thinker = namespace.wait_phase("thinker", "Running")?;

    show_used(&cgroups, 81_000_000)?;
    let pressed = namespace.wait_for("writer", "StoragePressure", |vm| {
        is_true(vm, "StoragePressure", "NodeMemoryPressure")
    })?;
    assert!(
        is_true(&pressed, "Ready", "Running"),
        "it goes on: {pressed}"
    );
    show_used(&cgroups, 50_000_000)?;
    let patience = Duration::from_mins(1);
    let after = namespace.wait_for_within(patience, "writer", "no StoragePressure", |vm| {
        condition(vm, "StoragePressure").is_none()
    })?;
    assert_eq!(
        text(&after, "/status/startedAt"),
        text(&pressed, "/status/startedAt")
    );
    // An Event follows the status that it tells of.
    wait::until("the Event of the end of the pressure", || {
        let events = namespace.events("writer")?;
        let told = events.iter().any(|event| event.starts_with("NoStorage"));
        Ok(wait::yes_if(told, || format!("{events:?}")))
    })?;
    let events = namespace.events("writer")?;
    for reason in ["StoragePressure: ", "NoStoragePressure: "] {
        let count = events
            .iter()
            .filter(|event| event.starts_with(reason))
            .count();
        assert_eq!(count, 1, "{reason}{events:?}");
    }
    let untouched = namespace.vm("thinker")?;
    let version = "/metadata/resourceVersion";
    assert_eq!(text(&untouched, version), text(&thinker, version));
    Ok(())
}

/// Writes what the kernel shows of a group with a limit of 100 MB, in both versions of the
/// interface.
pub(crate) fn show_used(root: &Path, bytes: u64) -> Result<()> {
    for (path, content) in [
        ("cgroup.controllers", "memory pids\n".to_owned()),
        ("memory.stat", "inactive_file 0\n".to_owned()),
        ("memory.max", "100000000\n".to_owned()),
        ("memory.current", format!("{bytes}\n")),
        ("memory/memory.stat", "total_inactive_file 0\n".to_owned()),
        ("memory/memory.limit_in_bytes", "100000000\n".to_owned()),
        ("memory/memory.usage_in_bytes", format!("{bytes}\n")),
    ] {
        let path = root.join(path);
        fs::create_dir_all(path.parent().context("every file has a folder")?)?;
        // Renamed into place: the warden must never read half of it.
        let draft = path.with_extension("draft");
        fs::write(&draft, content)?;
        fs::rename(&draft, &path)?;
    }
    Ok(())
}

/// Whatever anybody has said of a VM, by who said it.
fn everything_told(
    node: &Node,
    namespace: &Namespace<'_>,
    uid: &str,
) -> Result<Vec<(&'static str, String)>> {
    let socket = node.cell_socket(&namespace.name);
    Ok(vec![
        ("the agent's stderr", node.agent(Process::stderr)?),
        ("the agent's stdout", node.agent(Process::stdout)?),
        ("the cells' stderr", node.warden.stderr()?),
        ("the cells' stdout", node.warden.stdout()?),
        ("the object", namespace.vm("keeper")?.to_string()),
        ("the events", format!("{:?}", namespace.events("keeper")?)),
        ("the metrics", node.metrics()?),
        ("the list", node.ask(&socket, "/v1/vms")?.to_string()),
        (
            "the VM",
            node.ask(&socket, &format!("/v1/vms/{uid}"))?.to_string(),
        ),
        ("the stats", node.ask(&socket, "/v1/stats")?.to_string()),
    ])
}

/// A text that nobody else has.
fn canary(start: &str) -> String {
    let nanos = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos());
    format!(
        "{start}-canary-{}-{nanos}-{nanos:x}-end",
        std::process::id()
    )
}

fn secret(namespace: &Namespace<'_>, value: &str) -> Result<()> {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": "key", "namespace": namespace.name},
        "data": {"token": STANDARD.encode(value)},
    });
    let args = ["apply", "--server-side", "-f", "-"];
    let kubectl = &namespace.plane.kubectl;
    kubectl.run_with(&args, &secret.to_string())?.done()?;
    Ok(())
}

/// Has policy and namespace allow what the manifest asks for.
fn allow_secrets(namespace: &Namespace<'_>) -> Result<()> {
    let policy = json!({
        "apiVersion": "agentvm.dev/v1alpha1", "kind": "AgentPolicy",
        "metadata": {"name": namespace.name},
        "spec": {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace.name}},
            "capabilities": {"secretMounts": {}},
        },
    });
    let kubectl = &namespace.plane.kubectl;
    kubectl.apply(&policy.to_string())?.done()?;
    let binding = [
        "create",
        "rolebinding",
        "agentvm-secrets",
        "-n",
        &namespace.name,
        "--clusterrole=agentvm-secret-reader",
        "--serviceaccount=agentvm-system:agentvm-node-agent",
    ];
    kubectl.run(&binding)?.done()?;
    Ok(())
}

fn change(namespace: &Namespace<'_>, value: &str) -> Result<()> {
    let path = format!("/api/v1/namespaces/{}/configmaps/settings", namespace.name);
    let change = json!({"data": {"text": value}});
    namespace.plane.api.patch(&path, &change).map(|_| ())
}

/// How long something took, which must not be longer than that.
fn within(longest: Duration, what: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let began = Instant::now();
    what()?;
    let took = began.elapsed();
    ensure!(took <= longest, "it took {took:?}, not {longest:?}");
    Ok(took)
}

/// Waits until a VM has printed exactly these lines.
fn prints(node: &Node, uid: &str, wanted: &[&str]) -> Result<()> {
    wait::until(&format!("output {wanted:?}"), || {
        let stdout = node.warden.stdout()?;
        let lines = stdout
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let said: Vec<String> = lines
            .filter(|line| text(line, "/uid") == uid)
            .map(|line| text(&line, "/text"))
            .collect();
        Ok(if said == wanted {
            Look::Yes(())
        } else {
            Look::NotYet(format!("{said:?}"))
        })
    })
}
