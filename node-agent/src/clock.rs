//! The two clocks: one that only goes forward for decisions, one for what people read.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A point on the machine's boot clock, which no clock change moves and suspend does not stop.
pub type Moment = Duration;

/// Now, on the boot clock.
pub fn now() -> Moment {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}

/// Now, as Unix milliseconds, for timestamps that people read.
pub fn unix_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map(|since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
        .unwrap_or_default()
}
