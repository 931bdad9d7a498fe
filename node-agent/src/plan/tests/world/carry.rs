//! How actions are carried out.

use std::collections::BTreeSet;

use agentvm_cell_api::cell::{VmSpec, VmState, VmStatus};
use agentvm_crds::agentvm::{AgentVM, AgentVMStatus};

use super::{NODE, World};
use crate::border::Warning;
use crate::environment;
use crate::mounts::Content;
use crate::observed::{Gone, Outcome, StartFailure};
use crate::plan::Action;
use crate::report::Report;

impl World {
    pub(in crate::plan::tests) fn carry_out(&mut self, action: Action) {
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
}
