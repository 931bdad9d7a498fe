//! A node that stays until it is told to go: for a person, not for a test.
//!
//! One process holds it. A file in the cache says where that is.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use super::RealNode;
use crate::assets::Program;
use crate::process::{is_alive, signal};
use crate::wait::{self, Look};
use crate::{Result, cache, helm, image, scratch};

/// The image's name on the node: what the chart asks for by default.
pub const IMAGE: &str = concat!("localhost/agentvm:", env!("CARGO_PKG_VERSION"));

/// How long a node may take to start, its image included.
const START_WITHIN: Duration = Duration::from_mins(5);

/// Where a standing node is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Standing {
    /// The process that holds it.
    holder: u32,
    kubeconfig: PathBuf,
    network: PathBuf,
    dir: PathBuf,
}

impl Standing {
    /// The node that stands now, if one does.
    pub fn find() -> Result<Option<Self>> {
        let Ok(text) = fs::read(record()?) else {
            return Ok(None);
        };
        let found: Self = serde_json::from_slice(&text)?;
        Ok(is_alive(found.holder).then_some(found))
    }

    /// Starts one with an image, and waits until it stands. `programs` is an archive, or a folder
    /// with the programs for one.
    pub fn up(programs: &Path) -> Result<Self> {
        if let Some(standing) = Self::find()? {
            return Ok(standing);
        }
        let log = cache::dir()?.join("cluster.log");
        let mut holder = Command::new(std::env::current_exe()?)
            .arg("hold")
            .arg(programs)
            .stdin(Stdio::null())
            .stdout(fs::File::create(&log)?)
            .stderr(fs::File::options().append(true).open(&log)?)
            .process_group(0)
            .spawn()?;
        wait::until_within(START_WITHIN, "the node to stand", || {
            if let Some(ended) = holder.try_wait()? {
                bail!("it ended ({ended}): {}", fs::read_to_string(&log)?);
            }
            let standing = Self::find()?.filter(|standing| standing.holder == holder.id());
            Ok(standing.map_or(Look::NotYet("it starts".to_owned()), Look::Yes))
        })
    }

    /// Holds a node until this process is told to end.
    pub fn hold(programs: &Path) -> Result<()> {
        let node = RealNode::start(&scratch::dir("node")?)?;
        node.containerd.import(&archive_of(programs, node.dir())?)?;
        let standing = Self {
            holder: std::process::id(),
            kubeconfig: node.plane.kubectl.kubeconfig().to_owned(),
            network: node.sandbox.network(),
            dir: node.dir().to_owned(),
        };
        fs::write(record()?, serde_json::to_vec(&standing)?)?;
        wait_for_the_end()?;
        fs::remove_file(record()?)?;
        drop(node);
        Ok(())
    }

    /// Ends it, and waits until it is gone.
    pub fn down(&self) -> Result<()> {
        signal(self.holder, Signal::TERM)?;
        wait::until("the node to be gone", || {
            Ok(wait::yes_if(!is_alive(self.holder), || {
                format!("process {}", self.holder)
            }))
        })
    }

    /// `words`, to be run in the node's network with kubectl, helm and the cluster at hand.
    pub fn command(&self, words: &[String]) -> Result<Command> {
        let (program, args) = words.split_first().context("what is to be run?")?;
        let tools = [Program::Kubectl.locate()?, helm::program()?];
        let folders = tools
            .iter()
            .filter_map(|tool| tool.parent())
            .map(Path::to_owned);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths(folders.chain(std::env::split_paths(&path)))?;
        ensure!(is_alive(self.holder), "the node has gone");
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net={}", self.network.display()))
            .args(["--", program])
            .args(args)
            .env("KUBECONFIG", &self.kubeconfig)
            .env("PATH", path);
        Ok(command)
    }

    /// Where its logs are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

fn archive_of(programs: &Path, dir: &Path) -> Result<PathBuf> {
    if programs.is_file() {
        return Ok(programs.to_owned());
    }
    let archive = dir.join("image.tar");
    image::image(IMAGE, programs)?.write(&archive)?;
    Ok(archive)
}

fn record() -> Result<PathBuf> {
    Ok(cache::dir()?.join("cluster.json"))
}

fn wait_for_the_end() -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        Ok(())
    })
}
