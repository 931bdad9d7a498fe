//! The guards that tests switch off one by one, to prove that each holds something back.
//!
//! Outside this crate's own tests every guard is always on.

/// One thing that stands between a guest or a folder and what it must not reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guard {
    /// Nothing is read or written through a link.
    NoFollow,
    /// FIFOs, sockets and devices are not copied in.
    SpecialFiles,
    /// Only an empty folder is filled, and no file replaced.
    NewFiles,
}

#[cfg(test)]
pub(crate) use switch::{is_on, switch_off};

#[cfg(not(test))]
pub(crate) const fn is_on(_guard: Guard) -> bool {
    true
}

#[cfg(test)]
mod switch {
    use std::cell::Cell;

    use super::Guard;

    thread_local! {
        static OFF: Cell<Option<Guard>> = const { Cell::new(None) };
    }

    /// Switches `guard` off for whatever this thread does from now on: each test has its own.
    pub(crate) fn switch_off(guard: Guard) {
        OFF.set(Some(guard));
    }

    pub(crate) fn is_on(guard: Guard) -> bool {
        OFF.get() != Some(guard)
    }
}
