//! The guards that tests can switch off one by one, to prove that each holds something back.
//!
//! Without the feature `mutants`, which no shipped build has, every guard is always on.

/// One thing that stands between a request and a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(feature = "mutants"),
    expect(
        unreachable_pub,
        reason = "public for the tests that switch guards off"
    )
)]
pub enum Guard {
    /// A request above the built-in maximum, or below the minimum, is refused.
    BuiltInBounds,
    /// A request above a policy's ceiling is refused.
    Ceiling,
    /// A default is cut to the ceiling.
    DefaultCut,
    /// A capability is refused where no policy or not every policy allows it.
    Capability,
    /// A mount of a Secret is refused where no policy or not every policy allows it.
    SecretMounts,
}

#[cfg(feature = "mutants")]
mod switch {
    use std::cell::Cell;

    use super::Guard;

    thread_local! {
        static OFF: Cell<Option<Guard>> = const { Cell::new(None) };
    }

    /// Switches `guard` off for whatever this thread does while `during` runs.
    pub fn switch_off<T>(guard: Guard, during: impl FnOnce() -> T) -> T {
        OFF.set(Some(guard));
        let result = during();
        OFF.set(None);
        result
    }

    pub(crate) fn is_on(guard: Guard) -> bool {
        OFF.get() != Some(guard)
    }
}

#[cfg(feature = "mutants")]
pub use switch::switch_off;

#[cfg(feature = "mutants")]
pub(crate) use switch::is_on;

#[cfg(not(feature = "mutants"))]
pub(crate) const fn is_on(_guard: Guard) -> bool {
    true
}
