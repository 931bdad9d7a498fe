//! What the kernel counts for a Pod: memory and processor time of its control group.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::resident::resident_mib;

/// Where control groups are mounted, version 1 or 2.
const MOUNT: &str = "/sys/fs/cgroup";

/// The control group of a whole Pod.
#[derive(Debug)]
pub(crate) struct Group {
    memory: PathBuf,
    cpu: PathBuf,
    is_v2: bool,
}

impl Group {
    /// The group of the Pod that a container's process is in.
    pub(crate) fn of_pod(pid: u32) -> Result<Self> {
        let lines = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
        let is_v2 = Path::new(MOUNT).join("cgroup.controllers").is_file();
        if is_v2 {
            let path = pod(path_of(&lines, "").context("a process has a group")?)?;
            let folder = Path::new(MOUNT).join(path);
            return Ok(Self {
                memory: folder.clone(),
                cpu: folder,
                is_v2,
            });
        }
        let of = |controller: &str| -> Result<PathBuf> {
            let path = path_of(&lines, controller).with_context(|| format!("no {controller}"))?;
            Ok(Path::new(MOUNT).join(controller).join(pod(path)?))
        };
        Ok(Self {
            memory: of("memory")?,
            cpu: of("cpuacct")?,
            is_v2,
        })
    }

    /// MiB that can't be taken back, as the kubelet counts them: without idle file pages.
    pub(crate) fn memory_mib(&self) -> Result<f64> {
        let (used, idle) = if self.is_v2 {
            ("memory.current", "inactive_file ")
        } else {
            ("memory.usage_in_bytes", "total_inactive_file ")
        };
        let stat = fs::read_to_string(self.memory.join("memory.stat"))?;
        let idle = stat.lines().find_map(|line| line.strip_prefix(idle));
        let used = number(&fs::read_to_string(self.memory.join(used))?)?;
        let bytes = used - number(idle.unwrap_or("0"))?;
        Ok(bytes / 1024.0 / 1024.0)
    }

    /// Resident MiB of all its processes together, pages of the program itself included.
    pub(crate) fn resident_mib(&self) -> Result<f64> {
        let mut sum = 0.0;
        for entry in fs::read_dir(&self.memory)? {
            // One folder for each container.
            let processes = entry?.path().join("cgroup.procs");
            let processes = fs::read_to_string(processes).unwrap_or_default();
            for pid in processes.lines() {
                sum += resident_mib(pid.parse()?)?;
            }
        }
        Ok(sum)
    }

    /// Processor time since it was made.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let seconds = if self.is_v2 {
            let stat = fs::read_to_string(self.cpu.join("cpu.stat"))?;
            let line = stat
                .lines()
                .find_map(|line| line.strip_prefix("usage_usec "));
            number(line.context("a group has usage_usec")?)? / 1e6
        } else {
            number(&fs::read_to_string(self.cpu.join("cpuacct.usage"))?)? / 1e9
        };
        Ok(Duration::from_secs_f64(seconds))
    }
}

/// The path of a process in the hierarchy of `controller`; version 2 has one without a name.
fn path_of<'a>(lines: &'a str, controller: &str) -> Option<&'a str> {
    lines.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        controllers
            .split(',')
            .any(|found| found == controller)
            .then_some(path)
    })
}

/// A container's group is inside its Pod's.
fn pod(container: &str) -> Result<&Path> {
    let pod = Path::new(container.trim_start_matches('/')).parent();
    pod.context("a container's group has one around it")
}

fn number(text: &str) -> Result<f64> {
    text.trim().parse().with_context(|| format!("{text:?}"))
}
