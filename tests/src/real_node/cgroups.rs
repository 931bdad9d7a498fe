//! A subtree of the machine's cgroups for one node's Pods; removed when the node goes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;

use crate::Result;
use crate::wait::{self, Look};

const MOUNT: &str = "/sys/fs/cgroup";

/// The subtree, in every hierarchy.
#[derive(Debug)]
pub struct Cgroups {
    name: String,
    folders: Vec<PathBuf>,
}

impl Cgroups {
    /// Makes the subtree in the one hierarchy of cgroup v2, or in each of v1.
    pub fn create() -> Result<Self> {
        let name = format!("agentvm-tests-{}", std::process::id());
        let mut folders = Vec::new();
        for hierarchy in hierarchies()? {
            let folder = hierarchy.join(&name);
            fs::create_dir_all(&folder)
                .with_context(|| format!("making the cgroup {}", folder.display()))?;
            inherit_cpus(&hierarchy, &folder)?;
            folders.push(folder);
        }
        Ok(Self { name, folders })
    }

    /// Its path from the root of each hierarchy.
    pub fn path(&self) -> String {
        format!("/{}", self.name)
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        // The kernel takes a moment to bury the last processes. What stays is empty.
        let _ = wait::until_within(Duration::from_secs(5), "cgroups to be empty", || {
            let left = self.folders.iter().find_map(|folder| remove(folder).err());
            Ok(left.map_or(Look::Yes(()), |error| Look::NotYet(error.to_string())))
        });
    }
}

fn hierarchies() -> Result<Vec<PathBuf>> {
    let mount = Path::new(MOUNT);
    if mount.join("cgroup.controllers").is_file() {
        return Ok(vec![mount.to_owned()]);
    }
    let mut all = Vec::new();
    for entry in fs::read_dir(mount)? {
        let path = entry?.path();
        // Names such as `cpu` are links to `cpu,cpuacct`.
        if path.is_dir() && !path.is_symlink() {
            all.push(path);
        }
    }
    Ok(all)
}

/// A cpuset of cgroup v1 is born without CPUs, and takes no process until it has some.
fn inherit_cpus(hierarchy: &Path, folder: &Path) -> Result<()> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let from = hierarchy.join(file);
        if from.is_file() {
            fs::write(folder.join(file), fs::read_to_string(from)?)?;
        }
    }
    Ok(())
}

/// Removes an empty tree, leaves first.
fn remove(folder: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove(&entry.path())?;
        }
    }
    fs::remove_dir(folder)
}
