//! The chart as Helm renders it: what runs with which rights, and what a mistaken value says.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use agentvm_tests::program::output_of;
use agentvm_tests::{Result, built, chart, guests, workspace};
use anyhow::Context as _;
use base64::Engine as _;
use serde_json::{Value, json};

/// Mistakes in values, each with what Helm's error has to name.
const MISTAKES: [(&str, &str, &str); 27] = [
    ("operator.replica=3", "/operator", "'replica' not allowed"),
    ("operators.replicas=3", "", "'operators' not allowed"),
    ("operator.replicas=0", "/operator/replicas", "want 1"),
    (
        "operator.replicas=two",
        "/operator/replicas",
        "want integer",
    ),
    (
        "operator.concurrency=5000",
        "/operator/concurrency",
        "want 1,024",
    ),
    ("image.tag=a:b", "/image/tag", "'a:b' does not match"),
    (
        "image.digest=sha256:12",
        "/image/digest",
        "'sha256:12' does not match",
    ),
    (
        "image.pullPolicy=Sometimes",
        "/image/pullPolicy",
        "'Always', 'IfNotPresent', 'Never'",
    ),
    ("image.repository=", "/image/repository", "minLength"),
    (
        "requireJail=half",
        "/requireJail",
        "'full', 'partial', 'none'",
    ),
    ("node.memoryPercent=99", "/node/memoryPercent", "want 95"),
    ("node.graceSeconds=-1", "/node/graceSeconds", "want 0"),
    (
        "node.maxUnavailable=0%",
        "/node/maxUnavailable",
        "'0%' does not match",
    ),
    (
        "node.state.type=pvc",
        "/node/state/type",
        "'emptyDir', 'hostPath'",
    ),
    (
        "node.state.hostPath=relative",
        "/node/state/hostPath",
        "'relative' does not match",
    ),
    (
        "node.cells.resources.limits.memory=1GiB",
        "/node/cells/resources/limits/memory",
        "'1GiB' does not match",
    ),
    (
        "node.cells.resources.limits.memroy=1Gi",
        "/node/cells/resources/limits",
        "'memroy' not allowed",
    ),
    (
        "node.insecureRegistries={reg/path}",
        "/node/insecureRegistries/0",
        "'reg/path' does not match",
    ),
    (
        "namespaces={Team}",
        "/namespaces/0",
        "'Team' does not match",
    ),
    (
        "secrets.namespaces={Team}",
        "/secrets/namespaces/0",
        "'Team' does not match",
    ),
    (
        "secrets.namespace=team",
        "/secrets",
        "'namespace' not allowed",
    ),
    (
        "defaultPolicy.capabilities.secretMounts=true",
        "/defaultPolicy/capabilities/secretMounts",
        "want object",
    ),
    (
        "defaultPolicy.limits.max.storage=1GB",
        "/defaultPolicy/limits/max/storage",
        "'1GB' does not match",
    ),
    (
        "defaultPolicy.limits.max.openFiles=many",
        "/defaultPolicy/limits/max/openFiles",
        "'many' does not match",
    ),
    (
        "defaultPolicy.mode=Enforce",
        "/defaultPolicy",
        "'namespaceSelector' required",
    ),
    (
        "priorityClass.name=system-mine",
        "/priorityClass/name",
        "not",
    ),
    (
        "podMonitor.enabled=maybe",
        "/podMonitor/enabled",
        "want boolean",
    ),
];

#[test]
fn a_mistaken_value_is_refused_with_its_path_and_what_is_allowed() -> Result<()> {
    for (mistake, path, hint) in MISTAKES {
        let said = chart::template("n", &["--set", mistake])?.refused()?;
        let path = format!("at '{path}'");
        assert!(
            said.contains(&path) && said.contains(hint),
            "{mistake}: {said}"
        );
    }
    Ok(())
}

#[test]
fn a_cluster_that_is_too_old_is_refused_with_the_version_that_is_needed() -> Result<()> {
    let said = chart::template("n", &["--kube-version", "1.31.4"])?.refused()?;
    assert!(said.contains("requires kubeVersion: >=1.32.0-0"), "{said}");
    chart::template("n", &["--kube-version", "1.32.0-gke.1"])?.done()?;
    Ok(())
}

#[test]
fn the_chart_is_of_this_version() -> Result<()> {
    let chart = fs::read_to_string(chart::folder().join("Chart.yaml"))?;
    let chart: Value = serde_yaml::from_str(&chart)?;
    for field in ["version", "appVersion"] {
        assert_eq!(chart.get(field), Some(&json!(env!("CARGO_PKG_VERSION"))));
    }
    Ok(())
}

