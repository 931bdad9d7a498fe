//! From `spec.mounts` and the objects that it names to the mounts that a cell is given.

mod content;

use std::collections::{BTreeMap, BTreeSet};

use agentvm_cell_api::mounts::{FileContent, Files, Mount, MountSource, digest};
use agentvm_crds::conditions::ImageReason;
use agentvm_crds::{AskedFiles, AskedItem, AskedMount, AskedSource, ObjectKind};
use agentvm_policy::human;

pub use content::{Content, Object, Values};

use crate::problem::{Problem, StartReason};

/// The most that the mounted ConfigMaps and Secrets of one VM hold together: base64 makes it a
/// third longer, and a cell reads requests of up to 32 MiB.
pub const MAX_FILE_BYTES: usize = agentvm_policy::budget::MOUNTED_FILE_BYTES.usize();

/// What objects hold, as they were read.
pub type Contents = BTreeMap<Object, Content>;

/// The objects whose content is mounted.
pub fn objects(namespace: &str, asked: &[AskedMount]) -> BTreeSet<Object> {
    let named = asked.iter().filter_map(|mount| files_of(&mount.source));
    named.map(|files| object(namespace, files)).collect()
}

/// The object of a mount of files; `None` where the mount has none.
pub fn object_of(namespace: &str, asked: &AskedMount) -> Option<Object> {
    files_of(&asked.source).map(|files| object(namespace, files))
}

/// What the cell is given, in the order of the manifest.
pub fn mounts(
    namespace: &str,
    asked: &[AskedMount],
    contents: &Contents,
) -> Result<Vec<Mount>, Problem> {
    let mut total = 0_usize;
    let mut mounts = Vec::with_capacity(asked.len());
    for one in asked {
        let mount = mount(namespace, one, contents)?;
        total = total.saturating_add(bytes_of(&mount));
        if total > MAX_FILE_BYTES {
            return Err(too_much(one));
        }
        mounts.push(mount);
    }
    Ok(mounts)
}

/// The mount as the cell is given it, from what its object holds now.
pub fn mount(namespace: &str, asked: &AskedMount, contents: &Contents) -> Result<Mount, Problem> {
    let source = match &asked.source {
        AskedSource::EmptyDir { size_limit_bytes } => MountSource::EmptyDir {
            size_limit_bytes: *size_limit_bytes,
            archive: None,
        },
        AskedSource::Files(files) => {
            let object = object(namespace, files);
            let files = select(&asked.field(), &object, files, contents.get(&object))?;
            MountSource::Files {
                sha256: digest(&files),
                files: Some(files),
            }
        }
    };
    Ok(Mount {
        path: asked.path.clone(),
        read_only: asked.read_only,
        source,
    })
}

/// Whether a run has the mounts that are asked for, whatever their files hold.
pub fn are_as_asked(held: &[Mount], asked: &[AskedMount]) -> bool {
    let same = |(held, asked): (&Mount, &AskedMount)| {
        let source = match (&held.source, &asked.source) {
            (
                MountSource::EmptyDir {
                    size_limit_bytes: held,
                    archive: _,
                },
                AskedSource::EmptyDir { size_limit_bytes },
            ) => held == size_limit_bytes,
            (MountSource::Files { .. }, AskedSource::Files(_)) => true,
            (MountSource::EmptyDir { .. }, AskedSource::Files(_))
            | (MountSource::Files { .. }, AskedSource::EmptyDir { .. }) => false,
        };
        source && held.path == asked.path && held.read_only == asked.read_only
    };
    held.len() == asked.len() && held.iter().zip(asked).all(same)
}

fn files_of(source: &AskedSource) -> Option<&AskedFiles> {
    match source {
        AskedSource::Files(files) => Some(files),
        AskedSource::EmptyDir { .. } => None,
    }
}

fn object(namespace: &str, files: &AskedFiles) -> Object {
    Object {
        kind: files.kind,
        namespace: namespace.to_owned(),
        name: files.name.clone(),
    }
}

/// The files that a mount shows of an object, by kubelet's rules.
fn select(
    field: &str,
    object: &Object,
    asked: &AskedFiles,
    content: Option<&Content>,
) -> Result<Files, Problem> {
    match content {
        Some(Content::Found(values)) => pick(field, object, asked, values),
        Some(Content::Forbidden(command)) => Err(problem(
            ImageReason::SecretForbidden,
            format!(
                "{field}: the node agent may not read {object}, since the namespace has not allowed it: run `{command}`"
            ),
        )),
        Some(Content::Missing) | None if asked.optional => Ok(Files::new()),
        Some(Content::Missing) | None => Err(missing(field, object)),
    }
}

fn pick(
    field: &str,
    object: &Object,
    asked: &AskedFiles,
    values: &Values,
) -> Result<Files, Problem> {
    let file = |data: &std::sync::Arc<[u8]>, mode: u32| FileContent {
        mode: u16::try_from(mode).unwrap_or(0o400),
        data: data.clone(),
    };
    if asked.items.is_empty() {
        let all = values.iter();
        return Ok(all
            .map(|(key, data)| (key.clone(), file(data, asked.default_mode)))
            .collect());
    }
    let mut files = Files::new();
    for (index, AskedItem { key, path, mode }) in asked.items.iter().enumerate() {
        match values.get(key) {
            Some(data) => {
                files.insert(path.clone(), file(data, *mode));
            }
            None if asked.optional => {}
            None => {
                let keys: Vec<&String> = values.keys().take(10).collect();
                return Err(problem(
                    ImageReason::KeyNotFound,
                    format!("{field}.items[{index}]: {object} has no key {key}, it has {keys:?}"),
                ));
            }
        }
    }
    Ok(files)
}

fn missing(field: &str, object: &Object) -> Problem {
    let (reason, name) = match object.kind {
        ObjectKind::ConfigMap => (ImageReason::ConfigMapNotFound, "name"),
        ObjectKind::Secret => (ImageReason::SecretNotFound, "secretName"),
    };
    let Object {
        kind,
        namespace,
        name: object,
    } = object;
    let kind = kind.as_str();
    problem(
        reason,
        format!(
            "{field}.{name}: there is no {kind} {object} in namespace {namespace}; create it, or set optional"
        ),
    )
}

fn too_much(mount: &AskedMount) -> Problem {
    problem(
        ImageReason::StorageLimit,
        format!(
            "{}: the ConfigMaps and Secrets that are mounted up to here hold more than {} together, the most that one VM can be given",
            mount.field(),
            human::bytes(u64::try_from(MAX_FILE_BYTES).unwrap_or(u64::MAX)),
        ),
    )
}

fn bytes_of(mount: &Mount) -> usize {
    match &mount.source {
        MountSource::EmptyDir { .. } | MountSource::Files { files: None, .. } => 0,
        MountSource::Files {
            files: Some(files), ..
        } => files.values().map(|file| file.data.len()).sum(),
    }
}

fn problem(reason: ImageReason, message: String) -> Problem {
    Problem::new(StartReason::Image(reason), message)
}

#[cfg(test)]
mod tests;
