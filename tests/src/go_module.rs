//! Go modules: their files as they were published, and small programs of ours over them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use sha2::{Digest as _, Sha256};

use crate::program::stdout_of;
use crate::{Result, cache, workspace};

/// A folder with the YAML files of a folder of a module, such as `config/crd/bases` of
/// `github.com/fluxcd/source-controller@v1.7.0`.
pub fn yaml_files(module: &str, folder: &str) -> Result<PathBuf> {
    let name = format!("yaml-{}", module.replace(['/', '@'], "-"));
    cache::once(&name, |out| {
        let facts = stdout_of(go(out).args(["mod", "download", "-json", module]))?;
        let facts: serde_json::Value = serde_json::from_str(&facts)?;
        let dir = facts.get("Dir").and_then(|dir| dir.as_str());
        let dir = Path::new(dir.context("go names no Dir")?).join(folder);
        for entry in fs::read_dir(&dir)? {
            let path = entry?.path();
            let name = path.file_name().context("a file has a name")?;
            if path.extension().is_some_and(|it| it == "yaml") {
                fs::write(out.join(name), fs::read(&path)?)?;
            }
        }
        Ok(())
    })
}

/// The program whose source is `tests/NAME/`, built when that has changed.
pub fn program(name: &str) -> Result<PathBuf> {
    let source = workspace::tests().join(name);
    let mut hash = Sha256::new();
    for file in ["main.go", "go.mod", "go.sum"] {
        hash.update(fs::read(source.join(file))?);
    }
    let digest = format!("{:x}", hash.finalize());
    let digest = digest.get(..16).context("a digest is longer")?;
    let dir = cache::once(&format!("{name}-{digest}"), |out| {
        let out = out.join(name);
        stdout_of(
            go(&source)
                .args(["build", "-trimpath", "-o"])
                .arg(out)
                .arg("."),
        )
        .map(|_| ())
    })?;
    Ok(dir.join(name))
}

fn go(dir: &Path) -> Command {
    let mut command = Command::new("go");
    command.current_dir(dir).env("CGO_ENABLED", "0");
    command
}
