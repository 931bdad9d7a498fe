//! What a VM mounts, decided: paths checked, sizes as numbers, defaults filled in.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use agentvm_policy::{LimitField, human};

use super::number;
use crate::agentvm::{AgentVM, ConfigMapMount, EmptyDirMount, KeyToPath, Mount, SecretMount};
use crate::field::FieldError;
use crate::quantity;

/// Bytes that `emptyDir.sizeLimit` may ask for.
pub(crate) const SIZE_LIMIT: RangeInclusive<u64> = 4_096..=LimitField::Storage.max();
/// The mode of a file whose manifest names none, as everywhere in Kubernetes.
const DEFAULT_MODE: u32 = 0o644;
const MODES: RangeInclusive<u32> = 0..=0o777;
/// The most bytes of one name in a path.
const MAX_NAME: usize = 255;
/// The most bytes of a path.
const MAX_PATH: usize = 4_096;

/// One directory that a VM sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskedMount {
    /// Its place in `spec.mounts`.
    pub index: usize,
    /// Absolute and canonical.
    pub path: String,
    /// Whether every write is refused; true for every [`AskedSource::Files`].
    pub read_only: bool,
    /// What is in it.
    pub source: AskedSource,
}

/// What is in a mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AskedSource {
    /// Nothing when the VM starts.
    EmptyDir {
        /// Bytes that it holds at most; `None` is bounded by `limits.storage` alone.
        size_limit_bytes: Option<u64>,
    },
    /// Keys of an object as files.
    Files(AskedFiles),
}

/// Keys of one object as files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskedFiles {
    /// Of which kind the object is.
    pub kind: ObjectKind,
    /// Its name, in the VM's namespace.
    pub name: String,
    /// The keys to show; empty shows every key by its own name.
    pub items: Vec<AskedItem>,
    /// The mode of files that are not in `items`.
    pub default_mode: u32,
    /// Whether the VM starts where the object or a key in `items` does not exist.
    pub optional: bool,
}

/// One key and the file that shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskedItem {
    /// The key.
    pub key: String,
    /// The file's path below the mount: relative and canonical.
    pub path: String,
    /// Its mode, 0 to 0o777.
    pub mode: u32,
}

/// A kind of object whose keys become files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectKind {
    /// A ConfigMap.
    ConfigMap,
    /// A Secret.
    Secret,
}

impl ObjectKind {
    /// The kind as Kubernetes writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
        }
    }
}

impl AskedMount {
    /// The path of the field that names its object, such as `spec.mounts[2].secret`.
    pub fn field(&self) -> String {
        let source = match &self.source {
            AskedSource::EmptyDir { .. } => "emptyDir",
            AskedSource::Files(files) => match files.kind {
                ObjectKind::ConfigMap => "configMap",
                ObjectKind::Secret => "secret",
            },
        };
        format!("spec.mounts[{}].{source}", self.index)
    }

    /// [`Self::field`] where the object is a Secret.
    pub(super) fn secret_field(&self) -> Option<String> {
        let is_secret =
            matches!(&self.source, AskedSource::Files(files) if files.kind == ObjectKind::Secret);
        is_secret.then(|| self.field())
    }
}

impl AgentVM {
    /// What it mounts, in the order of the manifest.
    pub fn mounts(&self) -> Result<Vec<AskedMount>, FieldError> {
        let mut taken = BTreeMap::new();
        let mounts = self.spec.mounts.iter().enumerate();
        mounts
            .map(|(index, mount)| {
                let asked = asked(index, mount)?;
                match taken.insert(&mount.path, index) {
                    None => Ok(asked),
                    Some(other) => Err(FieldError::new(
                        format!("spec.mounts[{index}].path"),
                        format!(
                            "{:?} is the path of spec.mounts[{other}] as well",
                            mount.path
                        ),
                    )),
                }
            })
            .collect()
    }
}

