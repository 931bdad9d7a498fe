//! The API server, asked in plain JSON: no type of the product stands between it and a test.

use std::path::Path;
use std::sync::OnceLock;

use anyhow::Context;
use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::Result;

/// A client that blocks, as one user.
#[derive(Clone)]
pub struct Api {
    client: Client,
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api").finish_non_exhaustive()
    }
}

impl Api {
    /// A client as the user of `kubeconfig`.
    pub fn new(kubeconfig: &Path) -> Result<Self> {
        let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
        let client = runtime()?.block_on(async {
            let options = KubeConfigOptions::default();
            let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await?;
            anyhow::Ok(Client::try_from(config)?)
        })?;
        Ok(Self { client })
    }

    /// The object at `path`, if it is there.
    pub fn get(&self, path: &str) -> Result<Option<Value>> {
        let request = http::Request::get(path).body(Vec::new())?;
        match runtime()?.block_on(self.client.request::<Value>(request)) {
            Ok(object) => Ok(Some(object)),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(error).with_context(|| format!("getting {path}")),
        }
    }

    /// The text at `path`.
    pub fn text(&self, path: &str) -> Result<String> {
        let request = http::Request::get(path).body(Vec::new())?;
        runtime()?
            .block_on(self.client.request_text(request))
            .with_context(|| format!("getting {path}"))
    }

    /// Creates an object in the collection at `path`.
    pub fn create(&self, path: &str, object: &Value) -> Result<Value> {
        self.send(
            http::Request::post(path).header("content-type", "application/json"),
            path,
            object,
        )
    }

    /// Merges `change` into the object at `path`.
    pub fn patch(&self, path: &str, change: &Value) -> Result<Value> {
        let request =
            http::Request::patch(path).header("content-type", "application/merge-patch+json");
        self.send(request, path, change)
    }

    /// Deletes the object at `path`.
    pub fn delete(&self, path: &str) -> Result<()> {
        let request = http::Request::delete(path).body(Vec::new())?;
        runtime()?
            .block_on(self.client.request::<Value>(request))
            .with_context(|| format!("deleting {path}"))?;
        Ok(())
    }

    fn send(&self, request: http::request::Builder, path: &str, body: &Value) -> Result<Value> {
        let request = request.body(serde_json::to_vec(body)?)?;
        runtime()?
            .block_on(self.client.request(request))
            .with_context(|| format!("writing {path}"))
    }
}

/// The runtime on which every client of this binary lives: a connection belongs to its runtime,
/// and tests come and go.
fn runtime() -> Result<&'static Runtime> {
    static RUNTIME: OnceLock<std::io::Result<Runtime>> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
    });
    runtime
        .as_ref()
        .map_err(|error| anyhow::anyhow!("no runtime: {error}"))
}
