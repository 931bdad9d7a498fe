//! Who may do what, and where.

use agentvm_tests::{Result, chart};
use serde_json::Value;

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
