//! Whether VMs' files may grow, and how a VM whose files could not, or whose limits are nearly
//! used up, is marked.
//!
//! The warden says when the node is short of memory; the host's refusals to give memory show in
//! each filesystem's own count.

use std::time::Duration;

use tokio::sync::watch;

use agentvm_runtime::vfs::Growth;

use super::vms::Vms;

/// How often the host's refusals and the VMs' use of their limits are looked at.
const EVERY: Duration = Duration::from_secs(1);

/// How long after the host's last refusal a VM stays marked.
pub(super) const MARKED_FOR: Duration = agentvm_policy::budget::HOST_REFUSAL.duration();

/// Applies what the warden says to every VM, and marks those that the host refused memory and
/// those that their limits press.
/// Never ends.
pub(super) async fn apply(vms: &Vms, mut growth_rx: watch::Receiver<Growth>) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            changed = growth_rx.changed() => {
                // Without a warden the cell ends anyway.
                if changed.is_err() {
                    return std::future::pending().await;
                }
                let growth = *growth_rx.borrow_and_update();
                tracing::info!(?growth, "the growth of files is set");
                vms.set_growth(growth);
            }
            _ = ticks.tick() => {
                vms.mark_pressed();
                vms.look_at_limits();
            }
        }
    }
}

/// What the host has refused one VM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Refusals {
    seen: u64,
    last_at: Option<Duration>,
}

impl Refusals {
    /// Takes in the count of refusals at `now`, on any clock that does not go back; true while
    /// one of them is not long ago. A refusal since growth is refused is the warden's word.
    pub(super) fn recent(&mut self, count: u64, growth: Growth, now: Duration) -> bool {
        let more = count > self.seen;
        self.seen = count;
        if more && growth == Growth::Allowed {
            self.last_at = Some(now);
        }
        self.last_at
            .is_some_and(|at| now.saturating_sub(at) < MARKED_FOR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_marks_for_a_while_and_an_old_count_does_not() {
        let mut refusals = Refusals::default();
        let at = Duration::from_secs;
        assert!(!refusals.recent(0, Growth::Allowed, at(1)));
        assert!(refusals.recent(2, Growth::Allowed, at(2)));
        assert!(refusals.recent(2, Growth::Allowed, at(31)));
        assert!(!refusals.recent(2, Growth::Allowed, at(32)));
        assert!(refusals.recent(3, Growth::Allowed, at(33)));
    }

    #[test]
    fn what_the_warden_refused_ends_with_its_word() {
        let mut refusals = Refusals::default();
        assert!(!refusals.recent(5, Growth::Refused, Duration::from_secs(1)));
        assert!(!refusals.recent(5, Growth::Allowed, Duration::from_secs(2)));
    }
}
