//! A Python component: asyncio over wasi:http, as its toolchain brings it along.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use agentvm_runtime::Kind;
use agentvm_tests::program::stdout_of;
use agentvm_tests::{Result, guests, workspace};
use anyhow::Context as _;

use crate::upstream::Upstream;
use crate::vm::Module;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_python_component_makes_requests_at_once_and_is_told_what_is_refused() -> Result<()> {
    let module = Module::load(Kind::Component, &component()?)?;
    let upstream = Upstream::start().await;
    let ran = module.run(None, Some(upstream.way())).await;
    let printed: Vec<&str> = ran.printed.lines().collect();
    assert_eq!(
        printed,
        [
            "get (200, b'GET /hello')",
            "post [True, True, True]",
            "host HeaderError_Forbidden",
            "many 8 ErrorCode_ConnectionLimitReached",
        ]
    );
    let asked = upstream.asked();
    let ran = module.run(None, None).await;
    assert!(
        ran.printed.starts_with("get ErrorCode_HttpRequestDenied\n"),
        "{}",
        ran.printed
    );
    assert_eq!(upstream.asked(), asked);
    Ok(())
}

/// The component that `guests/python-requests` is made into, with the interfaces as they are
/// published.
fn component() -> Result<PathBuf> {
    let source = guests::sources().join("python-requests");
    let folder = tempfile::tempdir()?;
    let deps = folder.path().join("wit/deps");
    fs::create_dir_all(&deps)?;
    for file in ["app.py", "wit/world.wit"] {
        fs::copy(source.join(file), folder.path().join(file))?;
    }
    for entry in fs::read_dir(published()?)? {
        let path = entry?.path();
        fs::copy(&path, deps.join(path.file_name().context("no name")?))?;
    }
    guests::python("python-requests", folder.path(), "requests")
}

/// Where the interfaces of WASI lie that the runtime is built with.
fn published() -> Result<PathBuf> {
    let mut cargo = Command::new("cargo");
    cargo
        .args(["metadata", "--format-version", "1", "--offline"])
        .current_dir(workspace::root());
    let facts: serde_json::Value = serde_json::from_str(&stdout_of(&mut cargo)?)?;
    let packages = facts.get("packages").and_then(|all| all.as_array());
    let named = |package: &&serde_json::Value| {
        package.get("name").and_then(|name| name.as_str()) == Some("wasmtime-wasi-http")
    };
    let package = packages.and_then(|all| all.iter().find(named));
    let manifest = package.and_then(|package| package.get("manifest_path")?.as_str());
    let manifest = PathBuf::from(manifest.context("wasmtime-wasi-http is not built with")?);
    Ok(manifest.with_file_name("wit").join("deps"))
}
