//! What the API server would say to an object, without one.
//!
//! Everything is derived from the CRDs that are installed: structure and bounds from their
//! schema, the rest from their CEL rules. Two differences are deliberate: a field that the
//! schema does not know is an error here (`kubectl` says so too, the API server drops it), and
//! every error is a sentence behind its field's path.

mod metadata;
mod structure;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use kube::core::cel::Validator;
use serde_json::Value;

use crate::field::FieldError;
use crate::{GROUP, schema};

/// The version of the API.
pub const VERSION: &str = "v1alpha1";

/// The schemas by kind, as JSON.
static SCHEMAS: LazyLock<BTreeMap<String, Value>> = LazyLock::new(|| {
    let schemas = schema::crds().into_iter().filter_map(|crd| {
        let version = crd.spec.versions.into_iter().next()?;
        let schema = version.schema?.open_api_v3_schema?;
        Some((crd.spec.names.kind, serde_json::to_value(schema).ok()?))
    });
    schemas.collect()
});

/// What is wrong with `object`, an `AgentVM`, `AgentPolicy` or `AgentNode` as it was written;
/// empty where the API server would create it.
pub fn validate(object: &Value) -> Vec<FieldError> {
    check(object, None)
}

/// What is wrong with changing `old` to `object`: the rules on immutable fields hold as well.
pub fn validate_update(object: &Value, old: &Value) -> Vec<FieldError> {
    check(object, Some(old))
}

fn check(object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let schema = match schema_of(object) {
        Ok(schema) => schema,
        Err(error) => return vec![error],
    };
    let object = without_nulls(object);
    let mut errors = metadata::check(&object);
    errors.extend(structure::check(schema, &object));
    if errors.is_empty() {
        errors.extend(rules(schema, &object, old.map(without_nulls).as_ref()));
    }
    errors
}

fn schema_of(object: &Value) -> Result<&'static Value, FieldError> {
    let text = |field: &str| {
        object
            .get(field)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let (version, kind) = (text("apiVersion"), text("kind"));
    let expected = format!("{GROUP}/{VERSION}");
    if version != expected {
        return Err(FieldError::new(
            "apiVersion",
            format!("must be {expected}, {version:?} was written"),
        ));
    }
    SCHEMAS.get(kind).ok_or_else(|| {
        let kinds: Vec<_> = SCHEMAS.keys().map(String::as_str).collect();
        FieldError::new(
            "kind",
            format!("must be one of {}, {kind:?} was written", kinds.join(", ")),
        )
    })
}

/// The API server drops a `null` where no field takes one, and none of ours does.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(_, value)| !value.is_null());
            Value::Object(
                kept.map(|(name, value)| (name.clone(), without_nulls(value)))
                    .collect(),
            )
        }
        Value::Array(items) => Value::Array(items.iter().map(without_nulls).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

fn rules(schema: &Value, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    match Validator::new().validate(schema, object, old) {
        Ok(()) => Vec::new(),
        Err(errors) => errors
            .into_iter()
            .map(|error| FieldError::new(error.field_path, error.message))
            .collect(),
    }
}
