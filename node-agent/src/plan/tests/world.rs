//! A node in memory: one cell for each namespace that keeps the socket API's promises, and an
//! API server that remembers what it was told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use agentvm_cell_api::cell::{End, Usage, VmSpec, VmState, VmStatus};
use agentvm_cell_api::gateway;
use agentvm_cell_api::warden::{CellEnd, EndedCell, ModuleKind};
use agentvm_crds::AgentPolicy;
use agentvm_crds::agentvm::{
    AgentVM, AgentVMSpec, AgentVMStatus, Assignment, ModuleSource, Phase, RestartPolicy,
};
use agentvm_crds::conditions::ImageReason;
use agentvm_policy::EndReason;

use crate::backoff::Backoff;
use crate::border::Warning;
use crate::catalogue::{Catalogue, Change};
use crate::environment::{self, ConfigMaps};
use crate::mounts::{Content, Contents};
use crate::observed::{
    Given, Gone, Held, Notice, Observed, Outcome, ReadyModule, Record, StartFailure,
};
use crate::plan::{Action, Plan, PutRules};
use crate::problem::{Problem, StartReason};
use crate::report::Report;

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

/// A gateway's process.
#[derive(Debug)]
pub(super) struct FakeGateway {
    pub(super) instance: String,
    /// The VMs that have rules there, with what each has used.
    pub(super) vms: BTreeMap<String, (gateway::Vm, gateway::Usage)>,
    /// How often it was given rules.
    pub(super) puts: usize,
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

    pub(super) fn carry_out(&mut self, action: Action) {
        self.observed.began(&action);
        let outcome = match action {
            Action::EnsureModule { source, .. } => {
                self.done.push("EnsureModule");
                Outcome::Module {
                    source,
                    result: self.fetch.clone(),
                }
            }
            Action::EnsureCell { .. } => {
                self.done.push("EnsureCell");
                self.cell_runs = true;
                self.cell_started_unix_ms = self.unix_ms();
                self.notice(self.cell_up());
                return;
            }
            Action::StopCell { .. } => {
                self.done.push("StopCell");
                assert!(
                    self.cell.values().all(|vm| vm.state == VmState::Ended),
                    "a cell that was needed is ended"
                );
                self.cell_dies();
                return;
            }
            Action::StartVm(start) => {
                self.done.push("StartVm");
                let uid = start.want.uid.clone();
                let result = environment::vm_spec(&start, &self.config_maps, &self.contents)
                    .map_err(StartFailure::Problem)
                    .map(|spec| self.put(&uid, &spec));
                Outcome::Started { uid, result }
            }
            Action::UpdateLive { uid, spec, .. } => {
                self.done.push("UpdateLive");
                let result = match &self.update_fails {
                    Some(message) => Err(message.clone()),
                    None => Ok(self.put(&uid, &spec)),
                };
                Outcome::Updated { uid, result }
            }
            Action::ReadContent { object } => {
                self.done.push("ReadContent");
                let content = self.contents.get(&object).cloned();
                Outcome::Content {
                    object,
                    result: Ok(content.unwrap_or(Content::Missing)),
                }
            }
            Action::Warn { warning, .. } => {
                let told = match &warning {
                    Warning::EgressDenied(_) => &mut self.denials,
                    Warning::FilesNotUpdated(_) | Warning::KeysNotUpdated(_) => &mut self.warnings,
                };
                told.push(warning.message().into_owned());
                return;
            }
            Action::PutRules(put) => {
                self.done.push("PutRules");
                Outcome::RulesGiven {
                    uid: put.want.uid.clone(),
                    result: self.put_rules(&put),
                }
            }
            Action::DropRules { uid } => self.drop_rules(uid),
            Action::StopVm { uid, cause, .. } => {
                self.done.push("StopVm");
                if self.cell.contains_key(&uid) {
                    self.end_silently(&uid, cause.end_reason());
                }
                Outcome::Deleted {
                    result: Ok(self.cell.get(&uid).cloned()),
                    uid,
                }
            }
            Action::ForgetVm { uid, .. } => {
                self.done.push("ForgetVm");
                let forgotten = self.cell.remove(&uid);
                assert!(
                    forgotten
                        .as_ref()
                        .is_none_or(|vm| vm.state == VmState::Ended),
                    "a running VM was forgotten"
                );
                Outcome::Deleted {
                    uid,
                    result: Ok(forgotten),
                }
            }
            Action::ConfirmGone { uid, .. } => {
                self.done.push("ConfirmGone");
                let result = Ok(self.whereabouts(&uid));
                Outcome::Confirmed { uid, result }
            }
            Action::DropRecord { .. } | Action::RenewRecord { .. } => return,
            Action::ReportStatus { want, report } => self.write(&want.uid, *report),
        };
        self.observed
            .finished(outcome, self.catalogue.desired(), self.now);
    }

