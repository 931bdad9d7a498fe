//! Waiting for a condition, never for a time.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::bail;

use crate::Result;

/// Long enough for anything that works, on a busy machine with two cores.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// What a look at the world gave.
#[derive(Debug)]
pub enum Look<T> {
    /// It is so.
    Yes(T),
    /// Not yet: what was seen instead.
    NotYet(String),
}

/// Looks until it is so, and fails after [`PATIENCE`] with what was seen last.
pub fn until<T>(what: &str, look: impl FnMut() -> Result<Look<T>>) -> Result<T> {
    until_within(PATIENCE, what, look)
}

/// Looks until it is so, and fails after `patience` with what was seen last.
pub fn until_within<T>(
    patience: Duration,
    what: &str,
    mut look: impl FnMut() -> Result<Look<T>>,
) -> Result<T> {
    let end = Instant::now() + patience;
    loop {
        let seen = match look()? {
            Look::Yes(found) => return Ok(found),
            Look::NotYet(seen) => seen,
        };
        if Instant::now() >= end {
            bail!(
                "waited {} s for {what}; last seen: {seen}",
                patience.as_secs()
            );
        }
        thread::sleep(Duration::from_millis(25));
    }
}

/// Yes where `so`, else what was seen.
pub fn yes_if(so: bool, seen: impl FnOnce() -> String) -> Look<()> {
    if so {
        Look::Yes(())
    } else {
        Look::NotYet(seen())
    }
}
