//! The kubelet.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::NODE;
use super::cgroups::Cgroups;
use super::containerd::Containerd;
use super::network::NODE_ADDRESS;
use super::sandbox::Sandbox;
use crate::Result;
use crate::assets::Program;
use crate::control_plane::ControlPlane;
use crate::process::Process;

/// Starts a kubelet inside `sandbox`.
pub(super) fn start(
    sandbox: &Sandbox,
    plane: &ControlPlane,
    cgroups: &Cgroups,
    containerd: &Containerd,
    dir: &Path,
) -> Result<Process> {
    let user = format!("system:node:{NODE}");
    let kubeconfig = plane.kubeconfig_of_member("kubelet", &user, "system:nodes")?;
    let config = dir.join("kubelet.json");
    let settings = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": format!("unix://{}", containerd.socket().display()),
        "authentication": {
            "anonymous": {"enabled": false},
            "x509": {"clientCAFile": plane.pki.certificate("ca")},
            "webhook": {"enabled": true},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": cgroups.path(),
        // Users have v2; a machine for tests may have v1 yet.
        "failCgroupV1": false,
        "failSwapOn": false,
        "enforceNodeAllocatable": [],
        "clusterDNS": ["10.96.0.10"], "clusterDomain": "cluster.local",
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "podLogsDir": dir.join("pod-logs"),
        "syncFrequency": "2s",
        "nodeStatusUpdateFrequency": "2s",
    });
    fs::write(&config, settings.to_string())?;
    let flag = |name: &str, path: &Path| format!("--{name}={}", path.display());
    sandbox.start_process("kubelet", dir, &Program::Kubelet.locate()?, |command| {
        command
            .arg(flag("config", &config))
            .arg(flag("kubeconfig", &kubeconfig))
            .arg(flag("root-dir", &dir.join("kubelet")))
            .arg(flag("cert-dir", &dir.join("kubelet-certificates")))
            .arg(format!("--hostname-override={NODE}"))
            .arg(format!("--node-ip={NODE_ADDRESS}"))
    })
}
