//! The CPU quota of one VM: a token bucket over time that is given to it.

use std::time::Duration;

/// How long a VM that used up its quota waits at least, so that it isn't woken for crumbs.
const PERIOD: Duration = agentvm_policy::budget::CPU_PERIOD.duration();
/// How much of its rate a VM may save up.
const BURST: Duration = agentvm_policy::budget::CPU_BURST.duration();

/// Nanoseconds of CPU time that may still be used.
///
/// Who goes on until nothing is left has used, within any ten seconds, what they gave, what was
/// saved up, and what the last step took that could not be interrupted: no more than was saved up,
/// see [`super::cpu`]. That is at most 1.2 times the rate.
///
/// Time is told as nanoseconds since any fixed moment, the same for all calls.
#[derive(Clone, Debug)]
pub(super) struct Quota {
    millicores: u64,
    tokens_ns: i128,
    refilled_at_ns: u64,
    /// It was used up, and a period has not been saved since.
    is_over: bool,
}

impl Quota {
    /// A full bucket.
    pub(super) fn new(millicores: u64, now_ns: u64) -> Self {
        let mut quota = Self {
            millicores,
            tokens_ns: 0,
            refilled_at_ns: now_ns,
            is_over: false,
        };
        quota.tokens_ns = quota.full();
        quota
    }

    /// The rate, in thousandths of a core.
    pub(crate) const fn millicores(&self) -> u64 {
        self.millicores
    }

    /// Goes on at another rate; what was saved up under the old one is cut to the new burst.
    pub(super) fn set_millicores(&mut self, millicores: u64, now_ns: u64) {
        if millicores != self.millicores {
            self.refill(now_ns);
            self.millicores = millicores;
            self.tokens_ns = self.tokens_ns.min(self.full());
        }
    }

    /// Takes `used` out of the bucket. Who takes the last of it, or more, has to wait.
    pub(super) fn spend(&mut self, used: Duration, now_ns: u64) {
        self.refill(now_ns);
        self.tokens_ns -= to_tokens(used.as_nanos());
        self.is_over |= self.tokens_ns <= 0;
    }

    /// Whether it was used up, and a period was not saved when that was last looked at.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// How long a VM that used up its quota still has to wait; `None` where it has not, or has
    /// waited long enough.
    pub(super) fn wait(&mut self, now_ns: u64) -> Option<Duration> {
        if !self.is_over {
            return None;
        }
        self.refill(now_ns);
        let enough = self.earned(PERIOD.as_nanos());
        self.is_over = self.tokens_ns < enough;
        self.is_over.then(|| self.until_one_period_is_saved())
    }

    fn refill(&mut self, now_ns: u64) {
        let elapsed = now_ns.saturating_sub(self.refilled_at_ns);
        self.refilled_at_ns = self.refilled_at_ns.max(now_ns);
        self.tokens_ns = (self.tokens_ns + self.earned(u128::from(elapsed))).min(self.full());
    }

    /// The most that is saved up.
    fn full(&self) -> i128 {
        self.earned(BURST.as_nanos())
    }

    fn earned(&self, over_ns: u128) -> i128 {
        to_tokens(over_ns) * i128::from(self.millicores) / 1_000
    }

    fn until_one_period_is_saved(&self) -> Duration {
        let short = self.earned(PERIOD.as_nanos()) - self.tokens_ns;
        let rate = i128::from(self.millicores.max(1));
        let wait = (short.max(0) * 1_000 + rate - 1) / rate;
        Duration::from_nanos(u64::try_from(wait).unwrap_or(u64::MAX)).max(Duration::from_millis(1))
    }
}

