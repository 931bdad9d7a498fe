//! Schemas of types that come from Kubernetes, bounded: as published they are not.

use schemars::{Schema, SchemaGenerator, json_schema};

use crate::cel;
use crate::conditions::MAX_MESSAGE_BYTES;

/// A label's key: a prefix of 253, a slash, a name of 63.
const LABEL_KEY: usize = 317;
const LABEL_VALUE: usize = 63;

/// `status.conditions`.
pub(crate) fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "description": "One entry for each type; each type has one writer at a time.",
        "type": "array",
        "maxItems": 16,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["lastTransitionTime", "message", "reason", "status", "type"],
            "properties": {
                "lastTransitionTime": {
                    "description": "When the status last changed.",
                    "type": "string", "format": "date-time", "maxLength": 64,
                },
                "message": {
                    "description": "One sentence for people.",
                    "type": "string", "maxLength": MAX_MESSAGE_BYTES,
                },
                "observedGeneration": {
                    "description": "The generation that the condition speaks of.",
                    "type": "integer", "format": "int64", "minimum": 0,
                },
                "reason": {
                    "description": "Why, from a closed list.",
                    "type": "string", "minLength": 1, "maxLength": 64, "pattern": "^[A-Z][A-Za-z0-9]*$",
                },
                "status": {
                    "description": "True, False or Unknown.",
                    "type": "string", "enum": ["True", "False", "Unknown"],
                },
                "type": {
                    "description": "What is or is not the case.",
                    "type": "string", "minLength": 1, "maxLength": 64, "pattern": "^[A-Z][A-Za-z0-9]*$",
                },
            },
        },
    })
}

/// `spec.tolerations`. Without `tolerationSeconds`: a running VM is not evicted by a taint.
pub(crate) fn tolerations(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "description": "Taints of the Node that it tolerates.",
        "type": "array",
        "maxItems": 32,
        "x-kubernetes-list-type": "atomic",
        "items": {
            "type": "object",
            "properties": {
                "key": {
                    "description": "The taint's key; empty tolerates every taint.",
                    "type": "string", "maxLength": LABEL_KEY,
                },
                "operator": {
                    "description": "How the taint's value is compared. Default Equal.",
                    "type": "string", "enum": ["Equal", "Exists"],
                },
                "value": {
                    "description": "The taint's value.",
                    "type": "string", "maxLength": LABEL_VALUE,
                },
                "effect": {
                    "description": "The taint's effect; absent or empty tolerates all.",
                    "type": "string", "enum": ["", "NoSchedule", "PreferNoSchedule", "NoExecute"],
                },
            },
            "x-kubernetes-validations": cel::toleration(),
        },
    })
}

/// `spec.nodeSelector`.
pub(crate) fn node_selector(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "description": "Labels that the Node must carry.",
        "type": "object",
        "maxProperties": 32,
        "additionalProperties": {"type": "string", "maxLength": LABEL_VALUE},
        "x-kubernetes-map-type": "atomic",
        "x-kubernetes-validations": cel::node_selector(),
    })
}

/// `spec.namespaceSelector`.
pub(crate) fn label_selector(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "description": "The namespaces it holds in; empty selects all, as everywhere in Kubernetes.",
        "type": "object",
        "x-kubernetes-map-type": "atomic",
        "properties": {
            "matchLabels": {
                "description": "Labels that the namespace must carry.",
                "type": "object",
                "maxProperties": 32,
                "additionalProperties": {"type": "string", "maxLength": LABEL_VALUE},
                "x-kubernetes-validations": cel::match_labels(),
            },
            "matchExpressions": {
                "description": "Requirements that must all hold.",
                "type": "array",
                "maxItems": 32,
                "x-kubernetes-list-type": "atomic",
                "items": {
                    "type": "object",
                    "required": ["key", "operator"],
                    "properties": {
                        "key": {
                            "description": "The label's key.",
                            "type": "string", "minLength": 1, "maxLength": LABEL_KEY,
                        },
                        "operator": {
                            "description": "How the label is compared with the values.",
                            "type": "string", "enum": ["In", "NotIn", "Exists", "DoesNotExist"],
                        },
                        "values": {
                            "description": "Values for In and NotIn.",
                            "type": "array",
                            "maxItems": 64,
                            "x-kubernetes-list-type": "atomic",
                            "items": {"type": "string", "maxLength": LABEL_VALUE},
                        },
                    },
                    "x-kubernetes-validations": cel::selector_requirement(),
                },
            },
        },
    })
}
