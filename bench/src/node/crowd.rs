//! A hundred `AgentVM`s and then a hundred Pods of an equally small program, made the same way on
//! the same node.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use agentvm_tests::http;
use agentvm_tests::real_node::containerd::PAUSE;
use agentvm_tests::real_node::stage::Stage;
use agentvm_tests::vm::{Namespace, phase};
use anyhow::{Context, Result, anyhow, ensure};
use serde_json::{Value, json};

use super::wait_until;
use crate::report::Row;
use crate::samples::Samples;

/// How many of each: with the release's own, what a kubelet takes by default.
const COUNT: u32 = 100;
/// Requests in flight while they are made.
const WRITERS: usize = 8;
/// Time for memory to settle before it is read.
const SETTLE: Duration = Duration::from_secs(5);

/// What a crowd took.
struct Took {
    seconds: f64,
    /// Resident memory of every process of the node, shared pages divided, for each member.
    resident_mib: f64,
    /// What the machine has less, for each member: also the kernel's part, and everyone else's.
    machine_mib: f64,
}

/// Time to all running, and memory of each.
pub(super) fn rows(stage: &Stage) -> Result<Vec<Row>> {
    let guests = stage.namespace("crowd")?;
    let vms = Vms::new(&guests)?;
    let ours = measure(stage, &vms)?;
    vms.remove_all(stage)?;
    let pods = measure(stage, &Pods::new(stage)?)?;
    let row = |name, unit, ours: f64, pods: f64| {
        let peer = "100 Pods of a static program in C";
        Row::of(name, unit, &Samples::one(ours)).against(peer, &Samples::one(pods))
    };
    Ok(vec![
        row(
            "100 VMs from create to all Running",
            "s",
            ours.seconds,
            pods.seconds,
        ),
        row(
            "memory of each of 100, resident in the node's processes",
            "MiB",
            ours.resident_mib,
            pods.resident_mib,
        ),
        row(
            "memory of each of 100, by what the machine has less",
            "MiB",
            ours.machine_mib,
            pods.machine_mib,
        ),
    ])
}

/// Something of which there can be many.
trait Crowd: Sync {
    fn create(&self, number: u32) -> Result<()>;
    fn running(&self) -> Result<usize>;
}

fn measure(stage: &Stage, crowd: &impl Crowd) -> Result<Took> {
    std::thread::sleep(SETTLE);
    let (resident, available) = (resident_mib(stage)?, available_mib()?);
    let start = Instant::now();
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..COUNT)
            .take(WRITERS)
            .map(|writer| {
                let numbers = (writer..COUNT).step_by(WRITERS);
                scope.spawn(move || {
                    numbers
                        .into_iter()
                        .try_for_each(|number| crowd.create(number))
                })
            })
            .collect();
        writers.into_iter().try_for_each(|writer| {
            let panicked = |_panic| Err(anyhow!("a writer panicked"));
            writer.join().unwrap_or_else(panicked)
        })
    })?;
    let count = usize::try_from(COUNT)?;
    wait_until("all to run", || Ok(crowd.running()? >= count))?;
    let seconds = start.elapsed().as_secs_f64();
    std::thread::sleep(SETTLE);
    let each = |mib: f64| mib / f64::from(COUNT);
    Ok(Took {
        seconds,
        resident_mib: each(resident_mib(stage)? - resident),
        machine_mib: each(available - available_mib()?),
    })
}

/// VMs that wait for the end of their input.
struct Vms<'a> {
    namespace: &'a Namespace<'a>,
    module: Value,
}

impl<'a> Vms<'a> {
    fn new(namespace: &'a Namespace<'a>) -> Result<Self> {
        let module = namespace.module("stay")?;
        Ok(Self { namespace, module })
    }

    fn path(&self) -> String {
        let namespace = &self.namespace.name;
        format!("/apis/agentvm.dev/v1alpha1/namespaces/{namespace}/agentvms?resourceVersion=0")
    }

    fn remove_all(&self, stage: &Stage) -> Result<()> {
        let flags = ["--all", "--wait=true", "--namespace", &self.namespace.name];
        stage.kubectl(&[["delete", "agentvms"].as_slice(), &flags].concat())?;
        let run_dir = format!("/proc/{}/root/run/agentvm/node", stage.agent()?);
        let socket = PathBuf::from(run_dir).join("cells/crowd.sock");
        wait_until("the VMs' cell to be empty", || {
            let list: Value = serde_json::from_str(&http::get_unix(&socket, "/v1/vms")?.body)?;
            let vms = list.get("vms").and_then(Value::as_array);
            Ok(vms.is_none_or(Vec::is_empty))
        })
    }
}

impl Crowd for Vms<'_> {
    fn create(&self, number: u32) -> Result<()> {
        let limits = json!({"memory": "1Mi", "cpu": "10m"});
        let spec = json!({"module": self.module, "limits": limits});
        let name = format!("stone-{number}");
        self.namespace.create_vm(&name, &spec).map(|_| ())
    }

    fn running(&self) -> Result<usize> {
        count(self.namespace, &self.path(), |vm| phase(vm) == "Running")
    }
}

/// Pods whose one program, of some kilobytes, waits for a signal.
struct Pods<'a> {
    namespace: Namespace<'a>,
}

impl<'a> Pods<'a> {
    fn new(stage: &'a Stage) -> Result<Self> {
        let namespace = stage.namespace("pods")?;
        let account = "/api/v1/namespaces/pods/serviceaccounts/default";
        wait_until("the namespace's account", || {
            Ok(stage.node.plane.api.get(account)?.is_some())
        })?;
        Ok(Self { namespace })
    }
}

impl Crowd for Pods<'_> {
    fn create(&self, number: u32) -> Result<()> {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": format!("stone-{number}")},
            "spec": {
                "automountServiceAccountToken": false, "enableServiceLinks": false,
                "terminationGracePeriodSeconds": 1,
                "containers": [{"name": "stone", "image": PAUSE, "imagePullPolicy": "Never"}],
            },
        });
        let api = &self.namespace.plane.api;
        api.create("/api/v1/namespaces/pods/pods", &pod).map(|_| ())
    }

    fn running(&self) -> Result<usize> {
        let path = "/api/v1/namespaces/pods/pods?resourceVersion=0";
        count(&self.namespace, path, |pod| {
            let ready = agentvm_tests::vm::condition(pod, "Ready");
            phase(pod) == "Running" && ready.is_some_and(|ready| ready.status == "True")
        })
    }
}

fn count(namespace: &Namespace<'_>, path: &str, is: impl Fn(&Value) -> bool) -> Result<usize> {
    let list = namespace
        .plane
        .api
        .get(path)?
        .context("the kind is served")?;
    let items = list.get("items").and_then(Value::as_array);
    Ok(items
        .context("a list has items")?
        .iter()
        .filter(|item| is(item))
        .count())
}

/// Proportional set size of every process of the node: of containerd, its shims and what runs in
/// Pods; not of the control plane.
fn resident_mib(stage: &Stage) -> Result<f64> {
    let processes = stage.node.sandbox.processes(|_words| true)?;
    ensure!(!processes.is_empty(), "the node has processes");
    let kib: f64 = processes
        .into_iter()
        .filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok())
        .filter_map(|text| field_kib(&text, "Pss:"))
        .sum();
    Ok(kib / 1024.0)
}

fn available_mib() -> Result<f64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let kib = field_kib(&text, "MemAvailable:").context("MemAvailable")?;
    Ok(kib / 1024.0)
}

fn field_kib(text: &str, field: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().next()?.parse().ok()
}