    /// A gateway's process starts, or another one in its place.
    pub(super) fn gateway_starts(&mut self, instance: &str) {
        if self.gateway.take().is_some() {
            self.notice(Notice::GatewayAway);
        }
        self.gateway = Some(FakeGateway {
            instance: instance.to_owned(),
            vms: BTreeMap::new(),
            puts: 0,
        });
        self.tell_gateway();
    }

    /// The agent meets the gateway.
    pub(super) fn tell_gateway(&mut self) {
        if let Some(FakeGateway { instance, vms, .. }) = &self.gateway {
            let used = vms.iter();
            let used = used.map(|(uid, (_, used))| (uid.clone(), used.clone()));
            let (instance, vms) = (instance.clone(), used.collect());
            self.notice(Notice::GatewayUp { instance, vms });
        }
    }

    /// The gateway's process ends.
    pub(super) fn gateway_dies(&mut self) {
        self.gateway = None;
        self.notice(Notice::GatewayAway);
    }

    /// The gateway is asked what its VMs use.
    pub(super) fn measure_network(&mut self) {
        if let Some(FakeGateway { instance, vms, .. }) = &self.gateway {
            let used = vms.iter();
            let used = used.map(|(uid, (_, used))| (uid.clone(), used.clone()));
            let (instance, vms) = (instance.clone(), used.collect());
            self.notice(Notice::NetworkUsed { instance, vms });
        }
    }

    /// The rules that the gateway has for a VM.
    pub(super) fn rules(&self, uid: &str) -> Option<&gateway::Vm> {
        Some(&self.gateway.as_ref()?.vms.get(uid)?.0)
    }

    fn drop_rules(&mut self, uid: String) -> Outcome {
        self.done.push("DropRules");
        let result = match &mut self.gateway {
            Some(gateway) => Ok(gateway.vms.remove(&uid).map(|(_, used)| used)),
            None => Err("no answer".to_owned()),
        };
        Outcome::RulesTaken { uid, result }
    }

    fn put_rules(&mut self, put: &PutRules) -> Given {
        let away = || {
            let reason = StartReason::Image(ImageReason::GatewayUnavailable);
            Problem::new(reason, "the gateway does not answer")
        };
        let instance = put.instance.clone().ok_or_else(away)?;
        let objects = put.terms.objects(&put.want.namespace);
        let contents: Contents = objects
            .into_iter()
            .map(|object| {
                let read = || self.contents.get(&object).cloned();
                let content = put.known.get(&object).cloned().or_else(read);
                (object, content.unwrap_or(Content::Missing))
            })
            .collect();
        let (namespace, name) = (&put.want.namespace, &put.want.name);
        let filled = put.terms.fill(namespace, name, &contents, put.run);
        let gateway = self.gateway.as_mut().ok_or_else(away)?;
        gateway.puts += 1;
        let entry = gateway.vms.entry(put.want.uid.clone());
        let entry = entry.or_insert_with(|| (filled.vm.clone(), gateway::Usage::default()));
        entry.0 = filled.vm;
        Ok(Held {
            instance,
            terms: put.terms.clone(),
            contents,
            lacking: filled.lacking,
        })
    }

    fn whereabouts(&self, uid: &str) -> Gone {
        match self.objects.get(uid).and_then(AgentVM::assignment) {
            None => Gone::Deleted,
            Some(assignment) if assignment.node_name == NODE => Gone::StillHere,
            Some(_) => Gone::Moved,
        }
    }

    fn put(&mut self, uid: &str, spec: &VmSpec) -> VmStatus {
        let run = (spec.epoch, spec.attempt);
        if let Some(held) = self.cell.get_mut(uid) {
            assert_eq!(
                (held.spec.epoch, held.spec.attempt),
                run,
                "two runs of one VM at once"
            );
            held.spec = spec.without_files();
            return held.clone();
        }
        let starts = self.starts.entry(uid.to_owned()).or_default();
        starts.push(run);
        let status = VmStatus {
            uid: uid.to_owned(),
            spec: spec.without_files(),
            state: VmState::Running,
            version: 1,
            started_unix_ms: Some(1_800_000_000_000 + u64::try_from(self.now.as_millis()).unwrap()),
            storage_pressure: false,
            limits_pressure: BTreeSet::new(),
            end: None,
        };
        self.cell.insert(uid.to_owned(), status.clone());
        status
    }

    fn write(&mut self, uid: &str, report: Report) -> Outcome {
        let key = report.key.clone();
        if self.api_is_down {
            return Outcome::Reported {
                uid: uid.to_owned(),
                key,
                result: Err("down".to_owned()),
            };
        }
        self.done.push("ReportStatus");
        if let Some(vm) = self.objects.get_mut(uid) {
            let assignment = vm.assignment().cloned();
            let previous = vm.status.clone().unwrap_or_default().conditions;
            vm.status = Some(AgentVMStatus {
                assignment,
                ..report.status(&previous, jiff::Timestamp::UNIX_EPOCH)
            });
        }
        self.told.entry(uid.to_owned()).or_default().push(report);
        Outcome::Reported {
            uid: uid.to_owned(),
            key,
            result: Ok(()),
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
