//! What is in the project's image: its programs, and the certificate authorities of the web.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{File, Image};
use crate::Result;
use crate::program::stdout_of;

/// The programs, in the root of the image.
pub const PROGRAMS: [&str; 5] = [
    "agentvm",
    "agentvm-cell",
    "agentvm-gateway",
    "agentvm-node-agent",
    "agentvm-operator",
];

/// Where rustls looks first on any Linux.
const AUTHORITIES: &str = "etc/ssl/certs/ca-certificates.crt";

/// The image of the programs that `cargo build` has put into `folder`.
pub fn image(reference: &str, folder: &Path) -> Result<Image> {
    let mut files = vec![File {
        path: AUTHORITIES.to_owned(),
        mode: 0o644,
        bytes: authorities().into_bytes(),
    }];
    for program in PROGRAMS {
        let built = folder.join(program);
        ensure!(
            built.is_file(),
            "{} is not built: run `cargo build --workspace --bins`, or `cargo xtask image`",
            built.display()
        );
        files.push(File {
            path: program.to_owned(),
            mode: 0o755,
            bytes: stripped(&built)?,
        });
    }
    Ok(Image {
        reference: reference.to_owned(),
        files,
        entrypoint: "/agentvm",
    })
}

/// A program without symbols, once it is certain that it needs no library.
fn stripped(program: &Path) -> Result<Vec<u8>> {
    let headers = stdout_of(
        Command::new("readelf")
            .args(["--program-headers", "--wide"])
            .arg(program),
    )?;
    ensure!(
        !headers.contains("INTERP"),
        "{} is not static, so it can't run in an image of its own: build it with the flags of .cargo/config.toml",
        program.display()
    );
    let dir = tempfile::tempdir()?;
    let bare = dir.path().join("bare");
    stdout_of(Command::new("strip").arg("-o").arg(&bare).arg(program))?;
    fs::read(&bare).with_context(|| format!("reading {}", bare.display()))
}

/// Mozilla's certificate authorities as PEM, as `Cargo.lock` pins them.
fn authorities() -> String {
    let mut bundle = String::new();
    for authority in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
        bundle.push_str("-----BEGIN CERTIFICATE-----\n");
        for (at, character) in STANDARD.encode(authority).chars().enumerate() {
            if at > 0 && at % 64 == 0 {
                bundle.push('\n');
            }
            bundle.push(character);
        }
        bundle.push_str("\n-----END CERTIFICATE-----\n");
    }
    bundle
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openssl_reads_the_authorities() {
        let dir = tempfile::tempdir().unwrap();
        let bundle = dir.path().join("bundle.pem");
        fs::write(&bundle, authorities()).unwrap();
        let mut openssl = Command::new("openssl");
        openssl
            .args(["crl2pkcs7", "-nocrl", "-certfile"])
            .arg(&bundle);
        let all = stdout_of(&mut openssl).unwrap();
        assert!(all.len() > 100_000, "{} bytes", all.len());
    }

    #[test]
    fn a_program_that_needs_libraries_is_refused() {
        let refused = stripped(Path::new("/bin/sh")).unwrap_err().to_string();
        assert!(refused.contains("is not static"), "{refused}");
    }
}
