//! Keys of a ConfigMap or Secret as files.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::{AskedFiles, AskedItem, ObjectKind, path};
use crate::agentvm::{ConfigMapMount, KeyToPath, SecretMount};
use crate::field::FieldError;

/// The mode of a file whose manifest names none, as everywhere in Kubernetes.
const DEFAULT_MODE: u32 = 0o644;
const MODES: RangeInclusive<u32> = 0..=0o777;
/// The most characters of a name or key.
const MAX_KEY: usize = 253;

pub(super) fn config_map(field: &str, map: &ConfigMapMount) -> Result<AskedFiles, FieldError> {
    let ConfigMapMount {
        name,
        items,
        default_mode,
        optional,
    } = map;
    files(
        &format!("{field}.configMap"),
        ObjectKind::ConfigMap,
        name,
        items,
        *default_mode,
        *optional,
    )
}

pub(super) fn secret(field: &str, secret: &SecretMount) -> Result<AskedFiles, FieldError> {
    let SecretMount {
        secret_name,
        items,
        default_mode,
        optional,
    } = secret;
    files(
        &format!("{field}.secret"),
        ObjectKind::Secret,
        secret_name,
        items,
        *default_mode,
        *optional,
    )
}

fn files(
    field: &str,
    kind: ObjectKind,
    name: &str,
    items: &[KeyToPath],
    default_mode: Option<i32>,
    optional: Option<bool>,
) -> Result<AskedFiles, FieldError> {
    let name_field = match kind {
        ObjectKind::ConfigMap => "name",
        ObjectKind::Secret => "secretName",
    };
    check_object_name(format!("{field}.{name_field}"), name)?;
    let default_mode = mode(format!("{field}.defaultMode"), default_mode)?.unwrap_or(DEFAULT_MODE);
    let named = items.iter().enumerate();
    let items = named
        .map(|(index, item)| one_item(&format!("{field}.items[{index}]"), item, default_mode))
        .collect::<Result<Vec<_>, _>>()?;
    check_apart(field, &items)?;
    Ok(AskedFiles {
        kind,
        name: name.to_owned(),
        items,
        default_mode,
        optional: optional.unwrap_or(false),
    })
}

fn one_item(field: &str, item: &KeyToPath, default_mode: u32) -> Result<AskedItem, FieldError> {
    let KeyToPath {
        key,
        path,
        mode: asked,
    } = item;
    check_key(format!("{field}.key"), key)?;
    path::relative(&format!("{field}.path"), path)?;
    Ok(AskedItem {
        key: key.clone(),
        path: path.clone(),
        mode: mode(format!("{field}.mode"), *asked)?.unwrap_or(default_mode),
    })
}

/// The name becomes part of a request's path: nothing but a name may stand here.
fn check_object_name(field: String, name: &str) -> Result<(), FieldError> {
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_name = (1..=MAX_KEY).contains(&name.len())
        && name.starts_with(edge)
        && name.ends_with(edge)
        && name.chars().all(|c| edge(c) || matches!(c, '-' | '.'));
    let message = "must be the name of an object: lower-case letters, digits, - and ., starting and ending with a letter or digit";
    is_name
        .then_some(())
        .ok_or_else(|| FieldError::new(field, message))
}

fn check_key(field: String, key: &str) -> Result<(), FieldError> {
    let is_key = (1..=MAX_KEY).contains(&key.len())
        && key
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    let message = "must be a key of a ConfigMap or Secret: letters, digits, -, _ and . alone";
    is_key
        .then_some(())
        .ok_or_else(|| FieldError::new(field, message))
}

/// A file can't be a directory as well, and no two keys can be one file.
fn check_apart(field: &str, items: &[AskedItem]) -> Result<(), FieldError> {
    let paths: BTreeMap<&str, usize> = items
        .iter()
        .enumerate()
        .map(|(index, item)| (item.path.as_str(), index))
        .collect();
    for (index, item) in items.iter().enumerate() {
        let error = |message: String| {
            Err(FieldError::new(
                format!("{field}.items[{index}].path"),
                message,
            ))
        };
        if paths
            .get(item.path.as_str())
            .is_some_and(|last| *last != index)
        {
            return error(format!(
                "{:?} is the path of another item as well",
                item.path
            ));
        }
        let above = item
            .path
            .match_indices('/')
            .filter_map(|(end, _)| item.path.get(..end));
        if let Some(file) = above.into_iter().find(|above| paths.contains_key(above)) {
            return error(format!(
                "{:?} lies below {file:?}, which is a file of another item",
                item.path
            ));
        }
    }
    Ok(())
}

fn mode(field: String, mode: Option<i32>) -> Result<Option<u32>, FieldError> {
    let Some(mode) = mode else { return Ok(None) };
    u32::try_from(mode)
        .ok()
        .filter(|mode| MODES.contains(mode))
        .map(Some)
        .ok_or_else(|| {
            FieldError::new(
                field,
                format!("is {mode}, from 0 to 511 is allowed, which is octal 0777"),
            )
        })
}
