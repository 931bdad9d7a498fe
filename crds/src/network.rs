//! `capabilities.network`: the requests that a VM asks for, and those that a policy lets it ask for,
//! as users write them.

use agentvm_policy::budget;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{cel, schema};

/// Requests to hosts outside. Without an entry under `egress` there are none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NetworkCapability {
    /// What it may ask of which host; empty is nothing. The order means nothing: the narrowest
    /// rule that allows a request is the one that holds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = budget::EGRESS_RULES.value), extend("x-kubernetes-list-type" = "atomic"))]
    pub egress: Vec<EgressRule>,
}

/// Requests to one host, or to hosts of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = cel::egress_rule()))]
pub struct EgressRule {
    /// `api.example.com`, `*.example.com` for every name below it, or `*` for every name; or an
    /// address or network, such as `10.20.0.0/16`.
    #[schemars(length(min = 1, max = budget::RULE_HOST_CHARS.value), extend("x-kubernetes-validations" = cel::host()))]
    pub host: String,
    /// The ports. Default: the one of the scheme.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::ports")]
    pub ports: Vec<u16>,
    /// `https` or `http`. Default https.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::scheme")]
    pub scheme: Option<String>,
    /// The methods, or `*` alone for all of them.
    #[schemars(schema_with = "schema::methods")]
    pub methods: Vec<String>,
    /// The paths, such as `/v1/*`: a `*` at the end is whatever follows, any other one segment. `*`
    /// alone is every path.
    #[schemars(schema_with = "schema::paths")]
    pub paths: Vec<String>,
    /// Headers that are added outside of the VM, made of keys that it never sees. Only for one host
    /// by https.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = budget::INJECTED_HEADERS.value), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["header"]))]
    pub inject: Vec<InjectedHeader>,
}

/// One header made of a key, in the place of whatever the VM sends under its name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InjectedHeader {
    /// The header's name, such as `Authorization`.
    #[schemars(length(min = 1, max = budget::HEADER_NAME_CHARS.value), extend("x-kubernetes-validations" = cel::injected_header()))]
    pub header: String,
    /// Its value, with `{}` once, where the key goes, such as `Bearer {}`. Default `{}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = budget::TEMPLATE_CHARS.value), extend("x-kubernetes-validations" = cel::template()))]
    pub template: Option<String>,
    /// The key.
    pub secret_key_ref: SecretKey,
}

/// One key of a Secret in the same namespace.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretKey {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253), extend("x-kubernetes-validations" = cel::object_name()))]
    pub name: String,
    /// The key in it.
    #[schemars(length(min = 1, max = 253), extend("x-kubernetes-validations" = cel::config_map_key()))]
    pub key: String,
}

/// Requests that may be asked for, and private networks that are open to them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PolicyNetwork {
    /// What may be asked for, as in a VM: each of its rules lies within these. Empty is nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = budget::EGRESS_RULES.value), extend("x-kubernetes-list-type" = "atomic"))]
    pub egress: Vec<PolicyEgressRule>,
    /// Private networks that names may lead to and that rules may name, such as `10.20.0.0/16`. All
    /// others are closed whatever a rule says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::networks")]
    pub networks: Vec<String>,
}

/// Requests that may be asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PolicyEgressRule {
    /// `api.example.com`, `*.example.com` for every name below it, or `*` for every name; or an
    /// address or network, such as `10.20.0.0/16`.
    #[schemars(length(min = 1, max = budget::RULE_HOST_CHARS.value), extend("x-kubernetes-validations" = cel::host()))]
    pub host: String,
    /// The ports. Default: the one of the scheme.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::ports")]
    pub ports: Vec<u16>,
    /// `https` or `http`. Default https.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::scheme")]
    pub scheme: Option<String>,
    /// The methods, or `*` alone for all of them.
    #[schemars(schema_with = "schema::methods")]
    pub methods: Vec<String>,
    /// The paths, such as `/v1/*`.
    #[schemars(schema_with = "schema::paths")]
    pub paths: Vec<String>,
}
