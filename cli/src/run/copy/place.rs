//! Where in a VM something is copied to or from: a writable `emptyDir`, and nothing else.

use agentvm_cell::archive::check_path;
use agentvm_crds::{AskedMount, AskedSource};

/// A place in a mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The mount's path.
    pub(super) mount: String,
    /// The path below it; empty for the mount itself.
    pub(super) below: String,
}

/// Where `path` is, or one sentence on why nothing can be copied there.
pub(super) fn place_in(mounts: &[AskedMount], path: &str) -> Result<Place, String> {
    if path != "/" {
        check_path(path.trim_start_matches('/').as_bytes()).map_err(|error| error.to_string())?;
    }
    if path.starts_with("//") {
        return Err(format!("the path {path:?} must begin with one slash"));
    }
    let holding = mounts
        .iter()
        .filter_map(|mount| Some((mount, below(&mount.path, path)?)))
        .max_by_key(|(mount, _)| mount.path.len());
    let Some((mount, below)) = holding else {
        let paths: Vec<&str> = mounts.iter().map(|mount| mount.path.as_str()).collect();
        return Err(format!(
            "{path} is in no mount of the VM, which has {paths:?}: add {{path: {path}, emptyDir: {{}}}} to spec.mounts"
        ));
    };
    let AskedMount {
        index,
        path: at,
        read_only,
        source,
    } = mount;
    match source {
        AskedSource::EmptyDir { .. } if !read_only => Ok(Place {
            mount: at.clone(),
            below: below.to_owned(),
        }),
        AskedSource::EmptyDir { .. } => Err(format!(
            "{path} is in spec.mounts[{index}], {at}, which is readOnly: a writable emptyDir is needed"
        )),
        AskedSource::Files(files) => Err(format!(
            "{path} is in spec.mounts[{index}], {at}, which is a {}: a writable emptyDir is needed",
            files.kind.as_str()
        )),
    }
}

/// The part of `path` below a mount; `None` where it is elsewhere.
fn below<'a>(mount: &str, path: &'a str) -> Option<&'a str> {
    let rest = path.strip_prefix(mount.trim_end_matches('/'))?;
    if rest.is_empty() {
        return Some(rest);
    }
    rest.strip_prefix('/')
}

#[cfg(test)]
mod tests {
    use agentvm_crds::AgentVM;
    use serde_json::json;

    use super::*;

    fn mounts() -> Vec<AskedMount> {
        let vm: AgentVM = serde_json::from_value(json!({
            "apiVersion": "agentvm.dev/v1alpha1", "kind": "AgentVM", "metadata": {"name": "heron"},
            "spec": {"image": "registry.example/heron", "mounts": [
                {"path": "/work", "emptyDir": {}},
                {"path": "/work/config", "configMap": {"name": "settings"}},
                {"path": "/work/config/cache", "emptyDir": {"sizeLimit": "1Mi"}},
                {"path": "/still", "readOnly": true, "emptyDir": {}},
            ]},
        }))
        .unwrap();
        vm.mounts().unwrap()
    }

    #[test]
    fn the_longest_mount_holds_a_path() {
        for (path, mount, below) in [
            ("/work", "/work", ""),
            ("/work/a/b", "/work", "a/b"),
            ("/work/config/cache/x", "/work/config/cache", "x"),
            ("/work/configuration", "/work", "configuration"),
        ] {
            let place = place_in(&mounts(), path).unwrap();
            assert_eq!((place.mount.as_str(), place.below.as_str()), (mount, below));
        }
    }

    #[test]
    fn only_a_writable_empty_directory_can_be_copied_into() {
        for (path, says) in [
            ("/work/config", "ConfigMap"),
            ("/work/config/x", "spec.mounts[1]"),
            ("/still/x", "readOnly"),
            ("/", "in no mount"),
            ("/workshop", "in no mount"),
            ("/work/../etc", ".."),
            ("/work//x", "//"),
            ("//work", "slash"),
        ] {
            let refused = place_in(&mounts(), path).unwrap_err();
            assert!(refused.contains(says), "{path}: {refused}");
        }
        let [root] = serde_json::from_value::<AgentVM>(json!({
            "apiVersion": "agentvm.dev/v1alpha1", "kind": "AgentVM", "metadata": {"name": "heron"},
            "spec": {"image": "r/h", "mounts": [{"path": "/", "emptyDir": {}}]},
        }))
        .unwrap()
        .mounts()
        .unwrap()
        .try_into()
        .unwrap();
        let place = place_in(&[root], "/a").unwrap();
        assert_eq!((place.mount.as_str(), place.below.as_str()), ("/", "a"));
    }
}
