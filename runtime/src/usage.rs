//! What a VM uses, counted while it runs and readable at any time.

use std::collections::BTreeMap;
use std::time::Duration;

/// A snapshot of what one run has used so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Time of a processor.
    pub cpu: Duration,
    /// Time for which it was held back because its CPU quota was used up.
    pub throttled: Duration,
    /// Units of fuel, host calls included.
    pub fuel: u64,
    /// Bytes of linear memory and tables held now; 0 after the end.
    pub memory_bytes: u64,
    /// The most bytes it ever held.
    pub memory_peak_bytes: u64,
    /// Calls of closed interfaces by interface: a closed set of names, zeros left out.
    pub denials: BTreeMap<&'static str, u64>,
}
