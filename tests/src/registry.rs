//! A real OCI registry: Debian's docker-registry.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use crate::process::Process;
use crate::wait::{self, Look};
use crate::{Result, http};

/// A running registry without authentication.
#[derive(Debug)]
pub struct Registry {
    /// Where it listens: the first part of an image's reference.
    pub address: SocketAddr,
    process: Process,
}

impl Registry {
    /// Starts one on loopback with its files in `dir`, and waits until it answers.
    pub fn start(dir: &Path) -> Result<Self> {
        Self::start_at(http::loopback(http::free_port()?), dir)
    }

    /// Starts one with its files in `dir`, and waits until it answers.
    pub fn start_at(address: SocketAddr, dir: &Path) -> Result<Self> {
        let config = dir.join("registry.yml");
        let storage = dir.join("registry");
        fs::write(
            &config,
            format!(
                "version: 0.1\nlog: {{level: warn}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: \"{address}\"}}\n",
                storage.display()
            ),
        )?;
        let process = Process::start("docker-registry", dir, "docker-registry", |c| {
            c.arg("serve").arg(&config)
        })?;
        let registry = Self { address, process };
        wait::until("the registry to answer", || {
            registry.process.must_run()?;
            Ok(match http::get(address, "/v2/") {
                Ok(answer) if answer.status == 200 => Look::Yes(()),
                Ok(answer) => Look::NotYet(format!("HTTP {}", answer.status)),
                Err(error) => Look::NotYet(format!("{error:#}")),
            })
        })?;
        Ok(registry)
    }
}
