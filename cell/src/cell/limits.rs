//! Which limits press a VM: those that it has nearly used up, and its CPU where it waits for that
//! most of the time.
//!
//! Looked at once a second. A limit presses from 80 % of it on, and until it is below 50 %, so
//! that a VM on the edge is not a warning every second.

use std::collections::BTreeSet;
use std::time::Duration;

use agentvm_policy::LimitField;

/// From how much of a limit on it presses.
const FROM_PERCENT: u128 = 80;

/// Below how much of a limit it presses no more.
const UNTIL_PERCENT: u128 = 50;

/// Over how long the time that a VM waits for its CPU is looked at.
const WINDOW: Duration = Duration::from_mins(1);

/// How much of that is forgotten at once.
const PART: Duration = Duration::from_secs(5);

/// How many of them there are.
const PARTS: usize = 12;

/// What a VM has used of its limits so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Used {
    /// Of [`LimitField::Memory`], bytes.
    pub(super) memory: Share,
    /// Of [`LimitField::Storage`], bytes.
    pub(super) storage: Share,
    /// Of [`LimitField::Fuel`], units; of nothing where it is unlimited.
    pub(super) fuel: Share,
    /// Of [`LimitField::LogTotal`], bytes.
    pub(super) log_total: Share,
    /// How long it has waited for its CPU since its start.
    pub(super) throttled: Duration,
}

/// So much of so much.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Share {
    pub(super) used: u64,
    /// 0 is no limit at all: it never presses.
    pub(super) limit: u64,
}

/// Which limits press one VM.
#[derive(Clone, Debug, Default)]
pub(super) struct Presses {
    fields: BTreeSet<LimitField>,
    waits: Waits,
}

impl Presses {
    /// Takes in what was used by `now`, on any clock that does not go back; true where other
    /// limits press than before.
    pub(super) fn look(&mut self, used: &Used, now: Duration) -> bool {
        let Used {
            memory,
            storage,
            fuel,
            log_total,
            throttled,
        } = *used;
        let waited = Share {
            used: whole_ms(self.waits.over_the_window(throttled, now)),
            limit: whole_ms(WINDOW),
        };
        let shares = [
            (LimitField::Memory, memory),
            (LimitField::Storage, storage),
            (LimitField::Fuel, fuel),
            (LimitField::LogTotal, log_total),
            (LimitField::Cpu, waited),
        ];
        let pressing = shares
            .into_iter()
            .filter(|(field, share)| share.presses(self.fields.contains(field)))
            .map(|(field, _)| field)
            .collect();
        std::mem::replace(&mut self.fields, pressing) != self.fields
    }

    /// Nothing presses any more: the VM has ended.
    pub(super) fn clear(&mut self) {
        self.fields.clear();
    }

    /// Those that press.
    pub(super) const fn fields(&self) -> &BTreeSet<LimitField> {
        &self.fields
    }
}

impl Share {
    fn presses(self, pressed_before: bool) -> bool {
        let percent = if pressed_before {
            UNTIL_PERCENT
        } else {
            FROM_PERCENT
        };
        self.limit > 0 && u128::from(self.used) * 100 >= u128::from(self.limit) * percent
    }
}

/// How long a VM waited for its CPU, by parts of the last minute.
#[derive(Clone, Copy, Debug, Default)]
struct Waits {
    /// Milliseconds, the newest first.
    parts: [u64; PARTS],
    newest: u128,
    /// The sum since the start that was seen last.
    seen: Duration,
}

impl Waits {
    /// Takes in the sum since the start; returns what of it belongs to the last minute.
    fn over_the_window(&mut self, sum: Duration, now: Duration) -> Duration {
        let part = now.as_nanos() / PART.as_nanos();
        let passed = usize::try_from(part.saturating_sub(self.newest)).unwrap_or(PARTS);
        self.parts.rotate_right(passed.min(PARTS));
        for old in self.parts.iter_mut().take(passed) {
            *old = 0;
        }
        self.newest = self.newest.max(part);
        if let Some(newest) = self.parts.first_mut() {
            *newest += whole_ms(sum.saturating_sub(self.seen));
        }
        self.seen = sum;
        Duration::from_millis(self.parts.iter().sum())
    }
}

fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn memory(used: u64) -> Used {
        Used {
            memory: Share { used, limit: 1_000 },
            ..Used::default()
        }
    }

    fn names(presses: &Presses) -> Vec<LimitField> {
        presses.fields().iter().copied().collect()
    }

    #[test]
    fn a_limit_presses_from_80_percent_on_and_until_it_is_below_50() {
        let mut presses = Presses::default();
        let steps = [
            (799, false, false),
            (800, true, true),
            (1_000, false, true),
            (500, false, true),
            (499, true, false),
            (799, false, false),
            (900, true, true),
        ];
        for (step, (used, changes, pressed)) in steps.into_iter().enumerate() {
            let changed = presses.look(&memory(used), at(step.try_into().unwrap()));
            assert_eq!(changed, changes, "{used}");
            assert_eq!(!presses.fields().is_empty(), pressed, "{used}");
        }
    }

    #[test]
    fn each_limit_presses_by_itself() {
        let full = Share { used: 9, limit: 10 };
        let cases = [
            (
                Used {
                    memory: full,
                    ..Used::default()
                },
                LimitField::Memory,
            ),
            (
                Used {
                    storage: full,
                    ..Used::default()
                },
                LimitField::Storage,
            ),
            (
                Used {
                    fuel: full,
                    ..Used::default()
                },
                LimitField::Fuel,
            ),
            (
                Used {
                    log_total: full,
                    ..Used::default()
                },
                LimitField::LogTotal,
            ),
        ];
        for (used, field) in cases {
            let mut presses = Presses::default();
            assert!(presses.look(&used, at(1)));
            assert_eq!(names(&presses), [field]);
        }
    }

    #[test]
    fn no_limit_and_the_largest_one_do_not_press_and_do_not_overflow() {
        let shares = [
            (
                Share {
                    used: u64::MAX,
                    limit: 0,
                },
                false,
            ),
            (
                Share {
                    used: u64::MAX,
                    limit: u64::MAX,
                },
                true,
            ),
            (
                Share {
                    used: 0,
                    limit: u64::MAX,
                },
                false,
            ),
        ];
        for (share, pressed) in shares {
            assert_eq!(share.presses(false), pressed, "{share:?}");
        }
    }

    /// Looks once a second from `from` to `to`, while the VM waits `ms_each` of each.
    fn wait_on(presses: &mut Presses, sum: &mut Duration, from: u64, to: u64, ms_each: u64) {
        for second in from..to {
            *sum += Duration::from_millis(ms_each);
            let used = Used {
                throttled: *sum,
                ..Used::default()
            };
            presses.look(&used, at(second));
        }
    }

    #[test]
    fn the_cpu_presses_who_waits_for_it_most_of_a_minute_and_no_sooner() {
        let (mut presses, mut sum) = (Presses::default(), Duration::ZERO);
        wait_on(&mut presses, &mut sum, 0, 40, 1_000);
        assert_eq!(names(&presses), [], "not for long enough");
        wait_on(&mut presses, &mut sum, 40, 60, 1_000);
        assert_eq!(names(&presses), [LimitField::Cpu]);
        wait_on(&mut presses, &mut sum, 60, 85, 0);
        assert_eq!(
            names(&presses),
            [LimitField::Cpu],
            "still half of the minute"
        );
        wait_on(&mut presses, &mut sum, 85, 100, 0);
        assert_eq!(names(&presses), []);
    }

    #[test]
    fn who_waits_for_its_cpu_three_quarters_of_the_time_is_not_pressed() {
        let (mut presses, mut sum) = (Presses::default(), Duration::ZERO);
        wait_on(&mut presses, &mut sum, 0, 300, 750);
        assert_eq!(names(&presses), []);
        wait_on(&mut presses, &mut sum, 300, 400, 900);
        assert_eq!(names(&presses), [LimitField::Cpu]);
    }

    #[test]
    fn a_look_that_comes_late_counts_what_happened_meanwhile() {
        let mut presses = Presses::default();
        let used = |seconds| Used {
            throttled: at(seconds),
            ..Used::default()
        };
        presses.look(&used(0), at(0));
        assert!(presses.look(&used(50), at(50)));
        assert!(presses.look(&used(50), at(5_000)), "it is long ago");
        assert_eq!(names(&presses), []);
    }
}
