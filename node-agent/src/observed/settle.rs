//! The end of a run, and what follows it.

use std::time::Duration;

use agentvm_cell_api::cell::End;
use agentvm_policy::EndReason;

use super::{LiveFiles, Record, Run, StopCause, Unsettled};
use crate::backoff::RESTART;
use crate::clock::Moment;
use crate::desired::Want;
use crate::restart::{Next, next};

impl Record {
    /// A run ended: decides what follows where the object is known, else keeps it for later.
    pub(super) fn end(
        &mut self,
        held: Option<String>,
        ended: Unsettled,
        want: Option<&Want>,
        now: Moment,
    ) {
        // Nothing of a Secret is kept for a run that is over.
        self.files = LiveFiles::default();
        self.network.end();
        let past = (self.epoch, self.next_attempt);
        if self.past < past {
            self.past = past;
            self.last_end = Some(ended.end.clone());
        }
        let unsettled = match want {
            Some(want) if want.epoch == self.epoch => {
                self.follow(ended, want, now);
                None
            }
            Some(_) | None => Some(ended),
        };
        self.run = if held.is_none() && unsettled.is_none() {
            Run::None
        } else {
            Run::Ended { held, unsettled }
        };
    }

    /// Decides what follows an end that was kept until its object was known.
    pub(super) fn settle(&mut self, want: &Want, now: Moment) {
        if let Run::Ended {
            held,
            unsettled: Some(ended),
        } = &mut self.run
            && want.epoch == self.epoch
        {
            let (held, ended) = (held.take(), ended.clone());
            self.end(held, ended, Some(want), now);
        }
    }

    /// The cell no longer remembers the run.
    pub(super) fn released(&mut self) {
        match &mut self.run {
            Run::Ended {
                unsettled: Some(_),
                held,
            } => *held = None,
            Run::Ended {
                unsettled: None, ..
            } => self.run = Run::None,
            Run::Live { .. } | Run::None => {}
        }
    }

    fn follow(&mut self, ended: Unsettled, want: &Want, now: Moment) {
        let Unsettled { end, ran, cause } = ended;
        // Of two reasons to stop, the object's own suspension says what follows.
        let cause = cause.or(want.spec.suspend.then_some(StopCause::Suspended));
        // Who ended the cells may have been quicker than the word that every VM must leave.
        let left = end.reason == EndReason::Evicted && want.evict.is_some();
        let cause = cause.or(left.then_some(StopCause::Evicted));
        let end = match (cause, &want.evict) {
            (Some(StopCause::Evicted), Some(why)) => evicted(end, why),
            (_, _) => end,
        };
        match next(want.restart_policy(), end.reason, cause) {
            Next::Anew => self.not_before = None,
            Next::Again => self.again(end, ran, &want.uid, now),
            Next::Elsewhere => self.exit = Some(end),
            Next::Nothing => {
                self.exit = Some(end);
                self.finished = true;
            }
        }
    }

    fn again(&mut self, end: End, ran: Duration, uid: &str, now: Moment) {
        self.exit = Some(end);
        self.crashes = self.crashes.after_run(ran);
        self.not_before = Some(now.saturating_add(self.crashes.delay_of(RESTART, uid)));
        self.next_counts = true;
    }
}

/// A run that was told to leave ended by that, whatever it made of its grace.
fn evicted(end: End, why: &str) -> End {
    End {
        reason: EndReason::Evicted,
        message: format!("stopped, since {why}"),
        ..end
    }
}

/// How long a run lasted, by the cell's own clock readings.
pub(super) fn ran(started_unix_ms: Option<u64>, end: &End) -> Duration {
    started_unix_ms.map_or(Duration::ZERO, |started| {
        Duration::from_millis(end.finished_unix_ms.saturating_sub(started))
    })
}
