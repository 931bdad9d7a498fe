//! Who may write what, tried with the real identities: the operator, the agents of two nodes,
//! a tenant with the `edit` role, and the cluster's admin.

use std::sync::OnceLock;

use agentvm_tests::control_plane::ControlPlane;
use agentvm_tests::identity::{self, BoundTo, NODE_AGENT, SYSTEM};
use agentvm_tests::kubectl::{Kubectl, Said};
use agentvm_tests::vm::Namespace;
use agentvm_tests::wait::{self, Look};
use agentvm_tests::{Result, cluster};
use anyhow::anyhow;
use serde_json::{Value, json};

/// Two nodes and everybody who may want to write.
struct Scene {
    plane: &'static ControlPlane,
    operator: Kubectl,
    /// Its token is bound to its Node.
    north: Kubectl,
    /// Its token is bound to a Pod on its Node.
    south: Kubectl,
    /// The agents' service account, with a token that is bound to nothing.
    unbound: Kubectl,
}

#[test]
fn k12_the_operator_assigns_and_nobody_else_does() -> Result<()> {
    let scene = scene()?;
    let namespace = Namespace::create(scene.plane, "adm-assign")?;
    namespace.run_probe("vm", "hello", &json!({}))?;
    for (who, kubectl) in [
        ("agent", &scene.north),
        ("unbound", &scene.unbound),
        ("admin", &scene.plane.kubectl),
    ] {
        let said = assign(kubectl, &namespace, "vm", "north")?.refused()?;
        // Two policies refuse it; the API server tells of either.
        must_say(&said, &["AgentVM adm-assign/vm", "may not"], who);
    }
    assign(&scene.operator, &namespace, "vm", "north")?.done()?;
    let said = assign(&scene.north, &namespace, "vm", "south")?.refused()?;
    must_say(&said, &["assignment"], "an agent that gives its VM away");
    let said = scene
        .north
        .patch_status(&namespace.name, "avm/vm", &json!({"assignment": null}))?
        .refused()?;
    must_say(&said, &["assignment"], "an agent that drops its VM");
    assign(&scene.operator, &namespace, "vm", "south")?.done()?;
    Ok(())
}

#[test]
fn k14_an_agent_reports_on_vms_of_its_own_node_alone() -> Result<()> {
    let scene = scene()?;
    let namespace = Namespace::create(scene.plane, "adm-report")?;
    for (vm, node) in [("vm-north", "north"), ("vm-south", "south")] {
        namespace.run_probe(vm, "hello", &json!({}))?;
        assign(&scene.operator, &namespace, vm, node)?.done()?;
    }
    report(&scene.north, &namespace, "vm-north")?.done()?;
    report(&scene.south, &namespace, "vm-south")?.done()?;
    for (who, kubectl, vm, node) in [
        ("north", &scene.north, "vm-south", "south"),
        ("south", &scene.south, "vm-north", "north"),
    ] {
        let said = report(kubectl, &namespace, vm)?.refused()?;
        must_say(&said, &[node], &format!("the agent of {who} on {vm}"));
    }
    let said = report(&scene.unbound, &namespace, "vm-north")?.refused()?;
    must_say(&said, &["node"], "an agent whose token names no node");
    Ok(())
}

#[test]
fn an_agent_does_not_report_on_a_vm_without_assignment() -> Result<()> {
    let scene = scene()?;
    let namespace = Namespace::create(scene.plane, "adm-early")?;
    namespace.run_probe("vm", "hello", &json!({}))?;
    report(&scene.north, &namespace, "vm")?.refused()?;
    Ok(())
}

#[test]
fn k29_a_late_report_never_lands_on_another_object_of_the_same_name() -> Result<()> {
    let scene = scene()?;
    let namespace = Namespace::create(scene.plane, "adm-late")?;
    namespace.run_probe("vm", "hello", &json!({}))?;
    assign(&scene.operator, &namespace, "vm", "north")?.done()?;
    let report_on = |uid: &str| {
        let status = json!({"phase": "Complete", "reportedUid": uid});
        scene.north.patch_status(&namespace.name, "avm/vm", &status)
    };
    let said = report_on("0b1e9e2c-0000-4000-8000-000000000000")?.refused()?;
    must_say(
        &said,
        &["gone", "0b1e9e2c"],
        "a report on the object before",
    );
    let vm = [
        "-n",
        &namespace.name,
        "get",
        "avm",
        "vm",
        "-o",
        "jsonpath={.metadata.uid}",
    ];
    let uid = scene.plane.kubectl.run(&vm)?.done()?;
    report_on(uid.trim())?.done()?;
    Ok(())
}

