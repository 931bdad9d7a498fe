//! The guards that tests switch off one by one, to prove that each holds something back.
//!
//! Outside this crate's own tests every guard is always on.

/// One thing that stands between what was said and what is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guard {
    /// Nothing is stopped because its object left the watch before a live read agrees.
    LiveRead,
    /// The agent cuts the request with the policies itself.
    OwnCut,
    /// Nothing starts before every rule that may hold is known.
    KnownRules,
    /// Nothing is done before every cell that runs has been listed.
    Survey,
    /// An older epoch than the one that runs changes nothing.
    Epoch,
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
