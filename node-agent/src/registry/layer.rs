//! The one layer of a Wasm artifact: which it is, and its bytes.

use agentvm_crds::conditions::ImageReason;
use bytes::Bytes;
use futures::TryStreamExt as _;
use oci_client::manifest::OciImageManifest;
use oci_client::{Client, Reference};
use sha2::{Digest as _, Sha256};

use super::{MAX_MODULE_BYTES, hex, pull_failed};
use crate::problem::{Problem, StartReason};

const CONFIG_TYPE: &str = "application/vnd.wasm.config.v0+json";
const LAYER_TYPE: &str = "application/wasm";

/// The digest of the artifact's one layer.
pub(super) fn wasm_layer(image: &str, manifest: &OciImageManifest) -> Result<String, Problem> {
    let unfit = |what: String| {
        let message =
            format!("image {image} is not a Wasm artifact: {what}; push it with agentvm push");
        Problem::new(StartReason::Image(ImageReason::InvalidModule), message)
    };
    if manifest.config.media_type != CONFIG_TYPE {
        return Err(unfit(format!(
            "its configuration is {}, not {CONFIG_TYPE}",
            manifest.config.media_type
        )));
    }
    let [layer] = manifest.layers.as_slice() else {
        return Err(unfit(format!(
            "it has {} layers, not one",
            manifest.layers.len()
        )));
    };
    if layer.media_type != LAYER_TYPE {
        return Err(unfit(format!(
            "its layer is {}, not {LAYER_TYPE}",
            layer.media_type
        )));
    }
    if u64::try_from(layer.size).is_ok_and(|size| size > MAX_MODULE_BYTES) {
        return Err(too_large(image));
    }
    let hex = layer
        .digest
        .strip_prefix("sha256:")
        .filter(|hex| is_sha256(hex));
    hex.map(str::to_owned).ok_or_else(|| {
        unfit(format!(
            "its layer's digest {} is not a SHA-256",
            layer.digest
        ))
    })
}

/// Streams the layer's bytes, never more than [`MAX_MODULE_BYTES`], and proves their digest.
pub(super) async fn pull(
    client: &Client,
    image: &str,
    reference: &Reference,
    sha256: &str,
) -> Result<Bytes, Problem> {
    let digest = format!("sha256:{sha256}");
    let pulled = client.pull_blob_stream(reference, digest.as_str()).await;
    let mut stream = pulled.map_err(|error| pull_failed(image, &error))?.stream;
    let mut bytes = Vec::new();
    let mut hasher = Sha256::new();
    while let Some(chunk) = stream
        .try_next()
        .await
        .map_err(|error| broken(image, &error))?
    {
        let total = u64::try_from(bytes.len().saturating_add(chunk.len())).unwrap_or(u64::MAX);
        if total > MAX_MODULE_BYTES {
            return Err(too_large(image));
        }
        hasher.update(&chunk);
        bytes.extend_from_slice(&chunk);
    }
    let got = hex(&hasher.finalize());
    if got != sha256 {
        return Err(broken(
            image,
            &format!("its bytes have the digest sha256:{got}, not {digest}"),
        ));
    }
    Ok(Bytes::from(bytes))
}

fn is_sha256(hex: &str) -> bool {
    hex.len() == 64
        && hex
            .bytes()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

fn too_large(image: &str) -> Problem {
    let message = format!(
        "image {image} is larger than {} MiB, the most that a module may be",
        MAX_MODULE_BYTES >> 20
    );
    Problem::new(StartReason::Image(ImageReason::InvalidModule), message)
}

fn broken(image: &str, error: &dyn std::fmt::Display) -> Problem {
    Problem::new(
        StartReason::Image(ImageReason::ImagePullFailed),
        format!("image {image} was not delivered: {error}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(config: &str, layers: &[(&str, &str, i64)]) -> OciImageManifest {
        let layers: Vec<_> = layers
            .iter()
            .map(|(media, digest, size)| serde_json::json!({"mediaType": media, "digest": digest, "size": size}))
            .collect();
        serde_json::from_value(serde_json::json!({
            "schemaVersion": 2,
            "config": {"mediaType": config, "digest": "sha256:00", "size": 2},
            "layers": layers,
        }))
        .unwrap()
    }

    #[test]
    fn the_one_wasm_layer_of_an_artifact_is_taken() {
        let hex = "a".repeat(64);
        let fit = manifest(CONFIG_TYPE, &[(LAYER_TYPE, &format!("sha256:{hex}"), 10)]);
        assert_eq!(wasm_layer("i", &fit), Ok(hex));
    }

    #[test]
    fn any_other_artifact_is_refused_for_good() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let layer = (LAYER_TYPE, digest.as_str(), 10);
        for (unfit, says) in [
            (
                manifest("application/vnd.oci.image.config.v1+json", &[layer]),
                "its configuration is",
            ),
            (manifest(CONFIG_TYPE, &[]), "0 layers"),
            (manifest(CONFIG_TYPE, &[layer, layer]), "2 layers"),
            (
                manifest(
                    CONFIG_TYPE,
                    &[("application/vnd.oci.image.layer.v1.tar+gzip", &digest, 1)],
                ),
                "its layer is",
            ),
            (
                manifest(CONFIG_TYPE, &[(LAYER_TYPE, "sha512:aa", 1)]),
                "is not a SHA-256",
            ),
            (
                manifest(CONFIG_TYPE, &[(LAYER_TYPE, "sha256:../../x", 1)]),
                "is not a SHA-256",
            ),
            (
                manifest(CONFIG_TYPE, &[(LAYER_TYPE, &digest, (256 << 20) + 1)]),
                "larger than 256 MiB",
            ),
        ] {
            let problem = wasm_layer("registry.example/x", &unfit).unwrap_err();
            assert!(problem.reason.is_final(), "{problem:?}");
            assert!(problem.message.contains(says), "{problem:?}");
        }
    }
}
