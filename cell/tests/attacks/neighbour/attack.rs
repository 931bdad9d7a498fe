//! The classes of attack: what runs while the healthy VMs work.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use agentvm_cell_api::cell::VmSpec;
use agentvm_cell_api::client::CellClient;
use agentvm_policy::EndReason;
use futures::future::join_all;
use tokio::task::JoinHandle;

use crate::harness::{Node, eventually};
use crate::probes;

/// What all attackers of one class may use together: an agent places no more on a node of two cores
/// beside the healthy VMs, since the node's own processes need some.
const MILLICORES: u64 = 800;

/// VMs that start and end at the same time, again and again, where that is the attack.
const LANES: u32 = 4;

/// A class of attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Spin,
    Bulk,
    Calls,
    Output,
    Growth,
    Files,
    Paths,
    Timers,
    Crashes,
    Starts,
}

impl Class {
    pub(super) const ALL: [Self; 10] = [
        Self::Spin,
        Self::Bulk,
        Self::Calls,
        Self::Output,
        Self::Growth,
        Self::Files,
        Self::Paths,
        Self::Timers,
        Self::Crashes,
        Self::Starts,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Spin => "CPU spin",
            Self::Bulk => "bulk memory",
            Self::Calls => "host calls",
            Self::Output => "output",
            Self::Growth => "growth",
            Self::Files => "files",
            Self::Paths => "paths, bytes",
            Self::Timers => "polls, timers",
            Self::Crashes => "crash loop",
            Self::Starts => "starts",
        }
    }

    /// The probes that it is made of.
    const fn probes(self) -> &'static [&'static str] {
        match self {
            Self::Spin => &["spin", "recursion", "startloop", "bursts"],
            Self::Bulk => &["fill", "copy", "tables"],
            Self::Calls => &["rnd", "rnd component", "yield", "iovecs", "environment"],
            Self::Output => &["flood", "flood lines", "flood fast", "flood lines fast"],
            Self::Growth => &["grow", "tgrow", "wide component", "hoard"],
            Self::Files => &["create", "churn", "readdir", "fdx"],
            Self::Paths => &["links", "long path", "symsp", "read write"],
            Self::Timers => &[
                "poll 0",
                "poll 1024",
                "timers",
                "timers component",
                "pollbig",
            ],
            Self::Crashes => &["rec"],
            Self::Starts => &["sleep"],
        }
    }
}

/// Everything that attacks need, ready in one cell.
pub(super) struct Attack {
    client: CellClient,
    specs: Vec<(&'static str, VmSpec)>,
}

impl Attack {
    /// Has every probe compiled.
    pub(super) async fn prepare(node: &Node, namespace: &str) -> Self {
        let mut specs = Vec::new();
        for probe in probes::all() {
            let module = node.compile(&probe.wasm).await;
            specs.push((probe.name, probe.spec(&module, MILLICORES)));
        }
        Self {
            client: node.cell(namespace).await.client,
            specs,
        }
    }

    /// Lets a class of attack begin.
    pub(super) async fn start(&self, class: Class) -> Running {
        let names = class.probes();
        let share = MILLICORES / u64::try_from(names.len()).unwrap();
        let mut specs = Vec::new();
        for name in names {
            let (_, spec) = self.specs.iter().find(|(of, _)| of == name).unwrap();
            let mut spec = spec.clone();
            spec.grants.limits.cpu_millicores = share;
            specs.push(spec);
        }
        let over = Arc::new(AtomicBool::new(false));
        let storms = if matches!(class, Class::Crashes | Class::Starts) {
            let storm = |lane| storm(self.client.clone(), lane, specs[0].clone(), over.clone());
            (0..LANES).map(|lane| tokio::spawn(storm(lane))).collect()
        } else {
            let puts = specs.iter().enumerate();
            join_all(puts.map(|(at, spec)| self.put(at, spec))).await;
            Vec::new()
        };
        Running {
            client: self.client.clone(),
            vms: if storms.is_empty() { specs.len() } else { 0 },
            over,
            storms,
        }
    }

    async fn put(&self, at: usize, spec: &VmSpec) {
        self.client.put_vm(&format!("u-{at}"), spec).await.unwrap();
    }
}

/// An attack that goes on.
pub(super) struct Running {
    client: CellClient,
    vms: usize,
    over: Arc<AtomicBool>,
    storms: Vec<JoinHandle<()>>,
}

impl Running {
    /// Ends it, and waits until nothing of it is left.
    pub(super) async fn stop(self) {
        self.over.store(true, Ordering::Relaxed);
        for storm in self.storms {
            storm.await.unwrap();
        }
        let uids: Vec<String> = (0..self.vms).map(|at| format!("u-{at}")).collect();
        join_all(uids.iter().map(|uid| forget(&self.client, uid))).await;
    }
}

/// Starts one VM after the other, and stops it if it has not ended by itself.
async fn storm(client: CellClient, lane: u32, spec: VmSpec, over: Arc<AtomicBool>) {
    let uid = format!("u-{lane}");
    while !over.load(Ordering::Relaxed) {
        client.put_vm(&uid, &spec).await.unwrap();
        forget(&client, &uid).await;
    }
}

/// Stops a VM and waits until its cell has forgotten it.
async fn forget(client: &CellClient, uid: &str) {
    eventually("it is forgotten", || async {
        let stop = client.delete_vm(uid, Duration::ZERO, EndReason::Stopped);
        stop.await.unwrap().is_none().then_some(())
    })
    .await;
}