#[test]
fn k14_an_agent_writes_its_own_agentnode_alone() -> Result<()> {
    let scene = scene()?;
    scene.north.apply(&agent_node("north"))?.done()?;
    let said = scene.north.apply(&agent_node("south"))?.refused()?;
    must_say(
        &said,
        &["north", "south"],
        "the agent of north, creating AgentNode south",
    );
    scene.south.apply(&agent_node("south"))?.done()?;
    let status = json!({"version": "0.0.0-tests"});
    scene
        .north
        .patch_status("default", "agentnode/north", &status)?
        .done()?;
    let said = scene
        .north
        .patch_status("default", "agentnode/south", &status)?
        .refused()?;
    must_say(
        &said,
        &["north", "south"],
        "the agent of north, on AgentNode south's status",
    );
    scene
        .unbound
        .patch_status("default", "agentnode/north", &status)?
        .refused()?;
    Ok(())
}

#[test]
fn k14_an_agent_writes_its_own_lease_alone() -> Result<()> {
    let scene = scene()?;
    for (name, kubectl) in [("node-north", &scene.north), ("node-south", &scene.south)] {
        kubectl
            .run_with(&["create", "-f", "-"], &lease(name))?
            .done()?;
    }
    for (who, kubectl, name) in [
        ("north", &scene.north, "node-east"),
        ("north", &scene.north, "agentvm-operator"),
        ("nobody", &scene.unbound, "node-west"),
    ] {
        let said = kubectl
            .run_with(&["create", "-f", "-"], &lease(name))?
            .refused()?;
        must_say(
            &said,
            &["Lease"],
            &format!("the agent of {who}, creating Lease {name}"),
        );
    }
    let patch = json!({"spec": {"holderIdentity": "north"}}).to_string();
    let renew = |name| {
        scene.north.run(&[
            "-n",
            SYSTEM,
            "patch",
            "lease",
            name,
            "--type=merge",
            "-p",
            &patch,
        ])
    };
    renew("node-north")?.done()?;
    must_say(
        &renew("node-south")?.refused()?,
        &["Lease"],
        "the agent of north, renewing Lease node-south",
    );
    Ok(())
}

#[test]
fn k13_a_tenant_writes_agentvms_but_never_what_is_reported_of_them() -> Result<()> {
    let scene = scene()?;
    let namespace = Namespace::create(scene.plane, "adm-tenant")?;
    let tina = Kubectl::new(&namespace.tenant("tina")?)?;
    let module = namespace.module("hello")?;
    let vm = agentvm_tests::vm::manifest("vm", &json!({"module": module})).to_string();
    wait::until("the edit role to reach AgentVMs", || {
        let said = tina.run_with(
            &[
                "-n",
                &namespace.name,
                "apply",
                "--dry-run=server",
                "-f",
                "-",
            ],
            &vm,
        )?;
        Ok(wait::yes_if(said.ok, || said.stderr))
    })?;
    tina.run_with(&["-n", &namespace.name, "apply", "-f", "-"], &vm)?
        .done()?;
    tina.run(&["-n", &namespace.name, "get", "avm", "vm"])?
        .done()?;
    for status in [
        json!({"phase": "Complete"}),
        json!({"assignment": {"nodeName": "north", "epoch": 1}}),
    ] {
        let said = tina
            .patch_status(&namespace.name, "avm/vm", &status)?
            .refused()?;
        must_say(
            &said,
            &["Forbidden", "agentvms/status"],
            "a tenant on status",
        );
    }
    for (verb, what) in [
        ("create", "agentpolicies"),
        ("update", "agentpolicies"),
        ("create", "agentnodes"),
        ("update", "agentnodes/status"),
    ] {
        assert!(
            !can(&tina, &namespace.name, verb, what)?,
            "a tenant can {verb} {what}"
        );
    }
    Ok(())
}

#[test]
fn k26_operator_and_agents_never_read_secrets_nor_write_specs() -> Result<()> {
    let scene = scene()?;
    for (who, kubectl) in [
        ("the operator", &scene.operator),
        ("an agent", &scene.north),
    ] {
        for verb in ["get", "list", "watch"] {
            assert!(
                !can(kubectl, "default", verb, "secrets")?,
                "{who} can {verb} secrets"
            );
        }
        for what in [
            "pods",
            "configmaps",
            "rolebindings.rbac.authorization.k8s.io",
            "serviceaccounts/token",
        ] {
            assert!(
                !can(kubectl, "default", "create", what)?,
                "{who} can create {what}"
            );
        }
        for verb in ["update", "patch", "create"] {
            let agentvms = can(kubectl, "default", verb, "agentvms.agentvm.dev")?;
            assert!(!agentvms, "{who} can {verb} AgentVMs' specs");
        }
    }
    assert!(
        can(&scene.north, "default", "list", "agentvms.agentvm.dev")?,
        "an agent can't list AgentVMs"
    );
    Ok(())
}

