//! What runs, and how it is locked down.

use agentvm_tests::{Result, chart};
use anyhow::Context as _;
use serde_json::{Value, json};

/// Every pod that the chart can make, with the name of the object that makes it.
pub(crate) fn pods(args: &[&str]) -> Result<Vec<(String, Value)>> {
    let mut all = vec!["--is-upgrade"];
    all.extend(args);
    let objects = chart::objects("steep", &all)?;
    let pods = objects.iter().filter_map(|object| {
        let name = object.pointer("/metadata/name")?.as_str()?;
        let kind = object.get("kind")?.as_str()?;
        let spec = match kind {
            "Pod" => object.get("spec")?,
            _ => object.pointer("/spec/template/spec")?,
        };
        Some((format!("{kind}/{name}"), spec.clone()))
    });
    Ok(pods.collect())
}

pub(crate) fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    let lists = ["initContainers", "containers"].into_iter();
    lists.flat_map(|list| {
        pod.get(list)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
    })
}

pub(crate) fn name(container: &Value) -> &str {
    container.get("name").and_then(Value::as_str).unwrap_or("")
}

#[test]
fn every_container_is_locked_down() -> Result<()> {
    let pods = pods(&[])?;
    assert_eq!(pods.len(), 4, "{pods:?}");
    for (owner, pod) in pods {
        let security = pod.get("securityContext").context("a security context")?;
        assert_eq!(security.get("runAsNonRoot"), Some(&json!(true)), "{owner}");
        assert_eq!(
            security.pointer("/seccompProfile/type"),
            Some(&json!("RuntimeDefault")),
            "{owner}"
        );
        for field in ["hostNetwork", "hostPID", "hostIPC", "hostUsers"] {
            assert_eq!(pod.get(field), None, "{owner}");
        }
        for container in containers(&pod) {
            let security = container
                .get("securityContext")
                .context("a security context")?;
            let expected = json!({
                "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "privileged": false,
                "capabilities": {"drop": ["ALL"]},
            });
            assert_eq!(security, &expected, "{owner}");
            let memory = container.pointer("/resources/limits/memory");
            assert!(memory.is_some(), "{owner}: {}", name(container));
        }
    }
    Ok(())
}

#[test]
fn the_token_reaches_one_container_of_a_pod_and_never_the_cells() -> Result<()> {
    for (owner, pod) in pods(&[])? {
        assert_eq!(
            pod.get("automountServiceAccountToken"),
            Some(&json!(false)),
            "{owner}"
        );
        let volumes = pod
            .get("volumes")
            .and_then(Value::as_array)
            .context("volumes")?;
        let tokens: Vec<&Value> = volumes
            .iter()
            .filter(|one| one.to_string().contains("serviceAccountToken"))
            .collect();
        let [token] = tokens.as_slice() else {
            anyhow::bail!("{owner}: {tokens:?}")
        };
        let source = token
            .pointer("/projected/sources/0/serviceAccountToken")
            .context("a token")?;
        assert_eq!(
            source,
            &json!({"path": "token", "expirationSeconds": 3600}),
            "{owner}: the API server's own audience"
        );
        let holders: Vec<&str> = containers(&pod)
            .filter(|one| one.to_string().contains("\"name\":\"api-token\""))
            .map(name)
            .collect();
        assert_eq!(holders.len(), 1, "{owner}");
        assert!(!holders.contains(&"cells"), "{owner}");
        assert!(!holders.contains(&"gateway"), "{owner}");
    }
    Ok(())
}

#[test]
fn nothing_but_their_own_end_restarts_the_cells_and_the_gateway() -> Result<()> {
    let pods = pods(&[])?;
    let (_, node) = pods
        .iter()
        .find(|(owner, _)| owner == "DaemonSet/agentvm-node")
        .context("a node pod")?;
    for container in ["cells", "gateway"] {
        let container = containers(node)
            .find(|one| name(one) == container)
            .context("it")?;
        for probe in [
            "livenessProbe",
            "startupProbe",
            "readinessProbe",
            "lifecycle",
        ] {
            assert_eq!(container.get(probe), None, "{probe}");
        }
    }
    let agent = containers(node)
        .find(|one| name(one) == "agent")
        .context("agent")?;
    assert!(agent.get("livenessProbe").is_some());
    Ok(())
}

