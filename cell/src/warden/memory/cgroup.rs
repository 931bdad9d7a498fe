//! The memory of this process's control group, version 1 or 2.

use std::io;
use std::path::{Path, PathBuf};

/// The first limit of version 1 that means "none": it counts in pages below 2^63 bytes.
const NO_LIMIT_V1: u64 = 1 << 60;

/// What the group uses, and may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    /// Bytes that can't be taken back: without file pages that are not in use.
    pub(super) used: u64,
    /// Bytes.
    pub(super) limit: u64,
}

impl Reading {
    /// Whether `percent` of the limit are used.
    pub(super) fn is_at(self, percent: u64) -> bool {
        u128::from(self.used) * 100 >= u128::from(self.limit) * u128::from(percent)
    }
}

/// The files to read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Source {
    directory: PathBuf,
    version: Version,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

impl Version {
    fn limit_file(self) -> &'static str {
        match self {
            Self::One => "memory.limit_in_bytes",
            Self::Two => "memory.max",
        }
    }

    fn used_file(self) -> &'static str {
        match self {
            Self::One => "memory.usage_in_bytes",
            Self::Two => "memory.current",
        }
    }

    /// The line of `memory.stat` with the file pages that are not in use.
    fn idle_line(self) -> &'static str {
        match self {
            Self::One => "total_inactive_file",
            Self::Two => "inactive_file",
        }
    }
}

impl Source {
    /// The nearest group from `/proc/self/cgroup` up to the root that has a limit; `None`
    /// where there is none.
    ///
    /// A container may see its group by the host's path and have only its own mounted: then the
    /// path leads nowhere, and the root is the container's.
    pub(super) fn find(proc_self_cgroup: &str, root: &Path) -> Option<Self> {
        let (version, hierarchy, own) = proc_self_cgroup
            .lines()
            .find_map(|line| parse(line, root))?;
        let own = own.trim_start_matches('/');
        let candidates = Path::new(own).ancestors().map(|part| hierarchy.join(part));
        candidates
            .map(|directory| Self { directory, version })
            .find(|source| source.limit().is_some())
    }

    /// Reads the files.
    pub(super) fn read(&self) -> io::Result<Reading> {
        let missing = || io::Error::new(io::ErrorKind::InvalidData, "no number in a cgroup file");
        let limit = self.limit().ok_or_else(missing)?;
        let used = std::fs::read_to_string(self.directory.join(self.version.used_file()))?;
        let used: u64 = used.trim().parse().map_err(io::Error::other)?;
        let stat = std::fs::read_to_string(self.directory.join("memory.stat"))?;
        let idle = stat.lines().find_map(|line| {
            line.strip_prefix(self.version.idle_line())?
                .trim_start()
                .parse::<u64>()
                .ok()
        });
        Ok(Reading {
            used: used.saturating_sub(idle.unwrap_or(0)),
            limit,
        })
    }

    fn limit(&self) -> Option<u64> {
        let limit = std::fs::read_to_string(self.directory.join(self.version.limit_file())).ok()?;
        // Version 2 says "max" where there is none.
        let limit: u64 = limit.trim().parse().ok()?;
        (limit < NO_LIMIT_V1).then_some(limit)
    }
}

/// The memory group in one line of `/proc/self/cgroup`: `ID:CONTROLLERS:PATH`.
fn parse<'a>(line: &'a str, root: &Path) -> Option<(Version, PathBuf, &'a str)> {
    let mut parts = line.splitn(3, ':');
    let (_id, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
    if controllers
        .split(',')
        .any(|controller| controller == "memory")
    {
        return Some((Version::One, root.join("memory"), path));
    }
    // Beside version 1, version 2 has a line too, without controllers worth reading.
    let is_version_2 = controllers.is_empty() && root.join("cgroup.controllers").exists();
    is_version_2.then(|| (Version::Two, root.to_owned(), path))
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    /// A tree of files as a kernel shows it.
    fn tree(files: &[(&str, &str)]) -> TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        root
    }

    const STAT_V2: &str = "anon 209715200\nfile 94371840\nkernel_stack 1441792\nshmem 4096\n\
        inactive_anon 209711104\nactive_anon 4096\ninactive_file 52428800\nactive_file 41943040\n";

    #[test]
    fn a_container_on_version_2_reads_its_own_root() {
        let root = tree(&[
            (
                "cgroup.controllers",
                "cpuset cpu io memory hugetlb pids rdma misc\n",
            ),
            ("memory.max", "536870912\n"),
            ("memory.current", "304087040\n"),
            ("memory.stat", STAT_V2),
        ]);
        let source = Source::find("0::/\n", root.path()).unwrap();
        let reading = source.read().unwrap();
        assert_eq!(
            reading,
            Reading {
                used: 304_087_040 - 52_428_800,
                limit: 536_870_912
            }
        );
    }

    #[test]
    fn a_process_on_version_2_finds_the_nearest_limit_above_it() {
        let pod = "kubepods.slice/kubepods-pod1.slice";
        let root = tree(&[
            ("cgroup.controllers", "memory pids\n"),
            (&format!("{pod}/memory.max"), "1073741824\n"),
            (&format!("{pod}/memory.current"), "100\n"),
            (&format!("{pod}/memory.stat"), STAT_V2),
            (&format!("{pod}/cri-a.scope/memory.max"), "max\n"),
        ]);
        let own = format!("0::/{pod}/cri-a.scope\n");
        let reading = Source::find(&own, root.path()).unwrap().read().unwrap();
        assert_eq!(
            reading,
            Reading {
                used: 0,
                limit: 1_073_741_824
            }
        );
    }

    #[test]
    fn a_container_on_version_1_reads_the_memory_hierarchy() {
        let own = "12:pids:/kubepods/pod1/a\n4:memory:/kubepods/pod1/a\n0::/kubepods/pod1/a\n";
        // The container's own group is mounted as the hierarchy's root.
        let root = tree(&[
            ("memory/memory.limit_in_bytes", "268435456\n"),
            ("memory/memory.usage_in_bytes", "200000000\n"),
            (
                "memory/memory.stat",
                "cache 9\ninactive_file 1\ntotal_inactive_file 50000000\n",
            ),
        ]);
        let reading = Source::find(own, root.path()).unwrap().read().unwrap();
        assert_eq!(
            reading,
            Reading {
                used: 150_000_000,
                limit: 268_435_456
            }
        );
    }

    #[test]
    fn without_a_limit_there_is_nothing_to_watch() {
        let version_2 = tree(&[("cgroup.controllers", "memory\n"), ("memory.max", "max\n")]);
        assert_eq!(Source::find("0::/\n", version_2.path()), None);
        let version_1 = tree(&[("memory/memory.limit_in_bytes", "9223372036854771712\n")]);
        assert_eq!(Source::find("4:memory:/\n", version_1.path()), None);
        let hybrid = tree(&[("unified/cgroup.procs", "")]);
        assert_eq!(Source::find("0::/\n", hybrid.path()), None);
        assert_eq!(Source::find("", version_2.path()), None);
    }
}
