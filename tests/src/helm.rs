//! Helm, built from its Go module into the cache.

use std::path::PathBuf;
use std::process::Command;

use crate::program::stdout_of;
use crate::{Result, cache};

/// The Helm version that tests run.
pub const VERSION: &str = "3.19.2";

/// Where Helm is, built if need be.
pub fn program() -> Result<PathBuf> {
    let dir = cache::once(&format!("helm-{VERSION}"), |out| {
        let module = format!("helm.sh/helm/v3/cmd/helm@v{VERSION}");
        let mut install = Command::new("go");
        install
            .args(["install", "-ldflags", "-s -w", &module])
            .env("GOBIN", out)
            .env("CGO_ENABLED", "0")
            .env("GOFLAGS", "-buildvcs=false");
        stdout_of(&mut install).map(|_| ())
    })?;
    Ok(dir.join("helm"))
}