#[test]
fn the_gateway_is_given_its_directory_its_authorities_and_nothing_else() -> Result<()> {
    let roots = ["--set", "gateway.rootCertificates.configMap=roots"];
    for (args, mounts) in [
        (&[][..], json!(["gateway"])),
        (&roots[..], json!(["gateway", "roots"])),
    ] {
        let pods = pods(args)?;
        let (_, node) = pods
            .iter()
            .find(|(owner, _)| owner == "DaemonSet/agentvm-node")
            .context("a node pod")?;
        let gateway = containers(node).find(|one| name(one) == "gateway");
        let gateway = gateway.context("a gateway")?;
        let mounted = gateway.get("volumeMounts").and_then(Value::as_array);
        let mounted: Vec<&str> = mounted.into_iter().flatten().map(name).collect();
        assert_eq!(json!(mounted), mounts);
        assert_eq!(gateway.get("ports"), None, "it listens on no port");
        for reader in containers(node).filter(|one| name(one) != "gateway") {
            let mounts = reader.get("volumeMounts").and_then(Value::as_array);
            let directory = mounts
                .into_iter()
                .flatten()
                .find(|one| name(one) == "gateway");
            let directory = directory.context("the gateway's directory")?;
            assert_eq!(directory.get("readOnly"), Some(&json!(true)), "{reader}");
            let says = reader.to_string().contains("/run/gateway/node");
            assert!(says, "{}: where the gateway is", name(reader));
        }
    }
    Ok(())
}

#[test]
fn a_release_from_before_there_was_a_gateway_is_upgraded_with_its_values() -> Result<()> {
    let before = ["--set", "gateway=null,networkPolicy.privateNetworks=null"];
    let pods = pods(&before)?;
    let gateways = pods.iter().flat_map(|(_, pod)| containers(pod));
    let gateway = gateways.into_iter().find(|one| name(one) == "gateway");
    let gateway = gateway.context("a gateway")?;
    let memory = gateway.pointer("/resources/limits/memory");
    assert_eq!(memory, Some(&json!("256Mi")));
    assert!(gateway.to_string().contains("--access-log=-"));
    Ok(())
}

#[test]
fn capacity_is_read_from_the_limits_of_the_cells() -> Result<()> {
    let pods = pods(&[])?;
    let (_, node) = pods
        .iter()
        .find(|(owner, _)| owner == "DaemonSet/agentvm-node")
        .context("a node pod")?;
    let agent = containers(node)
        .find(|one| name(one) == "agent")
        .context("agent")?;
    let env = agent.get("env").and_then(Value::as_array).context("env")?;
    let fields: Vec<(&str, &Value)> = env
        .iter()
        .filter_map(|one| Some((name(one), one.pointer("/valueFrom/resourceFieldRef")?)))
        .collect();
    let of = |resource: &str, divisor: &str| json!({"containerName": "cells", "resource": resource, "divisor": divisor});
    let expected = [
        ("AGENTVM_CELLS_MEMORY_BYTES", &of("limits.memory", "1")),
        ("AGENTVM_CELLS_CPU_MILLICORES", &of("limits.cpu", "1m")),
    ];
    assert_eq!(fields, expected);
    Ok(())
}

#[test]
fn a_change_of_the_operator_leaves_node_pods_alone() -> Result<()> {
    let before = chart::objects("steep", &[])?;
    let set = "operator.replicas=3,operator.concurrency=32,podMonitor.enabled=true,defaultPolicy.namespaceSelector.matchLabels.team=teal";
    let after = chart::objects("steep", &["--set", set])?;
    let pods = |objects| -> Result<Value> {
        let set = chart::find(objects, "DaemonSet", "agentvm-node")?;
        set.pointer("/spec").cloned().context("a spec")
    };
    assert_eq!(pods(&before)?, pods(&after)?);
    Ok(())
}

#[test]
fn state_on_the_host_is_the_only_host_path_and_only_if_asked_for() -> Result<()> {
    let is_host = |pods: &[(String, Value)]| {
        pods.iter()
            .map(|(_, pod)| pod.to_string().matches("\"hostPath\":").count())
            .sum::<usize>()
    };
    assert_eq!(is_host(&pods(&[])?), 0);
    assert_eq!(is_host(&pods(&["--set", "node.state.type=hostPath"])?), 1);
    Ok(())
}
