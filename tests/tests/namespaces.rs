//! Operator and agent whose roles hold in named namespaces alone, as the chart's value
//! `namespaces` binds them.

use std::path::Path;

use agentvm_tests::built::binary;
use agentvm_tests::control_plane::ControlPlane;
use agentvm_tests::identity::{self, BoundTo};
use agentvm_tests::kubectl::Kubectl;
use agentvm_tests::process::Process;
use agentvm_tests::vm::Namespace;
use agentvm_tests::{Result, chart, cluster, http, node, scratch};
use serde_json::json;

const SERVED: [&str; 2] = ["teal", "ochre"];
const NODE: &str = "amber";

fn bind_roles(plane: &ControlPlane) -> Result<()> {
    let served = format!("namespaces={{{}}}", SERVED.join(","));
    let shown = ["rbac", "admission"].map(|name| format!("templates/{name}.yaml"));
    let [rbac, admission] = &shown;
    let args = [
        "--set",
        &served,
        "--show-only",
        rbac,
        "--show-only",
        admission,
    ];
    let rendered = chart::template(identity::SYSTEM, &args)?.done()?;
    plane.kubectl.apply(&rendered)?.done().map(|_| ())
}

fn start_operator(plane: &ControlPlane, dir: &Path) -> Result<Process> {
    let kubeconfig = identity::operator(plane, "operator-0")?;
    let listen = http::loopback(http::free_port()?).to_string();
    Process::start("operator", dir, binary("agentvm-operator")?, |command| {
        command
            .env_clear()
            .env("KUBECONFIG", kubeconfig)
            .env("AGENTVM_NAMESPACES", SERVED.join(","))
            .args(["--identity", "operator-0", "--listen", &listen])
    })
}

fn start_agent(dir: &Path, kubeconfig: &Path) -> Result<Process> {
    let listen = http::loopback(http::free_port()?).to_string();
    Process::start(
        "node-agent",
        dir,
        binary("agentvm-node-agent")?,
        |command| {
            command
                .env_clear()
                .env("KUBECONFIG", kubeconfig)
                .env("AGENTVM_NAMESPACES", SERVED.join(","))
                .args(["--node-name", NODE, "--listen", &listen])
                .args(["--memory", "1Gi", "--cpu", "4", "--run-dir"])
                .arg(dir.join("run"))
        },
    )
}

#[test]
fn vms_run_in_the_named_namespaces_and_nothing_of_others_can_be_read() -> Result<()> {
    let dir = scratch::dir("named")?;
    let plane = cluster::install("cp", &["crds/yaml", "deploy/namespace.yaml"])?;
    let [teal, ochre] = SERVED.map(|name| Namespace::create(&plane, name));
    let (teal, ochre) = (teal?, ochre?);
    let foreign = Namespace::create(&plane, "plum")?;
    bind_roles(&plane)?;
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}});
    plane.api.create("/api/v1/nodes", &node)?;
    let kubeconfig = identity::node_agent(&plane, NODE, BoundTo::Pod)?;

    for namespace in [&foreign, &teal, &ochre] {
        namespace.run_probe("heron", "hello", &json!({}))?;
    }
    let _warden = node::start_warden(&dir, 8)?;
    let _agent = start_agent(&dir, &kubeconfig)?;
    let _operator = start_operator(&plane, &dir)?;
    for namespace in [&teal, &ochre] {
        namespace.wait_phase("heron", "Complete")?;
    }
    assert_eq!(
        foreign.vm("heron")?.get("status"),
        None,
        "nobody has looked at it"
    );

    let agent = Kubectl::new(&kubeconfig)?;
    let may = |namespace: &str| -> Result<bool> {
        let said = agent.run(&[
            "auth",
            "can-i",
            "get",
            "configmaps",
            "--namespace",
            namespace,
        ])?;
        Ok(said.stdout.trim() == "yes")
    };
    assert_eq!(
        [may("teal")?, may("ochre")?, may("plum")?],
        [true, true, false]
    );
    Ok(())
}
