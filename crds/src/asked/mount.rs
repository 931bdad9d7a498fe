//! What a VM mounts, decided: paths checked, sizes as numbers, defaults filled in.

mod files;
mod path;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use agentvm_policy::{LimitField, human};

use super::number;
use crate::agentvm::{AgentVM, EmptyDirMount, Mount};
use crate::field::FieldError;
use crate::quantity;

pub(crate) use path::MOST_NAMES;

/// Bytes that `emptyDir.sizeLimit` may ask for.
pub(crate) const SIZE_LIMIT: RangeInclusive<u64> = 4_096..=LimitField::Storage.max();

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
    path::absolute(&format!("{field}.path"), path)?;
    let source = match (&mount.empty_dir, &mount.config_map, &mount.secret) {
        (Some(empty), None, None) => empty_dir(&field, empty)?,
        (None, Some(map), None) => AskedSource::Files(files::config_map(&field, map)?),
        (None, None, Some(secret)) => AskedSource::Files(files::secret(&field, secret)?),
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