fn asked(index: usize, mount: &Mount) -> Result<AskedMount, FieldError> {
    let field = format!("spec.mounts[{index}]");
    let path = &mount.path;
    check_names(
        &format!("{field}.path"),
        path,
        path.strip_prefix('/'),
        "/work",
    )?;
    let source = match (&mount.empty_dir, &mount.config_map, &mount.secret) {
        (Some(empty), None, None) => empty_dir(&field, empty)?,
        (None, Some(map), None) => AskedSource::Files(config_map(&field, map)?),
        (None, None, Some(secret)) => AskedSource::Files(of_secret(&field, secret)?),
        _ => {
            let message = "must name exactly one of emptyDir, configMap and secret";
            return Err(FieldError::new(field, message));
        }
    };
    let is_empty_dir = matches!(source, AskedSource::EmptyDir { .. });
    if mount.read_only == Some(false) && !is_empty_dir {
        return Err(FieldError::new(
            format!("{field}.readOnly"),
            "is false, but a configMap or secret is always read-only: leave it out",
        ));
    }
    Ok(AskedMount {
        index,
        path: path.clone(),
        read_only: mount.read_only.unwrap_or(!is_empty_dir),
        source,
    })
}

fn empty_dir(
    field: &str,
    EmptyDirMount { size_limit }: &EmptyDirMount,
) -> Result<AskedSource, FieldError> {
    let path = format!("{field}.emptyDir.sizeLimit");
    let bytes = number(path.clone(), size_limit.as_ref(), quantity::whole)?;
    if let Some(bytes) = bytes.filter(|bytes| !SIZE_LIMIT.contains(bytes)) {
        let [asked, min, max] = [bytes, *SIZE_LIMIT.start(), *SIZE_LIMIT.end()].map(human::bytes);
        return Err(FieldError::new(
            path,
            format!("asks for {asked}, from {min} to {max} is allowed"),
        ));
    }
    Ok(AskedSource::EmptyDir {
        size_limit_bytes: bytes,
    })
}

fn config_map(field: &str, map: &ConfigMapMount) -> Result<AskedFiles, FieldError> {
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

fn of_secret(field: &str, secret: &SecretMount) -> Result<AskedFiles, FieldError> {
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
    let place = format!("{field}.path");
    check_names(
        &place,
        path,
        Some(path)
            .filter(|path| !path.is_empty())
            .map(String::as_str),
        "tls/server.crt",
    )?;
    if path.starts_with("..") {
        return Err(FieldError::new(
            place,
            "must not begin with .., such names are the mount's own",
        ));
    }
    Ok(AskedItem {
        key: key.clone(),
        path: path.clone(),
        mode: mode(format!("{field}.mode"), *asked)?.unwrap_or(default_mode),
    })
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

/// Names joined by `/`: none empty, `.`, `..`, too long or with control characters. `names` is
/// what of `path` is names; the root alone has none.
fn check_names(
    field: &str,
    path: &str,
    names: Option<&str>,
    example: &str,
) -> Result<(), FieldError> {
    let error = |message: String| Err(FieldError::new(field, message));
    let canonical = |names: &str| {
        names.split('/').all(|name| {
            !matches!(name, "" | "." | "..") && !name.chars().any(|c| c.is_ascii_control())
        })
    };
    if path != "/" && !names.is_some_and(canonical) {
        let kind = if example.starts_with('/') {
            "an absolute"
        } else {
            "a relative"
        };
        return error(format!(
            "must be {kind} path without ., .., // and control characters, not ending with /, such as {example}"
        ));
    }
    if path.len() > MAX_PATH {
        return error(format!(
            "has {} bytes, at most {MAX_PATH} are allowed",
            path.len()
        ));
    }
    match path
        .split('/')
        .map(str::len)
        .find(|length| *length > MAX_NAME)
    {
        Some(length) => error(format!(
            "holds a name of {length} bytes, at most {MAX_NAME} are allowed"
        )),
        None => Ok(()),
    }
}