/// Bounded far below where the sums above could overflow: 2^64 ns are 584 years.
fn to_tokens(nanos: u128) -> i128 {
    i128::from(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn ms(value: u64) -> Duration {
        Duration::from_millis(value)
    }

    #[test]
    fn a_full_bucket_holds_one_second_of_its_rate() {
        let mut quota = Quota::new(250, 0);
        quota.spend(ms(249), 0);
        assert_eq!(quota.wait(0), None);
        quota.spend(ms(1), 0);
        assert!(quota.wait(0).is_some());
    }

    #[test]
    fn who_is_over_waits_until_a_period_is_saved() {
        let mut quota = Quota::new(250, 0);
        quota.spend(ms(300), 0);
        // 250 ms of tokens less 300 ms used: 50 ms short, plus 25 ms for a period.
        assert_eq!(quota.wait(0), Some(ms(300)));
        assert_eq!(quota.wait(299 * MS), Some(ms(1)));
        assert_eq!(quota.wait(300 * MS), None);
    }

    #[test]
    fn over_a_long_time_the_rate_holds() {
        let mut quota = Quota::new(100, 0);
        let (mut now, mut used) = (0, 0);
        while now < 60_000 {
            now += 5;
            used += 5;
            quota.spend(ms(5), now * MS);
            let wait = quota.wait(now * MS).unwrap_or_default();
            now += u64::try_from(wait.as_millis()).unwrap();
        }
        assert!((5_900..6_200).contains(&used), "{used} ms in 60 s at 100m");
    }

    #[test]
    fn an_idle_vm_saves_no_more_than_the_burst() {
        let mut quota = Quota::new(1_000, 0);
        quota.spend(ms(999), 3_600_000 * MS);
        assert_eq!(quota.wait(3_600_000 * MS), None);
        quota.spend(ms(1), 3_600_000 * MS);
        assert!(quota.wait(3_600_000 * MS).is_some());
    }

    #[test]
    fn a_higher_rate_shortens_the_wait() {
        let mut quota = Quota::new(10, 0);
        quota.spend(ms(100), 0);
        let before = quota.wait(0).unwrap();
        quota.set_millicores(1_000, 0);
        assert!(quota.wait(0).unwrap() < before / 4);
    }

    #[test]
    fn a_rate_of_zero_and_absurd_times_do_not_overflow() {
        let mut quota = Quota::new(0, 0);
        quota.spend(Duration::MAX, u64::MAX);
        assert!(quota.wait(u64::MAX).is_some());
        let mut quota = Quota::new(u64::MAX, u64::MAX);
        assert_eq!(quota.wait(0), None);
    }

    fn wait_ms(quota: &mut Quota, now: u64) -> u64 {
        let wait = quota.wait(now * MS).unwrap_or_default();
        u64::try_from(wait.as_millis()).unwrap()
    }

    /// The most that a VM uses in ten seconds which takes a step of `step` ms wherever it can.
    fn most_in_ten_seconds(millicores: u64, step: u64) -> u64 {
        let mut quota = Quota::new(millicores, 0);
        let (mut now, mut uses) = (0, Vec::new());
        // Saves up, goes on in steps of a millisecond until it is delayed, and takes the long one
        // where that adds most: when there is next to nothing left.
        for take_at in [9_000, 29_000, 59_000] {
            now += 5_000;
            while now < take_at {
                quota.spend(ms(1), now * MS);
                uses.push((now, 1));
                now += 1 + wait_ms(&mut quota, now);
            }
            quota.spend(ms(step), now * MS);
            uses.push((now, step));
            now += step;
            now += wait_ms(&mut quota, now);
        }
        let window = |from: u64| {
            let inside = uses
                .iter()
                .filter(|(at, _)| (from..from + 10_000).contains(at));
            inside.map(|(_, used)| used).sum::<u64>()
        };
        (0..now).step_by(250).map(window).max().unwrap()
    }

    #[test]
    fn no_ten_seconds_see_more_than_a_fifth_above_the_rate_with_steps_as_long_as_the_burst() {
        for (millicores, step) in [(10, 10), (100, 100), (250, 250), (250, 0), (1_000, 1_000)] {
            let most = most_in_ten_seconds(millicores, step);
            assert!(most <= 12 * millicores, "{millicores} {step}: {most}");
        }
    }
}
