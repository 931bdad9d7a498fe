//! What is known of a VM before this agent has done anything to it.

use std::sync::Arc;

use agentvm_crds::agentvm::{AgentVMSpec, AgentVMStatus, Phase};

use super::{Observed, Record, Run, Told};
use crate::backoff::{Backoff, RESTART};
use crate::clock::Moment;
use crate::desired::{Ruling, Want};
use crate::report::Key;

impl Observed {
    /// An object is assigned to this node, or changed. `status` is what it says of itself: it is
    /// believed on what was already told, and only where nothing better is known.
    pub fn wanted(&mut self, want: &Want, status: &AgentVMStatus, now: Moment, unix_ms: u64) {
        let surveyed = self.surveyed;
        let record = self
            .vms
            .entry(want.uid.clone())
            .or_insert_with(|| Record::new(&want.namespace, &want.name, want.epoch, want.grace));
        record.grace = want.grace;
        record.gone = None;
        record.refused_since = match want.ruling {
            Ruling::Refused(_) => record.refused_since.or(Some(now)),
            Ruling::Unknown(_) | Ruling::Invalid(_) | Ruling::Granted(_) => None,
        };
        if record.told.key.is_none() && record.epoch == want.epoch {
            record.remember(want, status, now);
        }
        record.settle(want, now);
        record.adopt_run(want);
        if surveyed {
            record.lose_if_told_running(want, now, unix_ms);
        }
    }
}

impl Record {
    /// Takes over what an earlier agent reported.
    fn remember(&mut self, want: &Want, status: &AgentVMStatus, now: Moment) {
        let key = Key::of(want.epoch, status);
        let restarts = status.restarts.and_then(|restarts| u32::try_from(restarts).ok());
        self.restarts = self.restarts.max(restarts.unwrap_or_default());
        match status.phase {
            Some(Phase::Complete | Phase::Failed) if key.is_final() => self.finished = true,
            Some(Phase::BackOff) if !self.is_live() => {
                self.crashes = Backoff::after(self.restarts.saturating_add(1));
                self.not_before = Some(now.saturating_add(self.crashes.delay(RESTART)));
                self.next_counts = true;
            }
            Some(_) | None => {}
        }
        self.told = Told { key: Some(key), ..Told::default() };
    }

    /// A run that was seen before its object was.
    fn adopt_run(&mut self, want: &Want) {
        let adopted = self.adopted_from(Some(want));
        if let Run::Live { from: from @ None, .. } = &mut self.run {
            *from = adopted;
        }
    }

    /// What an adopted run follows, where the last report proves it.
    pub(super) fn adopted_from(&self, want: Option<&Want>) -> Option<Arc<AgentVMSpec>> {
        let want = want?;
        let told = self.told.key.as_ref()?;
        (told.is_running() && told.generation == want.generation && told.epoch == self.epoch)
            .then(|| Arc::clone(&want.spec))
    }
}
