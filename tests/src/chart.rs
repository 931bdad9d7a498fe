//! The chart, as the real Helm renders it.

use std::path::PathBuf;
use std::process::Command;

use serde::Deserialize as _;
use serde_json::Value;

use crate::program::output_of;
use crate::{Result, helm, workspace};

/// Name of the release in tests.
pub const RELEASE: &str = "agentvm";

/// The chart's folder.
pub fn folder() -> PathBuf {
    workspace::root().join("charts/agentvm")
}

/// What one call of Helm did.
#[derive(Clone, Debug)]
pub struct Said {
    /// Whether it exited with 0.
    pub ok: bool,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Said {
    /// Its standard output, or an error with what it complained about.
    pub fn done(self) -> Result<String> {
        if !self.ok {
            anyhow::bail!("helm failed: {}", self.stderr.trim());
        }
        Ok(self.stdout)
    }

    /// What it complained about, or an error if it succeeded.
    pub fn refused(self) -> Result<String> {
        if self.ok {
            anyhow::bail!("helm should have refused");
        }
        Ok(self.stderr)
    }
}

/// Runs Helm; `env` names the cluster, if one is meant.
pub fn run(args: &[&str], env: &[(&str, &str)]) -> Result<Said> {
    let mut command = Command::new(helm::program()?);
    command
        .args(args)
        .env_remove("KUBECONFIG")
        .envs(env.iter().copied());
    let output = output_of(&mut command)?;
    Ok(Said {
        ok: output.status.success(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// `helm template` without a cluster, of Kubernetes 1.35 unless `args` say otherwise.
pub fn template(namespace: &str, args: &[&str]) -> Result<Said> {
    let folder = folder().display().to_string();
    let mut all = vec!["template", RELEASE, &folder, "--namespace", namespace];
    if !args.contains(&"--kube-version") {
        all.extend(["--kube-version", "1.35.0"]);
    }
    all.extend(args);
    run(&all, &[])
}

/// The objects that `helm template` yields.
pub fn objects(namespace: &str, args: &[&str]) -> Result<Vec<Value>> {
    parse(&template(namespace, args)?.done()?)
}

/// Every document of a stream of YAML, without the empty ones.
pub fn parse(yaml: &str) -> Result<Vec<Value>> {
    let documents = serde_yaml::Deserializer::from_str(yaml)
        .map(Value::deserialize)
        .filter(|document| !matches!(document, Ok(Value::Null)));
    Ok(documents.collect::<Result<_, _>>()?)
}

/// The object of that kind and name.
pub fn find<'a>(objects: &'a [Value], kind: &str, name: &str) -> Result<&'a Value> {
    let found = objects.iter().find(|object| {
        object.get("kind").is_some_and(|found| found == kind)
            && object
                .pointer("/metadata/name")
                .is_some_and(|found| found == name)
    });
    found.ok_or_else(|| anyhow::anyhow!("the chart has no {kind} {name}"))
}
