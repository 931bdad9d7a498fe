//! Bounds of one value: length, count, range, the closed list, the pattern.

use regex::Regex;
use serde_json::{Number, Value};

use crate::field::FieldError;

/// What is wrong with a text.
pub(super) fn text(schema: &Value, text: &str, path: &str) -> Vec<FieldError> {
    let length = text.chars().count();
    let mut messages = Vec::new();
    if let Some(most) = limit(schema, "maxLength").filter(|most| length > *most) {
        messages.push(format!(
            "has {length} characters, at most {most} are allowed"
        ));
    }
    if let Some(least) = limit(schema, "minLength").filter(|least| length < *least) {
        messages.push(if least == 1 {
            "must not be empty".to_owned()
        } else {
            format!("has {length} characters, at least {least} are needed")
        });
    }
    messages.extend(not_listed(schema, text));
    messages.extend(not_matching(schema, text));
    messages
        .into_iter()
        .map(|message| FieldError::new(path, message))
        .collect()
}

/// What is wrong with a whole number.
pub(super) fn number(schema: &Value, number: &Number, path: &str) -> Option<FieldError> {
    let bound = |name: &str| schema.get(name).and_then(Value::as_f64);
    let got = number.as_f64()?;
    if let Some(least) = bound("minimum").filter(|least| got < *least) {
        return Some(FieldError::new(
            path,
            format!("is {number}, at least {least} is needed"),
        ));
    }
    let most = bound("maximum").filter(|most| got > *most)?;
    Some(FieldError::new(
        path,
        format!("is {number}, at most {most} is allowed"),
    ))
}

/// What is wrong with the number of entries of a list or map.
pub(super) fn count(schema: &Value, bound: &str, count: usize, path: &str) -> Option<FieldError> {
    let most = limit(schema, bound).filter(|most| count > *most)?;
    Some(FieldError::new(
        path,
        format!("has {count} entries, at most {most} are allowed"),
    ))
}

/// What is wrong with a list that is too short.
pub(super) fn least(schema: &Value, count: usize, path: &str) -> Option<FieldError> {
    let least = limit(schema, "minItems").filter(|least| count < *least)?;
    Some(FieldError::new(
        path,
        format!("has {count} entries, at least {least} is needed"),
    ))
}

fn not_listed(schema: &Value, text: &str) -> Option<String> {
    let allowed = schema.get("enum").and_then(Value::as_array)?;
    if allowed.iter().any(|value| value.as_str() == Some(text)) {
        return None;
    }
    let shown: Vec<_> = allowed
        .iter()
        .filter_map(Value::as_str)
        .filter(|value| !value.is_empty())
        .collect();
    Some(format!(
        "must be one of {}, {text:?} was written",
        shown.join(", ")
    ))
}

fn not_matching(schema: &Value, text: &str) -> Option<String> {
    let pattern = schema.get("pattern").and_then(Value::as_str)?;
    let matches = Regex::new(pattern).is_ok_and(|regex| regex.is_match(text));
    (!matches).then(|| format!("must match {pattern}, {text:?} was written"))
}

fn limit(schema: &Value, name: &str) -> Option<usize> {
    schema
        .get(name)
        .and_then(Value::as_u64)
        .and_then(|limit| usize::try_from(limit).ok())
}