#[test]
fn k26_an_agent_reads_secrets_by_name_where_the_namespace_opted_in_and_nowhere_else() -> Result<()>
{
    let scene = scene()?;
    let (open, shut) = ("adm-secrets-open", "adm-secrets-shut");
    let mut kept = Vec::new();
    for name in [open, shut] {
        let namespace = Namespace::create(scene.plane, name)?;
        let admin = &scene.plane.kubectl;
        let secret = [
            "create",
            "secret",
            "generic",
            "key",
            "--from-literal=a=quill",
        ];
        admin.run(&[&["-n", name][..], &secret].concat())?.done()?;
        kept.push(namespace);
    }
    let read = |kubectl: &Kubectl, namespace: &str| {
        let value = "jsonpath={.data.a}";
        kubectl.run(&["-n", namespace, "get", "secret", "key", "-o", value])
    };
    for namespace in [open, shut] {
        let said = read(&scene.north, namespace)?.refused()?;
        must_say(
            &said,
            &["Forbidden", "secrets", namespace],
            "an agent, before anyone opted in",
        );
    }
    // As the agent tells it to whoever waits for the VM: a namespace's own admin may do it.
    let tina = namespace_admin(scene, open)?;
    let account = format!("--serviceaccount={SYSTEM}:{NODE_AGENT}");
    let role = "--clusterrole=agentvm-secret-reader";
    let bind = [
        "create",
        "rolebinding",
        "agentvm-secrets",
        "-n",
        open,
        role,
        &account,
    ];
    tina.run(&bind)?.done()?;
    wait::until("the agents to read the Secret", || {
        let said = read(&scene.north, open)?;
        Ok(wait::yes_if(said.ok && said.stdout == "cXVpbGw=", || {
            said.stderr
        }))
    })?;
    read(&scene.north, shut)?.refused()?;
    read(&scene.operator, open)?.refused()?;
    for verb in ["list", "watch", "update", "patch", "delete", "create"] {
        let may = can(&scene.north, open, verb, "secrets")?;
        assert!(!may, "an agent can {verb} secrets where it may read them");
    }
    scene
        .plane
        .kubectl
        .run(&["-n", open, "delete", "rolebinding", "agentvm-secrets"])?
        .done()?;
    wait::until("the agents to be shut out again", || {
        let said = read(&scene.north, open)?;
        Ok(wait::yes_if(!said.ok, || said.stdout))
    })?;
    Ok(())
}

/// Somebody with the role `admin` in `namespace` and no right elsewhere.
fn namespace_admin(scene: &Scene, namespace: &str) -> Result<Kubectl> {
    let admin = &scene.plane.kubectl;
    let account = format!("--serviceaccount={namespace}:chief");
    let chief = ["-n", namespace, "create", "serviceaccount", "chief"];
    admin.run(&chief)?.done()?;
    let binding = [
        "-n",
        namespace,
        "create",
        "rolebinding",
        "chief",
        "--clusterrole=admin",
    ];
    admin.run(&[&binding[..], &[&account]].concat())?.done()?;
    let token = ["-n", namespace, "create", "token", "chief"];
    let token = admin.run(&token)?.done()?;
    let kubeconfig = scene.plane.kubeconfig_of_token("chief", token.trim())?;
    Kubectl::new(&kubeconfig)
}

/// The mutant of the tests above: it is the admission policies that refuse, not something else.
#[test]
fn k14_without_the_policies_an_agent_takes_over_another_nodes_vm() -> Result<()> {
    let plane = cluster::install("bare", &["crds/yaml", "deploy"])?;
    let bindings = ["delete", "validatingadmissionpolicybindings", "--all"];
    plane.kubectl.run(&bindings)?.done()?;
    create_node(&plane, "north")?;
    let north = Kubectl::new(&identity::node_agent(&plane, "north", BoundTo::Node)?)?;
    let namespace = Namespace::create(&plane, "adm-bare")?;
    namespace.run_probe("vm", "hello", &json!({}))?;
    let lease = lease("node-south");
    // The API server needs a moment to drop the policies, one by one.
    let attacks: [&dyn Fn() -> Result<Said>; 5] = [
        &|| assign(&plane.kubectl, &namespace, "vm", "south"),
        &|| report(&north, &namespace, "vm"),
        &|| assign(&north, &namespace, "vm", "north"),
        &|| north.apply(&agent_node("south")),
        &|| north.run_with(&["create", "-f", "-"], &lease),
    ];
    for attack in attacks {
        wait::until("an attack to succeed", || {
            let said = attack()?;
            Ok(wait::yes_if(said.ok, || said.stderr))
        })?;
    }
    Ok(())
}

