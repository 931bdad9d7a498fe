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

agentvm_guards::switch!(pub when feature = "mutants");
