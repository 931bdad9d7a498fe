//! A certificate authority for one control plane, by the `openssl` command.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;
use crate::program::stdout_of;

/// The authority's folder: `ca.crt`, `sa.key`, and `NAME.crt` with `NAME.key` for each certificate.
#[derive(Clone, Debug)]
pub struct Pki {
    dir: PathBuf,
}

impl Pki {
    /// Makes the authority and the key that signs tokens.
    pub fn create(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir)?;
        let pki = Self {
            dir: dir.to_owned(),
        };
        let mut ca = pki.new_certificate("ca", "/CN=agentvm-tests");
        stdout_of(ca.args(["-addext", "keyUsage=critical,keyCertSign,cRLSign"]))?;
        stdout_of(
            Command::new("openssl")
                .args(["genpkey", "-algorithm", "RSA", "-out"])
                .arg(pki.key("sa")),
        )?;
        Ok(pki)
    }

    /// Makes the server certificate `name` for loopback and `address`.
    pub fn server(&self, name: &str, address: IpAddr) -> Result<()> {
        let names = format!(
            "subjectAltName=DNS:localhost,DNS:kubernetes.default.svc,IP:127.0.0.1,IP:10.96.0.1,IP:{address}"
        );
        self.sign(
            name,
            "/CN=kube-apiserver",
            &[&names, "extendedKeyUsage=serverAuth"],
        )
    }

    /// Makes the client certificate `name` for a user and his group.
    pub fn client(&self, name: &str, user: &str, group: &str) -> Result<()> {
        self.sign(
            name,
            &format!("/O={group}/CN={user}"),
            &["extendedKeyUsage=clientAuth"],
        )
    }

    /// Path of a certificate.
    pub fn certificate(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.crt"))
    }

    /// Path of a private key.
    pub fn key(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.key"))
    }

    fn sign(&self, name: &str, subject: &str, extensions: &[&str]) -> Result<()> {
        let mut command = self.new_certificate(name, subject);
        command
            .arg("-CA")
            .arg(self.certificate("ca"))
            .arg("-CAkey")
            .arg(self.key("ca"));
        for extension in extensions
            .iter()
            .chain(&["basicConstraints=critical,CA:FALSE"])
        {
            command.args(["-addext", extension]);
        }
        stdout_of(&mut command).map(|_| ())
    }

    fn new_certificate(&self, name: &str, subject: &str) -> Command {
        let mut command = Command::new("openssl");
        command
            .args(["req", "-x509", "-nodes", "-days", "2", "-newkey", "ec"])
            .args(["-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", subject])
            .arg("-keyout")
            .arg(self.key(name))
            .arg("-out")
            .arg(self.certificate(name));
        command
    }
}
