//! Container images without a container daemon: an OCI archive, written by hand.
//!
//! The same files give the same bytes: names are sorted, times and owners are zero.

mod programs;
mod tar;

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

pub use self::programs::{PROGRAMS, image};

use crate::{Result, program};

/// The user and group of every process of our images.
const USER: &str = "65532:65532";

/// An image of one layer.
#[derive(Debug)]
pub struct Image {
    /// The name under which it is loaded.
    pub reference: String,
    /// Everything in it.
    pub files: Vec<File>,
    /// What it runs.
    pub entrypoint: &'static str,
}

/// A file of an image.
#[derive(Debug)]
pub struct File {
    /// Its path, without a leading slash.
    pub path: String,
    /// Its permissions.
    pub mode: u32,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The manifest's digest, with `sha256:`.
    pub digest: String,
    /// Bytes of the compressed layer.
    pub layer_bytes: usize,
    /// Bytes of the layer as it lies on a node.
    pub unpacked_bytes: usize,
}

impl Image {
    /// Writes the image as an OCI archive, as `ctr images import`, `skopeo copy oci-archive:` and
    /// `docker load` read it.
    pub fn write(mut self, output: &Path) -> Result<Written> {
        self.files.sort_by(|one, other| one.path.cmp(&other.path));
        let layer = tar::archive(&self.files)?;
        let diff = digest(&layer);
        let unpacked_bytes = layer.len();
        let layer = gzip(&layer)?;
        let layer_bytes = layer.len();
        let config = serde_json::to_vec(&self.config(&diff))?;
        let manifest = serde_json::to_vec(&json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
            "layers": [descriptor("application/vnd.oci.image.layer.v1.tar+gzip", &layer)],
        }))?;
        let mut entry = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
        if let Some(entry) = entry.as_object_mut() {
            entry.insert("annotations".to_owned(), self.names());
            entry.insert("platform".to_owned(), platform());
        }
        let index = serde_json::to_vec(&json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [entry],
        }))?;
        let mut parts = vec![
            part("index.json", index),
            part("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()),
        ];
        let written = Written {
            digest: format!("sha256:{}", digest(&manifest)),
            layer_bytes,
            unpacked_bytes,
        };
        for blob in [config, manifest, layer] {
            parts.push(part(&format!("blobs/sha256/{}", digest(&blob)), blob));
        }
        parts.sort_by(|one, other| one.path.cmp(&other.path));
        fs::write(output, tar::archive(&parts)?)
            .with_context(|| format!("writing {}", output.display()))?;
        Ok(written)
    }

    fn config(&self, diff: &str) -> Value {
        json!({
            "architecture": architecture(), "os": "linux",
            "created": "1970-01-01T00:00:00Z",
            "config": {
                "User": USER, "WorkingDir": "/", "Env": ["PATH=/"], "Entrypoint": [self.entrypoint],
                "Labels": {
                    "org.opencontainers.image.title": "agentvm",
                    "org.opencontainers.image.version": env!("CARGO_PKG_VERSION"),
                    "org.opencontainers.image.licenses": "Apache-2.0",
                },
            },
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{diff}")]},
            "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "cargo xtask image"}],
        })
    }

    /// containerd reads the first, most other programs the second.
    fn names(&self) -> Value {
        let tag = self
            .reference
            .rsplit_once(':')
            .map_or("latest", |(_, tag)| tag);
        json!({
            "io.containerd.image.name": self.reference,
            "org.opencontainers.image.ref.name": tag,
        })
    }
}

fn part(path: &str, bytes: Vec<u8>) -> File {
    File {
        path: path.to_owned(),
        mode: 0o644,
        bytes,
    }
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": format!("sha256:{}", digest(bytes)), "size": bytes.len()})
}

fn platform() -> Value {
    json!({"architecture": architecture(), "os": "linux"})
}

/// This machine's architecture, by Go's names.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Lower-case hex SHA-256.
fn digest(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

/// Compresses by the machine's `gzip`, which leaves out name and time when told so.
fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut child = Command::new("gzip")
        .args(["--no-name", "--fast", "--stdout"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| program::missing("gzip".as_ref()))?;
    let mut input = child.stdin.take().context("gzip has a standard input")?;
    let output = std::thread::scope(|scope| {
        let feeder = scope.spawn(move || input.write_all(bytes));
        let output = child.wait_with_output()?;
        match feeder.join() {
            Ok(fed) => fed?,
            Err(_panic) => bail!("feeding gzip panicked"),
        }
        Ok(output)
    })?;
    if !output.status.success() {
        bail!("gzip failed: {}", output.status);
    }
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(order: [&str; 2]) -> Image {
        Image {
            reference: "localhost/pebble:1".to_owned(),
            files: order
                .map(|path| part(path, path.as_bytes().to_vec()))
                .into(),
            entrypoint: "/a",
        }
    }

    #[test]
    fn the_same_files_give_the_same_archive() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (dir.path().join("1.tar"), dir.path().join("2.tar"));
        let first = image(["a", "etc/b"]).write(&one).unwrap();
        assert_eq!(first, image(["etc/b", "a"]).write(&other).unwrap());
        assert_eq!(fs::read(one).unwrap(), fs::read(other).unwrap());
        assert_ne!(
            first,
            image(["a", "etc/c"])
                .write(&dir.path().join("3.tar"))
                .unwrap()
        );
    }

    #[test]
    fn tar_reads_what_was_written() {
        let dir = tempfile::tempdir().unwrap();
        image(["a", "etc/b"])
            .write(&dir.path().join("i.tar"))
            .unwrap();
        let unpack = |archive: &str| {
            program::stdout_of(
                Command::new("tar")
                    .args(["-xvf", archive])
                    .current_dir(dir.path()),
            )
            .unwrap()
        };
        let names = unpack("i.tar");
        let index: Value =
            serde_json::from_slice(&fs::read(dir.path().join("index.json")).unwrap()).unwrap();
        let manifest = index
            .pointer("/manifests/0/digest")
            .unwrap()
            .as_str()
            .unwrap();
        let manifest = manifest.replace(':', "/");
        assert!(names.contains(&manifest), "{names}");
        let manifest: Value =
            serde_json::from_slice(&fs::read(dir.path().join("blobs").join(manifest)).unwrap())
                .unwrap();
        let layer = manifest
            .pointer("/layers/0/digest")
            .unwrap()
            .as_str()
            .unwrap();
        assert_eq!(
            unpack(&format!("blobs/{}", layer.replace(':', "/"))),
            "a\netc/\netc/b\n"
        );
        assert_eq!(fs::read(dir.path().join("etc/b")).unwrap(), b"etc/b");
    }
}
