//! A node in memory: one cell for each namespace that keeps the socket API's promises, and an
//! API server that remembers what it was told.

mod carry;
mod gateway;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use agentvm_cell_api::cell::{End, Usage, VmState, VmStatus};
use agentvm_cell_api::warden::{CellEnd, EndedCell, ModuleKind};
use agentvm_crds::AgentPolicy;
use agentvm_crds::agentvm::{
    AgentVM, AgentVMSpec, AgentVMStatus, Assignment, ModuleSource, Phase, RestartPolicy,
};
use agentvm_policy::EndReason;

use crate::backoff::Backoff;
use crate::catalogue::{Catalogue, Change};
use crate::environment::ConfigMaps;
use crate::mounts::Contents;
use crate::observed::{Notice, Observed, ReadyModule, Record};
use crate::plan::Plan;
use crate::problem::Problem;
use crate::report::Report;
use gateway::FakeGateway;

pub(super) const NODE: &str = "node-a";
pub(super) const NAMESPACE: &str = "tenant-ns";

/// A node in memory.
#[derive(Debug)]
pub(super) struct World {
    pub(super) catalogue: Catalogue,
    pub(super) observed: Observed,
    pub(super) now: Duration,
    /// Objects by UID, as the API server has them.
    pub(super) objects: BTreeMap<String, AgentVM>,
    pub(super) policies: Vec<AgentPolicy>,
    /// VMs by UID, as the one cell has them.
    pub(super) cell: BTreeMap<String, VmStatus>,
    pub(super) instance: u32,
    /// Whether the cell's process runs.
    pub(super) cell_runs: bool,
    cell_started_unix_ms: u64,
    /// What the warden says of cells that ended.
    pub(super) ended_cells: Vec<EndedCell>,
    /// What the next fetch of a module yields.
    pub(super) fetch: Result<ReadyModule, Problem>,
    pub(super) config_maps: ConfigMaps,
    /// What mounted objects hold.
    pub(super) contents: Contents,
    /// Why updates of running VMs fail.
    pub(super) update_fails: Option<String>,
    /// What was told of files that were not updated.
    pub(super) warnings: Vec<String>,
    /// Status writes by UID, in their order.
    pub(super) told: BTreeMap<String, Vec<Report>>,
    /// Every action that was carried out, by its name.
    pub(super) done: Vec<&'static str>,
    /// Whether status writes fail.
    pub(super) api_is_down: bool,
    /// UIDs that were ever given.
    pub(super) born: BTreeSet<&'static str>,
    /// Whether an agent was killed.
    pub(super) killed: bool,
    /// Runs that were started, by UID: epoch and attempt.
    pub(super) starts: BTreeMap<String, Vec<(u64, u32)>>,
    /// The gateway's process, while one runs.
    pub(super) gateway: Option<FakeGateway>,
    /// Processes of the gateway so far.
    pub(super) gateways: u32,
    /// Denials that were told.
    pub(super) denials: Vec<String>,
}

impl World {
    /// An agent that has just found an empty node.
    pub(super) fn new() -> Self {
        let mut world = Self {
            catalogue: Catalogue::new(NODE),
            observed: Observed::default(),
            now: Duration::from_secs(1_000),
            objects: BTreeMap::new(),
            policies: Vec::new(),
            cell: BTreeMap::new(),
            instance: 1,
            cell_runs: false,
            cell_started_unix_ms: 0,
            ended_cells: Vec::new(),
            fetch: Ok(ReadyModule {
                sha256: "ab".repeat(32),
                kind: ModuleKind::Core,
            }),
            config_maps: BTreeMap::new(),
            contents: Contents::new(),
            update_fails: None,
            warnings: Vec::new(),
            told: BTreeMap::new(),
            done: Vec::new(),
            api_is_down: false,
            starts: BTreeMap::new(),
            killed: false,
            born: BTreeSet::new(),
            gateway: None,
            gateways: 0,
            denials: Vec::new(),
        };
        world.start_agent();
        world
    }

    /// A node on which the VM `u1` runs.
    pub(super) fn running(policy: RestartPolicy) -> Self {
        let mut world = Self::new();
        world.apply(assigned("u1", policy));
        world.settle();
        assert!(world.record("u1").is_live(), "{:?}", world.record("u1"));
        world
    }

    /// An agent without memory: policies and namespaces are read, cells are surveyed, objects
    /// are listed.
    pub(super) fn start_agent(&mut self) {
        self.catalogue = Catalogue::new(NODE);
        self.observed = Observed::default();
        self.read_rules();
        self.find_vms();
    }

    /// The same, but the API server is slow to tell it the policies and the namespaces.
    pub(super) fn start_agent_without_rules(&mut self) {
        self.catalogue = Catalogue::new(NODE);
        self.observed = Observed::default();
        self.find_vms();
    }

    pub(super) fn read_rules(&mut self) {
        let policies = self.policies.iter().cloned().map(Ok).collect();
        self.change(Change::Policies(policies));
        self.change(Change::Namespaces(BTreeMap::from([(
            NAMESPACE.to_owned(),
            BTreeMap::new(),
        )])));
    }

    fn find_vms(&mut self) {
        if self.cell_runs {
            self.notice(self.cell_up());
        }
        self.tell_gateway();
        self.notice(Notice::Surveyed {
            ended: self.ended_cells.clone(),
        });
        self.relist();
    }

    pub(super) fn relist(&mut self) {
        let all = self.objects.values().cloned().map(Ok).collect();
        self.change(Change::AllVms(all));
    }