fn scene() -> Result<&'static Scene> {
    static SCENE: OnceLock<Result<Scene, String>> = OnceLock::new();
    let scene = SCENE.get_or_init(|| set_scene().map_err(|error| format!("{error:?}")));
    scene.as_ref().map_err(|error| anyhow!("{error}"))
}

fn set_scene() -> Result<Scene> {
    let plane = cluster::installed()?;
    for node in ["north", "south"] {
        create_node(plane, node)?;
    }
    let unbound = plane
        .kubectl
        .run(&["-n", SYSTEM, "create", "token", NODE_AGENT])?
        .done()?;
    let scene = Scene {
        plane,
        operator: Kubectl::new(&identity::operator(plane, "operator")?)?,
        north: Kubectl::new(&identity::node_agent(plane, "north", BoundTo::Node)?)?,
        south: Kubectl::new(&identity::node_agent(plane, "south", BoundTo::Pod)?)?,
        unbound: Kubectl::new(&plane.kubeconfig_of_token("unbound", unbound.trim())?)?,
    };
    wait_for_policies(&scene)?;
    Ok(scene)
}

/// The API server needs a moment to take up new admission policies, one by one. Each is tried
/// without effect (`--dry-run`) by a write that it alone refuses.
fn wait_for_policies(scene: &Scene) -> Result<()> {
    let namespace = Namespace::create(scene.plane, "adm-warm-up")?;
    namespace.run_probe("vm", "hello", &json!({}))?;
    assign(&scene.operator, &namespace, "vm", "north")?.done()?;
    let create = |kubectl: &Kubectl, object: &str| {
        kubectl.run_with(&["create", "-f", "-", "--dry-run=server"], object)
    };
    let patch = |kubectl: &Kubectl, status: &str| {
        let merge = [
            "-n",
            "adm-warm-up",
            "patch",
            "avm/vm",
            "--subresource=status",
            "--type=merge",
        ];
        let args: Vec<&str> = merge
            .into_iter()
            .chain(["--dry-run=server", "-p", status])
            .collect();
        kubectl.run(&args)
    };
    wait::until("the admission policies to hold", || {
        let said = [
            patch(
                &scene.north,
                r#"{"status": {"assignment": {"nodeName": "south"}}}"#,
            )?,
            patch(&scene.south, r#"{"status": {"phase": "Running"}}"#)?,
            create(&scene.north, &agent_node("elsewhere"))?,
            create(&scene.north, &lease("node-elsewhere"))?,
        ];
        let passed = said.into_iter().find(|said| said.ok);
        Ok(passed.map_or(Look::Yes(()), |said| Look::NotYet(said.stdout)))
    })
}

fn create_node(plane: &ControlPlane, name: &str) -> Result<()> {
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}});
    plane.api.create("/api/v1/nodes", &node).map(|_| ())
}

fn assign(kubectl: &Kubectl, namespace: &Namespace<'_>, vm: &str, node: &str) -> Result<Said> {
    let status: Value = json!({"assignment": {"nodeName": node, "epoch": 1}});
    kubectl.patch_status(&namespace.name, &format!("avm/{vm}"), &status)
}

fn report(kubectl: &Kubectl, namespace: &Namespace<'_>, vm: &str) -> Result<Said> {
    kubectl.patch_status(
        &namespace.name,
        &format!("avm/{vm}"),
        &json!({"phase": "Running"}),
    )
}

fn agent_node(name: &str) -> String {
    format!(
        "{{apiVersion: agentvm.dev/v1alpha1, kind: AgentNode, metadata: {{name: {name}}}, spec: {{}}}}"
    )
}

fn lease(name: &str) -> String {
    format!(
        "{{apiVersion: coordination.k8s.io/v1, kind: Lease, \
         metadata: {{name: {name}, namespace: {SYSTEM}}}, spec: {{holderIdentity: tests}}}}"
    )
}

fn can(kubectl: &Kubectl, namespace: &str, verb: &str, what: &str) -> Result<bool> {
    let (resource, subresource) = what.split_once('/').unwrap_or((what, ""));
    let subresource = format!("--subresource={subresource}");
    Ok(kubectl
        .run(&[
            "-n",
            namespace,
            "auth",
            "can-i",
            verb,
            resource,
            &subresource,
        ])?
        .stdout
        .trim()
        == "yes")
}

#[track_caller]
fn must_say(said: &str, words: &[&str], who: &str) {
    for word in words {
        assert!(
            said.contains(word),
            "{who} was refused without a word on {word:?}: {said}"
        );
    }
}
