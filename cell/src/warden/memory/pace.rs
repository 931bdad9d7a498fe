//! How often memory is looked at: as often as it could matter.

use std::time::Duration;

use super::cgroup::Reading;
use crate::guards::{Guard, is_on};

/// How long at most, and how long without anything to tell.
pub(super) const EVERY: Duration = Duration::from_millis(250);

/// How long at least: looking costs a tenth of a millisecond.
const SOONEST: Duration = Duration::from_millis(4);

/// What one core can touch of new memory in a second, in bytes; measured 2.3 GiB on one core and
/// 1.7 GiB on two together.
const TOUCHED_PER_CORE: u64 = 3 << 30;

/// When to look again so that guests can't use the rest of the way to `percent` before, on this
/// many cores.
pub(super) fn pause(reading: Reading, percent: u64, cores: u64) -> Duration {
    if !is_on(Guard::MemoryPace) {
        return EVERY;
    }
    let edge = reading.limit / 100 * percent;
    let left = edge.saturating_sub(reading.used);
    let per_millisecond = cores.max(1).saturating_mul(TOUCHED_PER_CORE) / 1_000;
    Duration::from_millis(left / per_millisecond).clamp(SOONEST, EVERY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guards::switch_off;

    const MIB: u64 = 1 << 20;

    /// How much is used when it is seen that `percent` of the limit are, where two cores touch
    /// memory as fast as they can.
    fn seen_at(limit: u64, percent: u64) -> u64 {
        let mut reading = Reading { used: 0, limit };
        while !reading.is_at(percent) {
            let millis = u64::try_from(pause(reading, percent, 2).as_millis()).unwrap();
            reading.used += 2 * TOUCHED_PER_CORE / 1_000 * millis;
        }
        reading.used
    }

    #[test]
    fn d10_the_fastest_guests_are_seen_before_the_container_is_full() {
        for limit in [512 * MIB, 2048 * MIB, 65_536 * MIB] {
            let seen = seen_at(limit, 88);
            assert!(seen < limit / 100 * 94, "{} of {}", seen / MIB, limit / MIB);
        }
    }

    #[test]
    fn d10_mutant_at_a_fixed_pace_the_container_is_full_before_it_is_seen() {
        let seen = switch_off(Guard::MemoryPace, || seen_at(2048 * MIB, 88));
        assert!(seen > 2048 * MIB, "{}", seen / MIB);
    }

    #[test]
    fn far_from_the_edge_it_is_looked_at_seldom_and_beyond_it_often() {
        let limit = 65_536 * MIB;
        let at = |used| pause(Reading { used, limit }, 88, 2);
        assert_eq!(at(0), EVERY);
        assert_eq!(at(limit), SOONEST);
    }
}