#[test]
fn every_schema_of_the_values_is_closed() -> Result<()> {
    let schema = fs::read_to_string(chart::folder().join("values.schema.json"))?;
    let schema: Value = serde_json::from_str(&schema)?;
    let mut open = Vec::new();
    find_open("", &schema, &mut open);
    assert_eq!(open, ["/properties/global"], "only Helm's own is open");
    Ok(())
}

/// Paths of object schemas that take any property of any type.
fn find_open(path: &str, schema: &Value, open: &mut Vec<String>) {
    let is_object = schema.get("type").is_some_and(|kind| kind == "object");
    if is_object && schema.get("additionalProperties").is_none() {
        open.push(path.to_owned());
    }
    if let Some(map) = schema.as_object() {
        for (name, inner) in map {
            find_open(&format!("{path}/{name}"), inner, open);
        }
    }
}

fn values() -> Result<Value> {
    let values = fs::read_to_string(chart::folder().join("values.yaml"))?;
    Ok(serde_yaml::from_str(&values)?)
}

#[test]
fn every_value_that_the_docs_name_is_one_that_the_chart_has() -> Result<()> {
    let values = values()?;
    let is_value = |word: &str| {
        let first = word.split('.').next().unwrap_or(word);
        word.contains('.') && values.get(first).is_some()
    };
    let mut named = 0;
    for page in ["install.md", "security.md", "gitops.md"] {
        let text = fs::read_to_string(workspace::root().join("docs").join(page))?;
        let words = text.split('`').skip(1).step_by(2);
        let words = words.map(|word| word.split('=').next().unwrap_or(word));
        for word in words.filter(|word| is_value(word)) {
            let path = format!("/{}", word.replace('.', "/"));
            assert!(values.pointer(&path).is_some(), "{page}: {word}");
            named += 1;
        }
    }
    assert!(named > 10, "{named} values are named");
    Ok(())
}

#[test]
fn the_default_policys_schema_knows_the_fields_of_the_crd() -> Result<()> {
    let schema = fs::read_to_string(chart::folder().join("values.schema.json"))?;
    let schema: Value = serde_json::from_str(&schema)?;
    let values = schema
        .pointer("/properties/defaultPolicy")
        .context("a schema")?;
    let crd = fs::read_to_string(workspace::root().join("crds/yaml/agentpolicies.yaml"))?;
    let crd: Value = serde_yaml::from_str(&crd)?;
    let spec = crd
        .pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec")
        .context("a spec")?;
    for path in [
        "",
        "/limits",
        "/limits/max",
        "/limits/default",
        "/capabilities",
        "/capabilities/clock",
        "/capabilities/secretMounts",
    ] {
        let path: String = path
            .split('/')
            .filter(|part| !part.is_empty())
            .fold(String::new(), |path, part| {
                format!("{path}/properties/{part}")
            });
        assert_eq!(properties(values, &path), properties(spec, &path), "{path}");
    }
    Ok(())
}

fn properties(schema: &Value, path: &str) -> BTreeSet<String> {
    let properties = schema.pointer(&format!("{path}/properties"));
    let names = properties
        .and_then(Value::as_object)
        .map(|map| map.keys().cloned());
    names.into_iter().flatten().collect()
}

#[test]
fn deploy_is_what_the_chart_renders() -> Result<()> {
    for name in ["rbac.yaml", "admission.yaml"] {
        let shown = format!("templates/{name}");
        let said = chart::template("agentvm-system", &["--show-only", &shown])?.done()?;
        let documents: Vec<String> = said
            .split("\n---\n")
            .map(without_source)
            .filter(|one| !one.is_empty())
            .collect();
        let rendered = format!(
            "# Rendered from charts/agentvm/templates/{name}; AGENTVM_UPDATE=1 cargo test -p agentvm-tests --test chart.\n\n{}\n",
            documents.join("\n---\n")
        );
        let path = workspace::root().join("deploy").join(name);
        if std::env::var_os("AGENTVM_UPDATE").is_some() {
            fs::write(&path, &rendered)?;
        }
        let committed = fs::read_to_string(&path)?;
        assert!(
            committed == rendered,
            "deploy/{name} is not what the chart renders: its first line says how to write it"
        );
    }
    Ok(())
}

fn without_source(document: &str) -> String {
    let lines = document.trim_start_matches("---\n").lines();
    let lines: Vec<&str> = lines
        .filter(|line| !line.starts_with("# Source: "))
        .collect();
    lines.join("\n").trim().to_owned()
}

#[test]
fn the_tests_module_is_the_probe_that_its_source_says() -> Result<()> {
    let text = base64::engine::general_purpose::STANDARD.encode(guests::probe("hello")?);
    let path = chart::folder().join("files/hello.wasm.base64");
    if std::env::var_os("AGENTVM_UPDATE").is_some() {
        fs::write(&path, format!("{text}\n"))?;
    }
    assert_eq!(fs::read_to_string(path)?.replace('\n', ""), text);
    Ok(())
}

