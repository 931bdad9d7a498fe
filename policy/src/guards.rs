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
    /// A rule for the network is refused where no policy or not every policy allows it.
    EgressCeiling,
    /// A network is open where every policy opens it.
    NetworkCeiling,
    /// A key is injected where a rule names one host by `https`.
    OneOrigin,
    /// A request that no rule allows is refused.
    EgressRules,
    /// `*.example.com` matches at the border of a label alone.
    HostBoundary,
    /// A host that some parsers read as an IPv4 address is refused.
    NumericHosts,
    /// An authority with a user is refused.
    Userinfo,
    /// A path that servers read differently is refused.
    CanonicalPath,
    /// A rule speaks of its scheme alone.
    ExactScheme,
    /// A rule speaks of its ports alone.
    ExactPort,
    /// A rule speaks of its methods alone.
    ExactMethod,
    /// A rule speaks of its paths alone.
    ExactPath,
    /// Addresses that are not the internet's are refused.
    SpecialAddresses,
    /// IPv4 addresses inside IPv6 ones are refused.
    EmbeddedAddresses,
    /// The cluster's addresses are refused.
    ClusterAddresses,
    /// The platform's own listeners are refused.
    OwnListeners,
    /// An exception lies within one private range.
    ExceptionBounds,
}

agentvm_guards::switch!(pub when feature = "mutants");
