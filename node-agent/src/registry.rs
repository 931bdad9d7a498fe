//! Modules from OCI registries and from `ConfigMap`s.
//!
//! An image is the CNCF's Wasm artifact: one layer `application/wasm`, configuration
//! `application/vnd.wasm.config.v0+json`. Nothing else is accepted, no index and no archive.

mod failure;
mod layer;

use std::sync::Arc;
use std::time::Duration;

use agentvm_crds::conditions::ImageReason;
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt as _};
use oci_client::Client;
use oci_client::Reference;
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::secrets::RegistryAuth;
use sha2::{Digest as _, Sha256};

use self::failure::pull_failed;
use crate::border::{Located, Modules, Objects};
use crate::problem::{Problem, StartReason};
use crate::source::Source;

/// The most bytes of one module.
pub const MAX_MODULE_BYTES: u64 = agentvm_policy::budget::MODULE_BYTES.value;

/// How long a registry may take to answer for a manifest.
const MANIFEST_WITHIN: Duration = Duration::from_secs(30);
/// How long a whole module may take.
const BLOB_WITHIN: Duration = Duration::from_mins(10);
/// How long a registry may send nothing.
const SILENCE: Duration = Duration::from_secs(30);
/// How long a connection may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// Modules from registries and `ConfigMap`s.
pub struct Registry {
    client: Client,
    objects: Arc<dyn Objects>,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry").finish_non_exhaustive()
    }
}

impl Registry {
    /// Speaks HTTPS to every registry but those in `insecure`, written `HOST[:PORT]`.
    ///
    /// A process-wide rustls provider must be installed before.
    pub fn new(insecure: Vec<String>, objects: Arc<dyn Objects>) -> Self {
        let client = Client::new(ClientConfig {
            protocol: ClientProtocol::HttpsExcept(insecure),
            // An index is refused instead of searched for a platform.
            platform_resolver: None,
            connect_timeout: Some(CONNECT_WITHIN),
            read_timeout: Some(SILENCE),
            user_agent: concat!("agentvm/", env!("CARGO_PKG_VERSION")),
            ..ClientConfig::default()
        });
        Self { client, objects }
    }

    async fn locate_image(&self, image: &str) -> Result<Located, Problem> {
        let reference = parse(image)?;
        let pull = self
            .client
            .pull_image_manifest(&reference, &RegistryAuth::Anonymous);
        let pulled = tokio::time::timeout(MANIFEST_WITHIN, pull).await;
        let (manifest, _digest) = pulled
            .map_err(|_elapsed| silent(image, MANIFEST_WITHIN))?
            .map_err(|error| pull_failed(image, &error))?;
        let sha256 = layer::wasm_layer(image, &manifest)?;
        Ok(self.blob(image, reference, sha256))
    }

    fn blob(&self, image: &str, reference: Reference, sha256: String) -> Located {
        let client = self.client.clone();
        let image = image.to_owned();
        let expected = sha256.clone();
        let fetch = async move {
            let pull = layer::pull(&client, &image, &reference, &expected);
            let pulled = tokio::time::timeout(BLOB_WITHIN, pull).await;
            pulled.map_err(|_elapsed| silent(&image, BLOB_WITHIN))?
        };
        Located {
            sha256,
            fetch: fetch.boxed(),
        }
    }

    async fn locate_config_map(
        &self,
        namespace: &str,
        name: &str,
        key: &str,
    ) -> Result<Located, Problem> {
        let read = self.objects.config_map(namespace, name).await;
        let map = read.map_err(|error| Problem::new(StartReason::Host, error.to_string()))?;
        let map = map.ok_or_else(|| {
            let message = format!(
                "spec.module.configMap: there is no ConfigMap {name} in namespace {namespace}; create it with kubectl create configmap --from-file"
            );
            Problem::new(StartReason::Image(ImageReason::ConfigMapNotFound), message)
        })?;
        let bytes = map.binary_data.unwrap_or_default().remove(key).ok_or_else(|| {
            let message = format!(
                "spec.module.configMap: ConfigMap {namespace}/{name} has no key {key} under binaryData"
            );
            Problem::new(StartReason::Image(ImageReason::KeyNotFound), message)
        })?;
        Ok(present(Bytes::from(bytes.0)))
    }
}

impl Modules for Registry {
    fn locate<'a>(&'a self, source: &'a Source) -> BoxFuture<'a, Result<Located, Problem>> {
        async move {
            match source {
                Source::Image(image) => self.locate_image(image).await,
                Source::Pinned { image, sha256 } => {
                    Ok(self.blob(image, parse(image)?, sha256.clone()))
                }
                Source::ConfigMap {
                    namespace,
                    name,
                    key,
                } => self.locate_config_map(namespace, name, key).await,
            }
        }
        .boxed()
    }
}

/// A module whose bytes are here already.
pub fn present(bytes: Bytes) -> Located {
    let sha256 = hex(&Sha256::digest(&bytes));
    Located {
        sha256,
        fetch: async move { Ok(bytes) }.boxed(),
    }
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
    ];
    let halves = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    halves
        .filter_map(|half| DIGITS.get(usize::from(half)))
        .collect()
}

fn parse(image: &str) -> Result<Reference, Problem> {
    image.parse().map_err(|error| {
        Problem::new(
            StartReason::InvalidSpec,
            format!("spec.image: {image:?} is not an OCI reference: {error}"),
        )
    })
}

fn silent(image: &str, within: Duration) -> Problem {
    let message = format!(
        "image {image}: its registry did not deliver within {} s",
        within.as_secs()
    );
    Problem::new(StartReason::Image(ImageReason::ImagePullFailed), message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_that_no_registry_can_have_are_the_specs_fault() {
        for image in [
            "",
            "a b",
            "registry/x@sha256:zz",
            "x:ta g",
            "http://registry.example/x",
        ] {
            let problem = parse(image)
                .map(|reference| reference.to_string())
                .unwrap_err();
            assert_eq!(problem.reason, StartReason::InvalidSpec, "{image:?}");
            assert!(
                problem.message.starts_with("spec.image: "),
                "{}",
                problem.message
            );
        }
    }

    #[test]
    fn references_with_ports_tags_and_digests_are_read() {
        let digest = format!("registry.example/x@sha256:{}", "0".repeat(64));
        for image in [
            "localhost:5000/team/x:v1",
            "registry.example/x",
            digest.as_str(),
        ] {
            assert!(parse(image).is_ok(), "{image:?}");
        }
    }
}
