//! `metadata`: what the API server demands of every object.

use serde_json::Value;

use crate::field::FieldError;

const MAX_NAME: usize = 253;
const FIELDS: [&str; 15] = [
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// What is wrong with the object's `metadata`.
pub(super) fn check(object: &Value) -> Vec<FieldError> {
    let Some(metadata) = object.get("metadata") else {
        return vec![FieldError::new("metadata.name", "is missing")];
    };
    let Some(fields) = metadata.as_object() else {
        return vec![FieldError::new("metadata", "must be an object")];
    };
    let mut errors: Vec<_> = fields
        .keys()
        .filter(|field| !FIELDS.contains(&field.as_str()))
        .map(|field| FieldError::new(format!("metadata.{field}"), "is no field of the API"))
        .collect();
    errors.extend(name_error(metadata));
    errors.extend(
        ["labels", "annotations"]
            .iter()
            .flat_map(|map| not_text(metadata, map)),
    );
    errors
}

fn name_error(metadata: &Value) -> Option<FieldError> {
    let error = |message: &str| Some(FieldError::new("metadata.name", message));
    match metadata.get("name") {
        None if metadata.get("generateName").is_some() => None,
        None => error("is missing"),
        Some(Value::String(name)) if is_subdomain(name) => None,
        Some(_) => error(
            "must be at most 253 lower-case letters, digits, - and ., starting and ending with a letter or digit",
        ),
    }
}

/// As Kubernetes names objects: labels of letters, digits and `-`, joined by dots.
fn is_subdomain(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    name.len() <= MAX_NAME
        && name.split('.').all(|label| {
            !label.is_empty()
                && label.chars().all(inner)
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
}

fn not_text(metadata: &Value, map: &str) -> Vec<FieldError> {
    let entries = metadata
        .get(map)
        .and_then(Value::as_object)
        .into_iter()
        .flatten();
    let wrong = entries.filter(|(_, value)| !value.is_string());
    wrong
        .map(|(key, _)| {
            FieldError::new(
                format!("metadata.{map}.{key}"),
                "must be text, put it in quotes",
            )
        })
        .collect()
}
