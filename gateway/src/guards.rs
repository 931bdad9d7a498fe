//! The guards that tests switch off one by one, to prove that each holds something back.
//!
//! Outside this crate's own tests every guard is always on.

/// One thing that stands between a guest and a host, or between a host and a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guard {
    /// Headers of a connection are not handed on.
    OfAConnection,
    /// Headers that make another request of it are not sent.
    Misleading,
    /// A body has one length.
    OneLength,
    /// Headers are bounded.
    HeaderBounds,
    /// An injected header replaces the guest's.
    Replace,
    /// A key that comes back is covered.
    Cover,
    /// A request that has been here before is refused.
    Loop,
    /// A connection is used again only where both messages on it were whole.
    WholeMessages,
    /// A connection of older terms is not used again.
    RenewPool,
    /// The more requests a VM has in flight, the less waits of each.
    HeldShare,
    /// The number of requests that a VM has in flight is bounded, whatever it is allowed.
    StreamBound,
    /// A connection is used again only where its address was admitted.
    AddressOfReused,
}

agentvm_guards::switch!(pub(crate) when test);