/// Every pod that the chart can make, with the name of the object that makes it.
fn pods(args: &[&str]) -> Result<Vec<(String, Value)>> {
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

fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    let lists = ["initContainers", "containers"].into_iter();
    lists.flat_map(|list| {
        pod.get(list)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
    })
}

fn name(container: &Value) -> &str {
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
    }
    Ok(())
}

#[test]
fn nothing_but_its_own_end_restarts_the_cells() -> Result<()> {
    let pods = pods(&[])?;
    let (_, node) = pods
        .iter()
        .find(|(owner, _)| owner == "DaemonSet/agentvm-node")
        .context("a node pod")?;
    let cells = containers(node)
        .find(|one| name(one) == "cells")
        .context("cells")?;
    for probe in [
        "livenessProbe",
        "startupProbe",
        "readinessProbe",
        "lifecycle",
    ] {
        assert_eq!(cells.get(probe), None, "{probe}");
    }
    let agent = containers(node)
        .find(|one| name(one) == "agent")
        .context("agent")?;
    assert!(agent.get("livenessProbe").is_some());
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
fn every_flag_and_variable_of_the_chart_is_one_that_its_program_knows() -> Result<()> {
    let more = [
        "--set",
        "namespaces={teal}",
        "--set",
        "node.insecureRegistries={reg:5000}",
    ];
    for (owner, pod) in pods(&more)? {
        for container in containers(&pod) {
            let words: Vec<&str> = ["command", "args"]
                .into_iter()
                .flat_map(|list| {
                    container
                        .get(list)
                        .and_then(Value::as_array)
                        .into_iter()
                        .flatten()
                })
                .filter_map(Value::as_str)
                .collect();
            let (program, rest) = words.split_first().context("a command")?;
            let program = built::binary(program.trim_start_matches('/'))?;
            let verbs = rest.iter().take_while(|word| !word.starts_with("--"));
            let help = output_of(Command::new(&program).args(verbs).arg("--help"))?;
            let help = String::from_utf8_lossy(&help.stdout).into_owned();
            for flag in rest.iter().filter(|word| word.starts_with("--")) {
                let flag = flag.split('=').next().unwrap_or(flag);
                assert!(
                    help.contains(&format!("{flag} ")),
                    "{owner}: {flag} in\n{help}"
                );
            }
            for variable in container
                .get("env")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .map(name)
            {
                // The agent takes its log filter from the environment alone.
                let known = [format!("[env: {variable}="), format!("`{variable}`")];
                assert!(
                    known.iter().any(|known| help.contains(known)),
                    "{owner}: {variable} in\n{help}"
                );
            }
        }
    }
    Ok(())
}

#[test]
fn with_named_namespaces_nothing_of_a_tenants_is_readable_elsewhere() -> Result<()> {
    let objects = chart::objects("steep", &["--set", "namespaces={teal,ochre}"])?;
    let bound = |kind: &str| -> Vec<String> {
        let of_kind = objects
            .iter()
            .filter(|object| object.get("kind").is_some_and(|found| found == kind));
        let text = |object: &Value, path: &str| {
            object
                .pointer(path)
                .and_then(Value::as_str)
                .unwrap_or("")
                .to_owned()
        };
        let names = of_kind.filter(|object| !object.to_string().contains("helm.sh/hook"));
        names
            .map(|object| {
                format!(
                    "{}/{}",
                    text(object, "/metadata/namespace"),
                    text(object, "/roleRef/name")
                )
            })
            .collect()
    };
    assert_eq!(
        bound("ClusterRoleBinding"),
        ["/agentvm-operator", "/agentvm-node-agent"]
    );
    let mut everywhere = bound("RoleBinding");
    everywhere.sort();
    let expected = [
        "ochre/agentvm-node-agent-vms",
        "ochre/agentvm-operator-vms",
        "steep/agentvm-node-agent",
        "steep/agentvm-operator",
        "teal/agentvm-node-agent-vms",
        "teal/agentvm-operator-vms",
    ];
    assert_eq!(everywhere, expected);
    for role in ["agentvm-operator", "agentvm-node-agent"] {
        let rules = chart::find(&objects, "ClusterRole", role)?.to_string();
        assert!(
            !rules.contains("\"agentvms\"") && !rules.contains("configmaps"),
            "{rules}"
        );
    }
    Ok(())
}

/// Where the agents may read Secrets, and for whom: one binding in each namespace that opted in.
fn secret_readers(args: &[&str]) -> Result<Vec<String>> {
    let objects = chart::objects("steep", args)?;
    let text = |object: &Value, path: &str| {
        object
            .pointer(path)
            .and_then(Value::as_str)
            .unwrap_or("")
            .to_owned()
    };
    let bindings = objects
        .iter()
        .filter(|object| text(object, "/roleRef/name") == "agentvm-secret-reader");
    Ok(bindings
        .map(|object| {
            let path = ["/kind", "/metadata/namespace", "/subjects/0/namespace"];
            let [kind, namespace, of] = path.map(|path| text(object, path));
            format!(
                "{kind} {namespace}: {of}/{}",
                text(object, "/subjects/0/name")
            )
        })
        .collect())
}

#[test]
fn k26_secrets_are_readable_in_the_namespaces_that_opted_in_and_nowhere_else() -> Result<()> {
    assert_eq!(secret_readers(&[])?, [""; 0]);
    let opted_in = ["--set", "secrets.namespaces={teal,ochre}"];
    let expected = [
        "RoleBinding teal: steep/agentvm-node-agent",
        "RoleBinding ochre: steep/agentvm-node-agent",
    ];
    assert_eq!(secret_readers(&opted_in)?, expected);
    let served = [
        "--set",
        "namespaces={teal,ochre},secrets.namespaces={ochre}",
    ];
    assert_eq!(
        secret_readers(&served)?,
        ["RoleBinding ochre: steep/agentvm-node-agent"]
    );
    Ok(())
}

#[test]
fn a_namespace_that_opted_in_and_is_not_served_is_refused_by_name() -> Result<()> {
    let mistake = ["--set", "namespaces={teal},secrets.namespaces={ochre}"];
    let said = chart::template("steep", &mistake)?.refused()?;
    let sentence =
        "secrets.namespaces names \"ochre\", whose AgentVMs are not run: add it to namespaces";
    assert!(said.contains(sentence), "{said}");
    Ok(())
}

#[test]
fn a_release_from_before_there_were_secrets_is_upgraded_with_its_values() -> Result<()> {
    assert_eq!(secret_readers(&["--set", "secrets=null"])?, [""; 0]);
    Ok(())
}

#[test]
fn the_admission_policies_name_the_releases_own_accounts() -> Result<()> {
    let said = chart::template("steep", &["--show-only", "templates/admission.yaml"])?.done()?;
    assert!(said.contains("system:serviceaccount:steep:agentvm-operator"));
    assert!(said.contains("system:serviceaccount:steep:agentvm-node-agent"));
    assert!(!said.contains("agentvm-system"), "{said}");
    Ok(())
}

/// The ports that a `NetworkPolicy` lets out, and how many rules let anything in.
fn network(args: &[&str], name: &str) -> Result<(BTreeSet<u64>, Value)> {
    let objects = chart::objects("steep", args)?;
    let policy = chart::find(&objects, "NetworkPolicy", name)?;
    let spec = policy.get("spec").context("a spec")?;
    let rules = spec
        .get("egress")
        .and_then(Value::as_array)
        .context("egress")?;
    let ports = rules
        .iter()
        .filter_map(|rule| rule.get("ports")?.as_array())
        .flatten()
        .filter_map(|port| port.get("port")?.as_u64());
    Ok((
        ports.collect(),
        spec.get("ingress").cloned().unwrap_or_default(),
    ))
}

#[test]
fn out_go_dns_the_api_server_and_registries_and_in_come_scrapes() -> Result<()> {
    let scrapes = json!([{"ports": [{"port": "metrics"}]}]);
    let (out, in_) = network(&[], "agentvm-operator")?;
    assert_eq!((out, &in_), (BTreeSet::from([53, 443, 6443]), &scrapes));
    let registries = ["--set", "node.insecureRegistries={reg:5000,plain}"];
    let (out, in_) = network(&registries, "agentvm-node")?;
    assert_eq!(
        (out, &in_),
        (BTreeSet::from([53, 80, 443, 5000, 6443]), &scrapes)
    );
    let (_, in_) = network(&[], "agentvm-chores")?;
    assert_eq!(in_, Value::Null, "nobody speaks to a chore");
    let peers = [
        "--set",
        "networkPolicy.metricsFrom[0].namespaceSelector.matchLabels.team=teal",
    ];
    let (_, in_) = network(&peers, "agentvm-operator")?;
    let from = in_.pointer("/0/from/0/namespaceSelector/matchLabels/team");
    assert_eq!(from, Some(&json!("teal")));
    Ok(())
}

#[test]
fn a_pod_monitor_keeps_the_labels_of_vms_and_is_there_only_if_asked_for() -> Result<()> {
    let without = chart::objects("steep", &[])?;
    assert!(chart::find(&without, "PodMonitor", "agentvm").is_err());
    let with = chart::objects("steep", &["--set", "podMonitor.enabled=true"])?;
    let monitor = chart::find(&with, "PodMonitor", "agentvm")?;
    assert_eq!(
        monitor.pointer("/spec/podMetricsEndpoints/0/honorLabels"),
        Some(&json!(true))
    );
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
