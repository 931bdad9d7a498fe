//! One replica of the operator as a real process.

use std::net::SocketAddr;
use std::path::Path;

use crate::built::binary;
use crate::control_plane::ControlPlane;
use crate::process::Process;
use crate::wait;
use crate::{Result, http, identity};

/// A running operator; it ends when this is dropped, or with the test binary.
#[derive(Debug)]
pub struct Operator {
    /// Its process.
    pub process: Process,
    listen: SocketAddr,
}

impl Operator {
    /// Starts one with an identity of its own, and waits until it is healthy.
    pub fn start(plane: &ControlPlane, dir: &Path, name: &str) -> Result<Self> {
        let kubeconfig = identity::operator(plane, name)?;
        let listen = http::loopback(http::free_port()?);
        let process = Process::start(name, dir, binary("agentvm-operator")?, |command| {
            command.env_clear().env("KUBECONFIG", kubeconfig).args([
                "--identity",
                name,
                "--listen",
                &listen.to_string(),
            ])
        })?;
        let operator = Self { process, listen };
        wait::until(&format!("{name} to be healthy"), || {
            operator.process.must_run()?;
            let answer = http::get(listen, "/healthz").map(|answer| answer.status);
            Ok(wait::yes_if(matches!(answer, Ok(200)), || {
                format!("/healthz: {answer:?}")
            }))
        })?;
        Ok(operator)
    }

    /// The metrics' exposition.
    pub fn metrics(&self) -> Result<String> {
        Ok(http::get(self.listen, "/metrics")?.body)
    }
}
