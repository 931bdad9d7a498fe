//! Schemas of quantities and of limits, with the rules of their bounds.

use agentvm_policy::LimitField;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::Value;

use crate::{cel, duration, quantity};

/// `limits.memory`.
pub(crate) fn memory(_: &mut SchemaGenerator) -> Schema {
    int_or_string("Bytes, such as `64Mi`.", &cel::limit(LimitField::Memory))
}

/// `limits.cpu`.
pub(crate) fn cpu(_: &mut SchemaGenerator) -> Schema {
    int_or_string("Cores, such as `250m`.", &cel::limit(LimitField::Cpu))
}

/// `limits.fuel`.
pub(crate) fn fuel(_: &mut SchemaGenerator) -> Schema {
    int_or_string(
        "Units of fuel for the whole life of a run, such as `5G`.",
        &cel::limit(LimitField::Fuel),
    )
}

/// `limits.logRate`.
pub(crate) fn log_rate(_: &mut SchemaGenerator) -> Schema {
    int_or_string(
        "Bytes of output per second, such as `64Ki`.",
        &cel::limit(LimitField::LogRate),
    )
}

/// `limits.logTotal`.
pub(crate) fn log_total(_: &mut SchemaGenerator) -> Schema {
    int_or_string(
        "Bytes of output of one run, such as `1Gi`.",
        &cel::limit(LimitField::LogTotal),
    )
}

/// `limits.storage`.
pub(crate) fn storage(_: &mut SchemaGenerator) -> Schema {
    int_or_string(
        "Bytes that its files hold together, such as `64Mi`.",
        &cel::limit(LimitField::Storage),
    )
}

/// `limits.inodes`.
pub(crate) fn inodes(_: &mut SchemaGenerator) -> Schema {
    int_or_string(
        "Files, directories and links together, such as `16k`.",
        &cel::limit(LimitField::Inodes),
    )
}

/// `limits.openFiles`.
pub(crate) fn open_files(_: &mut SchemaGenerator) -> Schema {
    int_or_string(
        "Files and directories that are open at a time, such as `128`.",
        &cel::limit(LimitField::OpenFiles),
    )
}

/// `limits.connections`.
pub(crate) fn connections(_: &mut SchemaGenerator) -> Schema {
    int_or_string(
        "Requests to the network in flight, such as `32`.",
        &cel::limit(LimitField::Connections),
    )
}

/// `limits.egress`.
pub(crate) fn egress(_: &mut SchemaGenerator) -> Schema {
    int_or_string(
        "Bytes of the bodies that it sends in its whole life, such as `100Mi`.",
        &cel::limit(LimitField::Egress),
    )
}

/// `limits.egressRate`.
pub(crate) fn egress_rate(_: &mut SchemaGenerator) -> Schema {
    int_or_string(
        "Bytes of bodies per second, both ways together, such as `10Mi`.",
        &cel::limit(LimitField::EgressRate),
    )
}

/// `emptyDir.sizeLimit`.
pub(crate) fn size_limit(_: &mut SchemaGenerator) -> Schema {
    int_or_string(
        "Bytes that it holds at most, such as `16Mi`; `limits.storage` bounds all mounts together.",
        &cel::size_limit(),
    )
}

/// `limits.timeout`.
pub(crate) fn timeout(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "description": "Wall-clock time of one run, such as `10m`.",
        "type": "string",
        "maxLength": duration::MAX_LEN,
        "minLength": 1,
        "x-kubernetes-validations": cel::limit(LimitField::Timeout),
    })
}

/// A capacity in a node's status.
pub(crate) fn capacity(_: &mut SchemaGenerator) -> Schema {
    int_or_string("A quantity, such as `8Gi` or `4`.", &cel::any_quantity())
}

fn int_or_string(description: &str, rules: &Value) -> Schema {
    json_schema!({
        "description": description,
        "x-kubernetes-int-or-string": true,
        "maxLength": quantity::MAX_LEN,
        "x-kubernetes-validations": rules,
    })
}
