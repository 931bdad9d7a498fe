//! What holds in every life, whatever happens in it.

use std::time::Duration;

use agentvm_crds::agentvm::RestartPolicy;
use agentvm_policy::EndReason;
use proptest::prelude::*;

use super::files::{self, mounting};
use super::network::{asking, key_is, open};
use super::rules_late;
use super::world::{World, assigned};
use crate::observed::Run;
use crate::plan::Action;
use crate::report::Key;

const UIDS: [&str; 6] = ["u1", "u2", "u3", "u4", "u5", "u6"];

/// Something that can happen.
#[derive(Clone, Copy, Debug)]
enum Happening {
    Created(usize),
    Deleted(usize),
    Changed(usize),
    Suspended(usize, bool),
    Ended(usize, usize),
    EndedUnseen(usize, usize),
    Reassigned(usize),
    ContentChanged(u8),
    CellDied,
    GatewayStarted,
    GatewayDied,
    AgentKilled,
    /// The next agent reads the objects before the rules.
    AgentKilledAndSlow,
    /// The policy by which VMs have so many millicores changes, or what the rules are is read.
    RulesRead(u8),
    ApiDown(bool),
    Relisted,
    TimePassed(u64),
    /// One of the actions that are planned is carried out.
    OneAction(usize),
    AllActions,
}

fn happening() -> impl Strategy<Value = Happening> {
    let vm = 0..UIDS.len();
    let reason = 0..EndReason::ALL.len();
    prop_oneof![
        4 => vm.clone().prop_map(Happening::Created),
        2 => vm.clone().prop_map(Happening::Deleted),
        2 => vm.clone().prop_map(Happening::Changed),
        2 => (vm.clone(), any::<bool>()).prop_map(|(vm, on)| Happening::Suspended(vm, on)),
        4 => (vm.clone(), reason.clone()).prop_map(|(vm, reason)| Happening::Ended(vm, reason)),
        2 => (vm.clone(), reason).prop_map(|(vm, reason)| Happening::EndedUnseen(vm, reason)),
        1 => vm.prop_map(Happening::Reassigned),
        2 => (0_u8..4).prop_map(Happening::ContentChanged),
        1 => Just(Happening::CellDied),
        2 => Just(Happening::GatewayStarted),
        1 => Just(Happening::GatewayDied),
        1 => Just(Happening::AgentKilled),
        1 => Just(Happening::AgentKilledAndSlow),
        2 => (1_u8..4).prop_map(Happening::RulesRead),
        1 => any::<bool>().prop_map(Happening::ApiDown),
        1 => Just(Happening::Relisted),
        4 => (1_u64..400).prop_map(Happening::TimePassed),
        8 => (0_usize..4).prop_map(Happening::OneAction),
        6 => Just(Happening::AllActions),
    ]
}

