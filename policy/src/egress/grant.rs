//! What a VM is granted of the network.

use serde::{Deserialize, Serialize};

use super::{Cidr, RuleText};

/// The requests that a VM may make. `EgressGrant::default()` permits none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EgressGrant {
    /// The rules in the order of the manifest, each of which parses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<RuleText>,
    /// Private networks that policies of the cluster open to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<Cidr>,
}

impl EgressGrant {
    /// Whether it permits nothing, so that the VM has no network at all.
    pub const fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }
}
