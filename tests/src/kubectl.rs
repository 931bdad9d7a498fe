//! kubectl as one user.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use serde_json::Value;

use crate::Result;
use crate::assets::Program;

/// kubectl with one user's kubeconfig.
#[derive(Clone, Debug)]
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
}

/// What one call of kubectl did.
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
            bail!("kubectl failed: {}", self.stderr.trim());
        }
        Ok(self.stdout)
    }

    /// What it complained about, or an error if it succeeded.
    pub fn refused(self) -> Result<String> {
        if self.ok {
            bail!(
                "kubectl should have been refused, but said: {}",
                self.stdout.trim()
            );
        }
        Ok(self.stderr)
    }
}

impl Kubectl {
    /// kubectl as the user of `kubeconfig`.
    pub fn new(kubeconfig: &Path) -> Result<Self> {
        Ok(Self {
            program: Program::Kubectl.locate()?,
            kubeconfig: kubeconfig.to_owned(),
        })
    }

    /// The kubeconfig that it uses.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Runs kubectl.
    pub fn run(&self, args: &[&str]) -> Result<Said> {
        self.run_with(args, "")
    }

    /// `kubectl apply` of one or more documents.
    pub fn apply(&self, yaml: &str) -> Result<Said> {
        self.run_with(&["apply", "-f", "-"], yaml)
    }

    /// Runs kubectl with `input` on its standard input.
    pub fn run_with(&self, args: &[&str], input: &str) -> Result<Said> {
        let mut child = Command::new(&self.program)
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .args(args)
            .env(
                "HOME",
                self.kubeconfig
                    .parent()
                    .context("a kubeconfig is in a folder")?,
            )
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("could not run kubectl")?;
        // Dropped at once, so that kubectl sees the end of its input.
        child
            .stdin
            .take()
            .context("kubectl has a standard input")?
            .write_all(input.as_bytes())?;
        let output = child.wait_with_output()?;
        Ok(Said {
            ok: output.status.success(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// A `kubectl patch` of the status subresource, merging `status`.
    pub fn patch_status(&self, namespace: &str, object: &str, status: &Value) -> Result<Said> {
        let patch = serde_json::json!({ "status": status }).to_string();
        let args = [
            "-n",
            namespace,
            "patch",
            object,
            "--subresource=status",
            "--type=merge",
            "-p",
            &patch,
        ];
        self.run(&args)
    }
}

/// Writes a kubeconfig whose user has what stands in `credentials` (a line of YAML flow).
pub fn write_kubeconfig(path: &Path, server: &str, ca: &Path, credentials: &str) -> Result<()> {
    let yaml = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: tests\n\
         clusters: [{{name: tests, cluster: {{server: \"{server}\", certificate-authority: {ca}}}}}]\n\
         users: [{{name: user, user: {{{credentials}}}}}]\n\
         contexts: [{{name: tests, context: {{cluster: tests, user: user}}}}]\n",
        ca = ca.display()
    );
    Ok(std::fs::write(path, yaml)?)
}