fn happen(world: &mut World, happening: Happening) {
    match happening {
        // A UID is given once.
        Happening::Created(vm) if world.born.insert(UIDS[vm]) => {
            let policies = [
                RestartPolicy::Never,
                RestartPolicy::OnFailure,
                RestartPolicy::Always,
            ];
            let policy = policies[vm % policies.len()];
            let object = if vm % 3 == 0 {
                asking(UIDS[vm], policy)
            } else if vm % 2 == 0 {
                mounting(UIDS[vm], policy)
            } else {
                assigned(UIDS[vm], policy)
            };
            world.apply(object);
        }
        Happening::Deleted(vm) if world.objects.contains_key(UIDS[vm]) => world.delete(UIDS[vm]),
        Happening::Changed(vm) if world.objects.contains_key(UIDS[vm]) => {
            world.edit(UIDS[vm], |spec| spec.args.push("more".to_owned()));
        }
        Happening::Suspended(vm, on) if world.objects.contains_key(UIDS[vm]) => {
            world.edit(UIDS[vm], |spec| spec.suspend = on);
        }
        Happening::Ended(vm, reason) if world.cell.contains_key(UIDS[vm]) => {
            world.ends(UIDS[vm], EndReason::ALL[reason]);
        }
        Happening::EndedUnseen(vm, reason) if world.cell.contains_key(UIDS[vm]) => {
            world.end_silently(UIDS[vm], EndReason::ALL[reason]);
        }
        // What has ended for good is never placed again.
        Happening::Reassigned(vm)
            if world
                .objects
                .get(UIDS[vm])
                .is_some_and(|object| !Key::of(1, object.status.as_ref().unwrap()).is_final()) =>
        {
            let mut object = world.objects[UIDS[vm]].clone();
            object
                .status
                .as_mut()
                .unwrap()
                .assignment
                .as_mut()
                .unwrap()
                .epoch += 1;
            world.apply(object);
        }
        Happening::ContentChanged(text) => {
            files::holds(world, &text.to_string());
            key_is(world, &text.to_string());
        }
        Happening::CellDied if world.cell_runs => world.cell_dies(),
        Happening::GatewayStarted => {
            world.gateways += 1;
            let instance = format!("process-{}", world.gateways);
            world.gateway_starts(&instance);
        }
        Happening::GatewayDied => world.gateway_dies(),
        Happening::AgentKilled => {
            world.killed = true;
            world.start_agent();
        }
        Happening::AgentKilledAndSlow => {
            world.killed = true;
            world.start_agent_without_rules();
        }
        Happening::RulesRead(cpu) => {
            let mut policy = rules_late::by_default(&format!("{cpu}00m"));
            policy.spec.capabilities = open().spec.capabilities;
            world.policies = vec![policy];
            world.read_rules();
        }
        Happening::ApiDown(down) => world.api_is_down = down,
        Happening::Relisted => world.relist(),
        Happening::TimePassed(seconds) => world.now += Duration::from_secs(seconds),
        Happening::OneAction(index) => {
            let mut actions = world.plan().actions;
            if !actions.is_empty() {
                let action = actions.swap_remove(index % actions.len());
                world.carry_out(action);
            }
        }
        Happening::AllActions => {
            for action in world.plan().actions {
                world.carry_out(action);
            }
        }
        // There is nothing that it could happen to.
        Happening::Created(_)
        | Happening::Deleted(_)
        | Happening::Changed(_)
        | Happening::Suspended(..)
        | Happening::Ended(..)
        | Happening::EndedUnseen(..)
        | Happening::Reassigned(_)
        | Happening::CellDied => {}
    }
}

/// What an action is about: at most one of each is planned at a time.
fn subject(action: &Action) -> String {
    match action {
        Action::EnsureModule { source, .. } => format!("{source:?}"),
        Action::EnsureCell { namespace } | Action::StopCell { namespace } => namespace.clone(),
        Action::StartVm(start) => format!("run {}", start.want.uid),
        Action::UpdateLive { uid, .. }
        | Action::StopVm { uid, .. }
        | Action::ForgetVm { uid, .. }
        | Action::ConfirmGone { uid, .. }
        | Action::DropRecord { uid }
        | Action::RenewRecord { uid, .. } => format!("run {uid}"),
        Action::ReportStatus { want, .. } => format!("status {}", want.uid),
        Action::Warn { want, warning } => format!("{} {}", warning.reason(), want.uid),
        Action::PutRules(put) => format!("rules {}", put.want.uid),
        Action::DropRules { uid } => format!("rules {uid}"),
        Action::ReadContent { object } => object.to_string(),
    }
}

