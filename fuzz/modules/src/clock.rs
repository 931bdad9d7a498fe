//! The time in which this process could work: while it is stopped, or gets no processor because
//! others have them all, a module is not late.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// How often the clock is set.
const EVERY: Duration = Duration::from_millis(20);
/// What it goes on by at most, each time: a look that comes later was held up, and so was all else.
const MOST: Duration = Duration::from_millis(100);

/// Nanoseconds since the first look at it.
static NOW: AtomicU64 = AtomicU64::new(0);
static TICKING: LazyLock<()> = LazyLock::new(|| {
    thread::spawn(|| {
        let mut last = Instant::now();
        loop {
            thread::sleep(EVERY);
            let now = Instant::now();
            NOW.fetch_add(step(now.duration_since(last)), Relaxed);
            last = now;
        }
    });
});

/// The time on the clock, which begins with the first look at it.
pub(crate) fn now() -> Duration {
    LazyLock::force(&TICKING);
    Duration::from_nanos(NOW.load(Relaxed))
}

/// The nanoseconds that it goes on by where `passed` lies between two looks.
fn step(passed: Duration) -> u64 {
    u64::try_from(passed.min(MOST).as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_between_two_looks_is_no_time() {
        assert_eq!(step(Duration::from_millis(21)), 21_000_000);
        assert_eq!(step(Duration::from_hours(1)), 100_000_000);
    }

    #[test]
    fn it_goes_on_while_the_process_can_work() {
        let began = now();
        let deadline = Instant::now() + Duration::from_mins(1);
        while now() == began {
            assert!(Instant::now() < deadline, "it stands still");
            thread::yield_now();
        }
    }
}
