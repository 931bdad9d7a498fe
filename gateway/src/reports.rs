//! Denials, gathered for the agent: the first of a VM, host and reason is told at once, those that
//! follow within a window of time as one number.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use agentvm_cell_api::gateway::Denial;
use agentvm_policy::budget;
use agentvm_policy::egress::Code;
use tokio::sync::watch;

/// How often windows are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What was denied and not read yet.
#[derive(Debug)]
pub(crate) struct Reports {
    state: Mutex<State>,
    number_tx: watch::Sender<u64>,
}

impl Default for Reports {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            number_tx: watch::Sender::new(0),
        }
    }
}

impl Reports {
    /// Counts a denial of a VM.
    pub(crate) fn deny(&self, now: Instant, uid: &str, what: What, message: String) {
        let number = {
            let mut state = self.lock();
            state.deny(now, uid, what, message);
            state.number
        };
        self.tell(number);
    }

    /// The reports after number `since`, for which it waits: those up to `since` were read.
    pub(crate) async fn after(&self, since: u64, wait: Duration) -> (u64, Vec<Denial>) {
        let mut number_rx = self.number_tx.subscribe();
        self.lock().forget_read(since);
        let is_later = |number: &u64| *number != since && *number > 0;
        let _in_time = tokio::time::timeout(wait, number_rx.wait_for(is_later)).await;
        let state = self.lock();
        (state.number, state.after(since))
    }

    /// Counts no more for a VM that is gone.
    pub(crate) fn forget(&self, uid: &str) {
        self.lock().windows.remove(uid);
    }

    /// Ends windows as their time comes. Never ends.
    pub(crate) async fn roll(&self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let number = {
                let mut state = self.lock();
                state.roll(Instant::now());
                state.number
            };
            self.tell(number);
        }
    }

    fn tell(&self, number: u64) {
        self.number_tx
            .send_if_modified(|told| std::mem::replace(told, number.max(*told)) < number);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is told apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct What {
    /// Empty where it has no canonical form.
    pub(crate) host: String,
    pub(crate) code: Code,
}

#[derive(Debug, Default)]
struct State {
    number: u64,
    ready: VecDeque<(u64, Denial)>,
    windows: BTreeMap<String, Windows>,
}

/// The windows of one VM, and what found no room in them.
#[derive(Debug, Default)]
struct Windows {
    open: BTreeMap<What, Window>,
    lost: u64,
}

#[derive(Debug)]
struct Window {
    ends: Instant,
    message: String,
    more: u64,
}

impl State {
    fn deny(&mut self, now: Instant, uid: &str, what: What, message: String) {
        let mut windows = self.windows.remove(uid).unwrap_or_default();
        self.roll_one(now, uid, &mut windows);
        let is_full = windows.open.len() >= budget::REPORTED_PER_VM.usize();
        match windows.open.get_mut(&what) {
            Some(window) => window.more += 1,
            None if is_full => windows.lost += 1,
            None => {
                let count = 1 + std::mem::take(&mut windows.lost);
                self.publish(uid, &what, message.clone(), count);
                let window = Window {
                    ends: now + budget::REPORT_WINDOW.duration(),
                    message,
                    more: 0,
                };
                windows.open.insert(what, window);
            }
        }
        self.windows.insert(uid.to_owned(), windows);
    }

    fn roll(&mut self, now: Instant) {
        let mut all = std::mem::take(&mut self.windows);
        for (uid, windows) in &mut all {
            self.roll_one(now, uid, windows);
        }
        all.retain(|_, windows| !windows.open.is_empty());
        // Reports that found no room meanwhile opened windows of their own.
        for (uid, windows) in std::mem::take(&mut self.windows) {
            all.entry(uid).or_default().lost += windows.lost;
        }
        self.windows = all;
    }

    /// Ends the windows of a VM that are over.
    fn roll_one(&mut self, now: Instant, uid: &str, windows: &mut Windows) {
        let is_over = |_: &What, window: &mut Window| window.ends <= now;
        let over: Vec<_> = windows.open.extract_if(.., is_over).collect();
        for (what, window) in over {
            let count = window.more + std::mem::take(&mut windows.lost);
            if count > 0 {
                self.publish(uid, &what, window.message, count);
            }
        }
    }

    fn publish(&mut self, uid: &str, what: &What, message: String, count: u64) {
        self.number += 1;
        let denial = Denial {
            uid: uid.to_owned(),
            host: what.host.clone(),
            code: what.code.as_str().to_owned(),
            message,
            count,
        };
        self.ready.push_back((self.number, denial));
        if self.ready.len() > budget::REPORTS_KEPT.usize()
            && let Some((_, unread)) = self.ready.pop_front()
        {
            self.windows.entry(unread.uid).or_default().lost += unread.count;
        }
    }

    fn forget_read(&mut self, since: u64) {
        // A number that was never given is another process's.
        if since <= self.number {
            self.ready.retain(|(number, _)| *number > since);
        }
    }

    fn after(&self, since: u64) -> Vec<Denial> {
        let since = if since > self.number { 0 } else { since };
        let later = self.ready.iter().filter(|(number, _)| *number > since);
        later.map(|(_, denial)| denial.clone()).collect()
    }
}