    /// Creates or replaces an object, and lets the watch say so.
    pub(super) fn apply(&mut self, vm: AgentVM) {
        self.objects
            .insert(vm.metadata.uid.clone().unwrap(), vm.clone());
        self.change(Change::Vm(Box::new(vm)));
    }

    pub(super) fn edit(&mut self, uid: &str, edit: impl FnOnce(&mut AgentVMSpec)) {
        let mut vm = self.objects[uid].clone();
        edit(&mut vm.spec);
        vm.metadata.generation = vm.metadata.generation.map(|generation| generation + 1);
        self.apply(vm);
    }

    pub(super) fn delete(&mut self, uid: &str) {
        self.objects.remove(uid);
        self.change(Change::VmLeft {
            uid: uid.to_owned(),
        });
    }

    pub(super) fn change(&mut self, change: Change) {
        for uid in self.catalogue.apply(change) {
            let status = self.catalogue.status(&uid).cloned().unwrap_or_default();
            let want = Arc::clone(&self.catalogue.desired().vms[&uid]);
            self.observed
                .wanted(&want, &status, self.now, self.unix_ms());
        }
    }

    pub(super) fn notice(&mut self, notice: Notice) {
        let unix_ms = self.unix_ms();
        self.observed
            .noticed(notice, self.catalogue.desired(), self.now, unix_ms);
    }

    pub(super) fn unix_ms(&self) -> u64 {
        1_800_000_000_000 + u64::try_from(self.now.as_millis()).unwrap()
    }

    pub(super) fn plan(&self) -> Plan {
        Plan::between(self.catalogue.desired(), &self.observed, self.now)
    }

    pub(super) fn record(&self, uid: &str) -> &Record {
        &self.observed.vms[uid]
    }

    pub(super) fn phases(&self, uid: &str) -> Vec<Phase> {
        self.told
            .get(uid)
            .into_iter()
            .flatten()
            .map(|report| report.key.phase())
            .collect()
    }

    /// Plans and carries out until nothing is left to do.
    pub(super) fn settle(&mut self) {
        for _ in 0..100 {
            let actions = self.plan().actions;
            if actions.is_empty() {
                return;
            }
            for action in actions {
                self.carry_out(action);
            }
        }
        panic!("it never comes to rest: {:?}", self.plan());
    }

    /// Lets time pass, and settles.
    pub(super) fn wait(&mut self, time: Duration) {
        self.now += time;
        self.observed.tidy(self.catalogue.desired(), self.now);
        self.settle();
    }

    /// The guest of a VM ends by itself.
    pub(super) fn ends(&mut self, uid: &str, reason: EndReason) {
        self.end_silently(uid, reason);
        self.tell_cell(uid);
    }

    pub(super) fn end_silently(&mut self, uid: &str, reason: EndReason) {
        let finished_unix_ms = self.unix_ms();
        let status = self.cell.get_mut(uid).unwrap();
        status.state = VmState::Ended;
        status.end = Some(End {
            reason,
            exit_code: None,
            message: format!("it ended as {}", reason.as_str()),
            finished_unix_ms,
            usage: Usage::default(),
        });
    }

    pub(super) fn tell_cell(&mut self, uid: &str) {
        let vms = vec![self.cell[uid].clone()];
        self.notice(Notice::CellChanged {
            namespace: NAMESPACE.to_owned(),
            instance: self.instance.to_string(),
            vms,
        });
    }

    /// The cell's process dies with everything in it.
    pub(super) fn cell_dies(&mut self) {
        let ended = self.cell_dies_silently();
        self.notice(Notice::CellGone {
            namespace: ended.namespace.clone(),
            instance: ended.instance.clone(),
            ended: Some(ended),
        });
    }

    /// The same, and no agent is there to hear of it.
    pub(super) fn cell_dies_silently(&mut self) -> EndedCell {
        let ended = EndedCell {
            namespace: NAMESPACE.to_owned(),
            instance: self.instance.to_string(),
            reason: CellEnd::MemoryPressure,
            message: "the node ran short of memory".to_owned(),
            finished_unix_ms: self.unix_ms(),
        };
        self.cell.clear();
        self.cell_runs = false;
        self.instance += 1;
        self.ended_cells.push(ended.clone());
        ended
    }

    fn cell_up(&self) -> Notice {
        Notice::CellUp {
            namespace: NAMESPACE.to_owned(),
            instance: self.instance.to_string(),
            started_unix_ms: self.cell_started_unix_ms,
            vms: self.cell.values().cloned().collect(),
        }
    }

    /// Forgets what failed before, as the tests of one rule do not care.
    pub(super) fn history_of(&self, uid: &str) -> Backoff {
        self.observed.vms[uid].crashes
    }
}

/// A VM that the operator has just assigned to this node.
pub(super) fn assigned(uid: &str, policy: RestartPolicy) -> AgentVM {
    let mut vm = AgentVM::new(
        &format!("vm-{uid}"),
        AgentVMSpec {
            module: Some(ModuleSource::default()),
            restart_policy: policy,
            ..AgentVMSpec::default()
        },
    );
    vm.metadata.namespace = Some(NAMESPACE.to_owned());
    vm.metadata.uid = Some(uid.to_owned());
    vm.metadata.generation = Some(1);
    vm.status = Some(AgentVMStatus {
        phase: Some(Phase::Starting),
        assignment: Some(Assignment {
            node_name: NODE.to_owned(),
            epoch: 1,
            evict: None,
            claimed: None,
        }),
        ..AgentVMStatus::default()
    });
    vm
}
