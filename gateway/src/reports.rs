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
    pub(crate) fn deny(&self, now: Instant, uid: &str, what: &What, message: String) {
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
        self.lock().forget(uid);
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
    /// By VM.
    windows: BTreeMap<String, BTreeMap<What, Window>>,
    /// What found no room, by VM.
    lost: BTreeMap<String, u64>,
}

#[derive(Debug)]
struct Window {
    ends: Instant,
    message: String,
    more: u64,
}

impl State {
    fn deny(&mut self, now: Instant, uid: &str, what: &What, message: String) {
        self.roll_one(now, uid);
        let windows = self.windows.entry(uid.to_owned()).or_default();
        let is_full = windows.len() >= budget::REPORTED_PER_VM.usize();
        match windows.get_mut(what) {
            Some(window) => window.more += 1,
            None if is_full => self.lose(uid, 1),
            None => {
                let window = Window {
                    ends: now + budget::REPORT_WINDOW.duration(),
                    message: message.clone(),
                    more: 0,
                };
                windows.insert(what.clone(), window);
                self.publish(uid, what, message, 1);
            }
        }
    }

    fn roll(&mut self, now: Instant) {
        let is_over = |windows: &BTreeMap<What, Window>| windows.values().any(|it| it.ends <= now);
        let over = self.windows.iter().filter(|(_, windows)| is_over(windows));
        let over: Vec<String> = over.map(|(uid, _)| uid.clone()).collect();
        for uid in over {
            self.roll_one(now, &uid);
        }
    }

    /// Ends the windows of a VM that are over.
    fn roll_one(&mut self, now: Instant, uid: &str) {
        let Some(windows) = self.windows.get_mut(uid) else {
            return;
        };
        let is_over = |_: &What, window: &mut Window| window.ends <= now;
        let over: Vec<_> = windows.extract_if(.., is_over).collect();
        if windows.is_empty() {
            self.windows.remove(uid);
        }
        for (what, window) in over {
            if window.more > 0 || self.lost.contains_key(uid) {
                self.publish(uid, &what, window.message, window.more);
            }
        }
    }

    /// Makes a report of `count`, and of what found no room before it.
    fn publish(&mut self, uid: &str, what: &What, message: String, count: u64) {
        self.number += 1;
        let denial = Denial {
            uid: uid.to_owned(),
            host: what.host.clone(),
            code: what.code.as_str().to_owned(),
            message,
            count: count + self.lost.remove(uid).unwrap_or_default(),
        };
        self.ready.push_back((self.number, denial));
        if self.ready.len() > budget::REPORTS_KEPT.usize()
            && let Some((_, unread)) = self.ready.pop_front()
        {
            self.lose(&unread.uid, unread.count);
        }
    }

    fn lose(&mut self, uid: &str, count: u64) {
        // Where nobody reads for long, VMs come and go: the metrics still have every denial.
        let has_room = self.lost.len() < budget::REPORTS_KEPT.usize();
        if has_room || self.lost.contains_key(uid) {
            *self.lost.entry(uid.to_owned()).or_default() += count;
        }
    }

    fn forget(&mut self, uid: &str) {
        self.windows.remove(uid);
        self.lost.remove(uid);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn what(host: &str) -> What {
        What {
            host: host.to_owned(),
            code: Code::Denied,
        }
    }

    fn deny(state: &mut State, now: Instant, uid: &str, host: &str) {
        state.deny(now, uid, &what(host), format!("{host} was denied"));
    }

    fn told(state: &State, since: u64) -> Vec<(String, String, u64)> {
        let all = state.after(since).into_iter();
        all.map(|denial| (denial.uid, denial.host, denial.count))
            .collect()
    }

    fn tuple(uid: &str, host: &str, count: u64) -> (String, String, u64) {
        (uid.to_owned(), host.to_owned(), count)
    }

    #[test]
    fn the_first_is_told_at_once_and_the_rest_of_its_window_as_one() {
        let (mut state, now) = (State::default(), Instant::now());
        for _ in 0..100 {
            deny(&mut state, now, "u", "a.example");
        }
        deny(&mut state, now, "u", "b.example");
        deny(&mut state, now, "v", "a.example");
        let first = [
            tuple("u", "a.example", 1),
            tuple("u", "b.example", 1),
            tuple("v", "a.example", 1),
        ];
        assert_eq!(told(&state, 0), first);
        let end = now + budget::REPORT_WINDOW.duration();
        state.roll(end.checked_sub(Duration::from_millis(1)).unwrap());
        assert_eq!(told(&state, 3), []);
        state.roll(end);
        assert_eq!(told(&state, 3), [tuple("u", "a.example", 99)]);
        assert!(state.windows.is_empty());
        deny(&mut state, end, "u", "a.example");
        assert_eq!(told(&state, 4), [tuple("u", "a.example", 1)]);
    }

    #[test]
    fn h07_a_guest_that_names_a_thousand_hosts_makes_so_many_reports_and_each_denial_counts() {
        let (mut state, now) = (State::default(), Instant::now());
        for number in 0..1000 {
            deny(&mut state, now, "u", &format!("h{number}.example"));
        }
        let most = budget::REPORTED_PER_VM.usize();
        assert_eq!(told(&state, 0).len(), most);
        assert_eq!(state.windows["u"].len(), most);
        state.roll(now + budget::REPORT_WINDOW.duration());
        let all = told(&state, 0);
        assert_eq!(all.len(), most + 1);
        assert_eq!(all.iter().map(|(_, _, count)| count).sum::<u64>(), 1000);
    }

    #[test]
    fn what_nobody_reads_is_bounded_and_counted_in_its_vms_next_report() {
        let (mut state, now) = (State::default(), Instant::now());
        let kept = budget::REPORTS_KEPT.value;
        for number in 0..=kept {
            deny(&mut state, now, &format!("u{number}"), "a.example");
        }
        assert_eq!(told(&state, 0).len(), budget::REPORTS_KEPT.usize());
        deny(&mut state, now, "u0", "b.example");
        let last = told(&state, 0).pop().unwrap();
        assert_eq!(last, tuple("u0", "b.example", 2));
        for number in 0..=kept {
            state.forget(&format!("u{number}"));
        }
        assert!(state.windows.is_empty() && state.lost.is_empty());
    }

    #[test]
    fn what_was_read_is_forgotten_and_another_processs_number_asks_for_all() {
        let (mut state, now) = (State::default(), Instant::now());
        deny(&mut state, now, "u", "a.example");
        deny(&mut state, now, "u", "b.example");
        state.forget_read(700);
        assert_eq!(told(&state, 700).len(), 2);
        state.forget_read(1);
        assert_eq!(told(&state, 0), [tuple("u", "b.example", 1)]);
    }

    #[tokio::test]
    async fn who_asks_waits_for_a_report_and_not_for_longer_than_asked() {
        let reports = Reports::default();
        let short = Duration::from_millis(20);
        assert_eq!(reports.after(0, short).await, (0, Vec::new()));
        let asking = reports.after(0, Duration::from_mins(1));
        let denying = async {
            tokio::time::sleep(short).await;
            reports.deny(Instant::now(), "u", &what("a.example"), String::new());
        };
        let ((number, denials), ()) = tokio::join!(asking, denying);
        assert_eq!((number, denials.len()), (1, 1));
        assert_eq!(reports.after(1, short).await.1, []);
    }
}