proptest! {

    /// The cell of [`World`] refuses a second run of one VM beside the first, and to forget one
    /// that runs: both would fail here.
    #[test]
    fn no_life_holds_two_runs_at_once_and_each_comes_to_rest(life in prop::collection::vec(happening(), 1..60)) {
        let mut world = World::new();
        world.policies = vec![open()];
        world.read_rules();
        files::holds(&mut world, "0");
        key_is(&mut world, "0");
        for happening in life {
            happen(&mut world, happening);
            let plan = world.plan();
            let mut subjects: Vec<String> = plan.actions.iter().map(subject).collect();
            let count = subjects.len();
            subjects.sort();
            subjects.dedup();
            prop_assert_eq!(subjects.len(), count, "two actions about one thing: {:?}", plan);
            // An action that is on its way is not planned again.
            let mut begun = world.observed.clone();
            plan.actions.iter().filter(|action| !action.is_bookkeeping()).for_each(|action| begun.began(action));
            let again = crate::plan::Plan::between(world.catalogue.desired(), &begun, world.now);
            prop_assert!(again.actions.iter().all(Action::is_bookkeeping), "planned twice: {:?}", again);
        }
        world.api_is_down = false;
        world.start_watching_again();
        happen(&mut world, Happening::GatewayStarted);
        world.settle();
        world.wait(Duration::from_hours(1));
        world.rest();
        // Only an agent and a cell that die together, before anything was told, repeat a number.
        let forgetful = world.killed;
        for starts in world.starts.values() {
            let grows = starts.windows(2).all(|pair| pair[0] < pair[1] || forgetful);
            prop_assert!(grows, "numbers of runs do not grow: {starts:?}");
        }
    }
}

/// What a VM may use of the CPU, as its cell holds it.
fn held_cpu(world: &World, uid: &str) -> Option<String> {
    let held = world.cell.get(uid)?;
    let cpu = held.spec.grants.limits.cpu_millicores;
    Some(agentvm_policy::LimitField::Cpu.show(cpu))
}

impl World {
    /// Everything that a cell knows reaches the agent.
    fn start_watching_again(&mut self) {
        for uid in UIDS {
            if self.cell.contains_key(uid) {
                self.tell_cell(uid);
            }
        }
        self.read_rules();
        self.relist();
    }

    /// What must be true once nothing happens any more.
    fn rest(&self) {
        assert!(self.plan().actions.is_empty());
        let digests: Vec<String> = self
            .cell
            .iter()
            .filter(|(_, vm)| !vm.spec.mounts.is_empty())
            .map(|(uid, _)| files::digest(self, uid))
            .collect();
        assert!(
            digests.windows(2).all(|pair| pair[0] == pair[1]),
            "somebody has older files than others: {digests:?}"
        );
        for (uid, vm) in &self.objects {
            let record = self.record(uid);
            let should_run = !vm.spec.suspend && !record.finished;
            let status = vm.status.as_ref().unwrap();
            if let Some(held) = self.cell.get(uid) {
                assert_eq!(held.spec.args[1..], vm.spec.args, "{uid}: {record:?}");
            }
            let granted = held_cpu(self, uid).filter(|_| should_run);
            if let Some(granted) = granted {
                let told = rules_late::told_cpu(status);
                assert_eq!(told, Some(granted.as_str()), "{uid}: {record:?}");
                assert_eq!(status.observed_generation, vm.metadata.generation);
            }
            assert_eq!(self.cell.contains_key(uid), should_run, "{uid}: {record:?}");
            assert_eq!(
                matches!(record.run, Run::Live { .. }),
                should_run,
                "{uid}: {record:?}"
            );
        }
        let Some(gateway) = &self.gateway else {
            panic!("no gateway");
        };
        let have_rules: Vec<&String> = gateway.vms.keys().collect();
        let running = self.cell.iter().filter(|(_, vm)| vm.spec.grants.network);
        let running: Vec<&String> = running.map(|(uid, _)| uid).collect();
        assert_eq!(have_rules, running);
        let newest = self.key();
        for uid in running {
            assert_eq!(self.key_of(uid), newest, "{uid} adds an old key");
        }
        for uid in self.cell.keys() {
            assert!(
                self.objects.contains_key(uid),
                "{uid} runs without an object"
            );
        }
    }
}
