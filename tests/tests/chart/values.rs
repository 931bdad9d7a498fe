//! Values: what a mistaken one says, and what the schema and the docs know of them.

use std::collections::BTreeSet;
use std::fs;

use agentvm_tests::{Result, chart, workspace};
use anyhow::Context as _;
use serde_json::{Value, json};

/// Mistakes in values, each with what Helm's error has to name.
const MISTAKES: [(&str, &str, &str); 34] = [
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
    (
        "node.overcommit.memoryPercent=0",
        "/node/overcommit/memoryPercent",
        "want 1",
    ),
    (
        "node.overcommit.cpuPercent=1001",
        "/node/overcommit/cpuPercent",
        "want 1,000",
    ),
    ("node.maxCells=4097", "/node/maxCells", "want 4,096"),
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
        "defaultPolicy.capabilities.network.egress[0].host=api.example.com",
        "/defaultPolicy/capabilities/network/egress/0",
        "'methods', 'paths'",
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
        "gateway.clusterCidrs={10.96.0.0}",
        "/gateway/clusterCidrs/0",
        "'10.96.0.0' does not match",
    ),
    (
        "gateway.nameServers={dns.example}",
        "/gateway/nameServers/0",
        "'dns.example' does not match",
    ),
    ("gateway.accessLog=-", "/gateway/accessLog", "want boolean"),
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
fn a_memory_limit_that_no_cell_starts_in_is_refused_with_the_least_one() -> Result<()> {
    let limit = "node.cells.resources.limits.memory";
    for small in ["24Mi", "63M"] {
        let said = chart::template("steep", &["--set", &format!("{limit}={small}")])?.refused()?;
        assert!(
            said.contains(&format!("{limit} is {small}, and 64Mi is the least")),
            "{said}"
        );
    }
    for enough in ["64Mi", "640Mi", "1Gi"] {
        chart::template("steep", &["--set", &format!("{limit}={enough}")])?.done()?;
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
        "/capabilities/network",
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
