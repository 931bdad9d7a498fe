//! Structure and bounds: an object against the schema of its CRD.

mod bounds;

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::field::FieldError;

/// What is wrong with the structure of `object`. `apiVersion`, `kind` and `metadata` are not
/// looked at.
pub(super) fn check(schema: &Value, object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let body: Map<_, _> = object
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(field, _)| !matches!(field.as_str(), "apiVersion" | "kind" | "metadata"))
        .map(|(field, value)| (field.clone(), value.clone()))
        .collect();
    fields(schema, &body, "", &mut errors);
    errors
}

fn value(schema: &Value, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let int_or_string = schema.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true));
    let kind = schema
        .get("type")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let mut wrong = |expected: &str| {
        errors.push(FieldError::new(
            path,
            format!("must be {expected}, {} was written", described(value)),
        ));
    };
    match (kind, value) {
        ("object", Value::Object(object)) => fields(schema, object, path, errors),
        ("array", Value::Array(items)) => list(schema, items, path, errors),
        ("string", Value::String(text)) => {
            errors.extend(bounds::text(schema, text, path));
        }
        ("integer", Value::Number(number)) if is_whole(number) => {
            errors.extend(bounds::number(schema, number, path));
        }
        ("boolean", Value::Bool(_)) => {}
        (_, Value::String(text)) if int_or_string => {
            errors.extend(bounds::text(schema, text, path));
        }
        (_, Value::Number(number)) if int_or_string && is_whole(number) => {}
        ("integer", Value::String(text)) if let Some(number) = octal(text) => {
            errors.push(FieldError::new(path, octal_is_ambiguous(text, number)));
        }
        _ if int_or_string => wrong("a quantity in quotes or a whole number"),
        ("object", _) => wrong("an object"),
        ("array", _) => wrong("a list"),
        ("string", _) => wrong("text, in quotes"),
        ("integer", _) => wrong("a whole number"),
        ("boolean", _) => wrong("true or false"),
        _ => {}
    }
}

fn fields(schema: &Value, object: &Map<String, Value>, path: &str, errors: &mut Vec<FieldError>) {
    if let Some(values) = schema.get("additionalProperties") {
        errors.extend(bounds::count(schema, "maxProperties", object.len(), path));
        for (key, child) in object {
            value(values, child, &joined(path, key), errors);
        }
        return;
    }
    let known = schema.get("properties").and_then(Value::as_object);
    for (field, child) in object {
        match known.and_then(|known| known.get(field)) {
            Some(schema) => value(schema, child, &joined(path, field), errors),
            None => errors.push(FieldError::new(joined(path, field), unknown(known))),
        }
    }
    let required = schema
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    for field in required
        .filter_map(Value::as_str)
        .filter(|field| !object.contains_key(*field))
    {
        errors.push(FieldError::new(joined(path, field), "is missing"));
    }
}

fn list(schema: &Value, items: &[Value], path: &str, errors: &mut Vec<FieldError>) {
    errors.extend(bounds::count(schema, "maxItems", items.len(), path));
    errors.extend(bounds::least(schema, items.len(), path));
    for (index, item) in items.iter().enumerate() {
        if let Some(schema) = schema.get("items") {
            value(schema, item, &format!("{path}[{index}]"), errors);
        }
    }
    for key in schema
        .get("x-kubernetes-list-map-keys")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        errors.extend(
            key.as_str()
                .into_iter()
                .flat_map(|key| repeated(items, key, path)),
        );
    }
}

fn repeated(items: &[Value], key: &str, path: &str) -> Vec<FieldError> {
    let mut seen = BTreeSet::new();
    let keys = items
        .iter()
        .enumerate()
        .filter_map(|(index, item)| Some((index, item.get(key)?.as_str()?)));
    keys.filter(|(_, value)| !seen.insert(*value))
        .map(|(index, value)| {
            FieldError::new(
                format!("{path}[{index}]"),
                format!("{key} {value:?} stands in the list already"),
            )
        })
        .collect()
}

fn unknown(known: Option<&Map<String, Value>>) -> String {
    let names: Vec<_> = known
        .into_iter()
        .flat_map(Map::keys)
        .map(String::as_str)
        .collect();
    if names.is_empty() {
        return "is no field of the API, nothing may stand here".to_owned();
    }
    format!("is no field of the API, allowed are {}", names.join(", "))
}

fn described(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(_) => "text".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

/// The number that `kubectl` reads where a file mode is written as in C.
fn octal(text: &str) -> Option<u64> {
    let is_octal = text.starts_with('0') && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    u64::from_str_radix(text, 8).ok().filter(|_| is_octal)
}

fn octal_is_ambiguous(text: &str, number: u64) -> String {
    format!(
        "must be a whole number: write {number} or 0o{number:o}, \
         {text} is octal to some readers of YAML and text to others"
    )
}

fn is_whole(number: &serde_json::Number) -> bool {
    number.is_i64() || number.is_u64()
}

fn joined(path: &str, field: &str) -> String {
    if path.is_empty() {
        field.to_owned()
    } else {
        format!("{path}.{field}")
    }
}
