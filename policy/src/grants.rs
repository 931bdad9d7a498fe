//! What a VM may really do: the only input the runtime takes a permission from.

use serde::{Deserialize, Serialize};

use crate::Limits;

/// Everything a VM is granted. `Grants::default()` permits nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Grants {
    /// The limits it runs under.
    pub limits: Limits,
    /// A clock finer than [`ClockGrant::COARSEST_NS`]; `None` keeps the coarse one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<ClockGrant>,
    /// Whether it may make requests at all. Which ones, the gateway knows.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub network: bool,
}

/// A clock that is finer than what every VM gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClockGrant {
    /// The clock's step in nanoseconds, 1 to 1,000,000.
    pub resolution_ns: u64,
}

impl ClockGrant {
    /// The step of the clock that needs no grant: 1 ms, in nanoseconds.
    pub const COARSEST_NS: u64 = 1_000_000;
}
