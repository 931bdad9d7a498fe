//! Schemas of the parts of a rule for the network, the same in a VM and in a policy.

use agentvm_policy::budget;
use agentvm_policy::egress::Method;
use schemars::{Schema, SchemaGenerator, json_schema};

use crate::cel;

/// `ports`.
pub(crate) fn ports(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "description": "The ports. Default: the one of the scheme.",
        "type": "array",
        "maxItems": budget::RULE_PORTS.value,
        "x-kubernetes-list-type": "atomic",
        "items": {"type": "integer", "format": "int32", "minimum": 1, "maximum": u16::MAX},
    })
}

/// `scheme`.
pub(crate) fn scheme(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "description": "`https` or `http`. Default https.",
        "type": "string",
        "enum": ["https", "http"],
    })
}

/// `methods`. It narrows, so that it has to be written.
pub(crate) fn methods(_: &mut SchemaGenerator) -> Schema {
    let names = Method::ALL.map(Method::as_str);
    let all: Vec<&str> = ["*"].into_iter().chain(names).collect();
    json_schema!({
        "description": "The methods, or `*` alone for all of them.",
        "type": "array",
        "minItems": 1,
        "maxItems": names.len(),
        "x-kubernetes-list-type": "atomic",
        "items": {"type": "string", "enum": all},
        "x-kubernetes-validations": cel::methods(),
    })
}

/// `paths`. It narrows, so that it has to be written.
pub(crate) fn paths(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "description": "The paths, such as `/v1/*`: a `*` at the end is whatever follows, any other one segment. `*` alone is every path.",
        "type": "array",
        "minItems": 1,
        "maxItems": budget::RULE_PATHS.value,
        "x-kubernetes-list-type": "atomic",
        "items": {
            "type": "string",
            "minLength": 1,
            "maxLength": budget::RULE_PATH_CHARS.value,
            "x-kubernetes-validations": cel::rule_path(),
        },
    })
}

/// `networks` of a policy.
pub(crate) fn networks(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "description": "Private networks that names may lead to and that rules may name, such as `10.20.0.0/16`. All others are closed whatever a rule says.",
        "type": "array",
        "maxItems": budget::POLICY_NETWORKS.value,
        "x-kubernetes-list-type": "atomic",
        "items": {
            "type": "string",
            "minLength": 1,
            "maxLength": budget::NETWORK_CHARS.value,
            "x-kubernetes-validations": cel::network(),
        },
    })
}
