//! Namespaces of a node's own: network, mounts and processes.
//!
//! Their first process sleeps. When it ends, the kernel kills every process inside, and with the
//! last of them mounts and network go: nothing can be left behind, even where a test is killed.

use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::Result;
use crate::process::{self, Process};
use crate::wait::{self, Look};

/// Namespaces that hold as long as this lives.
#[derive(Debug)]
pub struct Sandbox {
    first: u32,
    _holder: Process,
}

impl Sandbox {
    /// Makes the namespaces. The network is empty, mounts are as outside.
    pub fn start(dir: &Path) -> Result<Self> {
        let holder = Process::start("sandbox", dir, "unshare", |command| {
            command
                .args(["--net", "--mount", "--pid", "--fork", "--kill-child"])
                // The shell, as the first process, takes in the ends of orphans.
                .args(["--mount-proc", "--", "sh", "-c", "sleep infinity & wait"])
        })?;
        let first = wait::until("the first process of the sandbox", || {
            holder.must_run()?;
            let inside = process::descendants(holder.pid())?;
            let sleeps = inside
                .iter()
                .any(|pid| name_of(*pid).is_some_and(|name| name == "sleep"));
            Ok(match inside.first() {
                Some(first) if sleeps => Look::Yes(*first),
                Some(_) | None => Look::NotYet(format!("processes {inside:?}")),
            })
        })?;
        Ok(Self {
            first,
            _holder: holder,
        })
    }

    /// Moves this thread into the network, with every thread and process that is started from
    /// now on.
    pub fn enter_network(&self) -> Result<()> {
        let network = File::open(self.network())?;
        enter(&network)?;
        process::on_starting_thread(move || enter(&network))?
    }

    /// The file that stands for the network.
    pub fn network(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/ns/net", self.first))
    }

    /// The processes inside whose words `wanted` accepts, by their ids outside.
    pub fn processes(&self, wanted: impl Fn(&[&str]) -> bool) -> Result<Vec<u32>> {
        let mut found = process::descendants(i32::try_from(self.first)?)?;
        found.retain(|pid| {
            let words = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            wanted(&words.split_terminator('\0').collect::<Vec<_>>())
        });
        Ok(found)
    }

    /// `program`, to be run inside.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command.args(self.entrance()).arg(program);
        command
    }

    /// Starts `program` inside.
    pub fn start_process(
        &self,
        name: &str,
        log_dir: &Path,
        program: &Path,
        describe: impl FnOnce(&mut Command) -> &mut Command,
    ) -> Result<Process> {
        Process::start(name, log_dir, "nsenter", |command| {
            command.args(self.entrance()).arg(program);
            describe(command)
        })
    }

    fn entrance(&self) -> [String; 6] {
        let target = self.first.to_string();
        ["--target", &target, "--net", "--mount", "--pid", "--"].map(str::to_owned)
    }
}

fn enter(network: &File) -> Result<()> {
    move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))
        .context("entering the network of the sandbox")
}

fn name_of(pid: u32) -> Option<String> {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(name.trim().to_owned())
}
