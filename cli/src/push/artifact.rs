//! What a registry stores: the CNCF Wasm OCI artifact, made from a file's bytes alone.
//!
//! The layout is that of the CNCF's "Wasm OCI Artifact": a config of type
//! `application/vnd.wasm.config.v0+json` and one layer of type `application/wasm`. The same
//! file makes the same digest, since `created` is the file's own modification time.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use wasmparser::{Parser, Payload, Validator};

const CONFIG_MEDIA_TYPE: &str = "application/vnd.wasm.config.v0+json";
const LAYER_MEDIA_TYPE: &str = "application/wasm";

/// Why a file cannot be pushed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArtifactError {
    /// The file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The bytes are something else.
    #[error("{path} is not WebAssembly: it does not start with `\\0asm` and a known version")]
    NotWasm {
        /// The file.
        path: PathBuf,
    },
    /// The bytes start as WebAssembly does and go wrong later.
    #[error("{path} is not valid WebAssembly")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong, and at which offset.
        source: wasmparser::BinaryReaderError,
    },
}

/// The three blobs of an artifact and their digests.
#[derive(Debug)]
pub(crate) struct Artifact {
    /// The file's bytes.
    pub(crate) wasm: Bytes,
    /// `sha256:<hex>` of [`Self::wasm`].
    pub(crate) wasm_digest: String,
    /// The config, as JSON.
    pub(crate) config: Bytes,
    /// `sha256:<hex>` of [`Self::config`].
    pub(crate) config_digest: String,
    /// The manifest, as JSON.
    pub(crate) manifest: Bytes,
    component: Option<Component>,
}

/// A component's interfaces, as the config names them.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Component {
    exports: BTreeSet<String>,
    imports: BTreeSet<String>,
    target: Option<String>,
}

impl Artifact {
    /// Reads and checks `path`.
    ///
    /// # Errors
    /// Where the file cannot be read or is not valid WebAssembly.
    pub(crate) fn read(path: &Path) -> Result<Self, ArtifactError> {
        let read = || -> io::Result<_> {
            let created = std::fs::metadata(path)?.modified()?;
            Ok((
                std::fs::read(path)?,
                Timestamp::try_from(created).unwrap_or_default(),
            ))
        };
        let (wasm, created) = read().map_err(|source| ArtifactError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::from_wasm(path, wasm, created)
    }

    fn from_wasm(path: &Path, wasm: Vec<u8>, created: Timestamp) -> Result<Self, ArtifactError> {
        if !Parser::is_core_wasm(&wasm) && !Parser::is_component(&wasm) {
            return Err(ArtifactError::NotWasm {
                path: path.to_owned(),
            });
        }
        let component = interfaces(&wasm).map_err(|source| ArtifactError::Invalid {
            path: path.to_owned(),
            source,
        })?;
        let wasm_digest = digest(&wasm);
        let config = config(component.as_ref(), &wasm_digest, created);
        let config_digest = digest(&config);
        let manifest = manifest(&config_digest, config.len(), &wasm_digest, wasm.len());
        Ok(Self {
            wasm: wasm.into(),
            wasm_digest,
            config: config.into(),
            config_digest,
            manifest: manifest.into(),
            component,
        })
    }

    /// The digest by which a registry serves the whole artifact.
    pub(crate) fn manifest_digest(&self) -> String {
        digest(&self.manifest)
    }

    /// `core` or `component`.
    pub(crate) const fn kind(&self) -> &'static str {
        match self.component {
            Some(_) => "component",
            None => "core",
        }
    }
}

/// Validates all of `wasm`, and names what it imports and exports where it is a component.
fn interfaces(wasm: &[u8]) -> Result<Option<Component>, wasmparser::BinaryReaderError> {
    Validator::new().validate_all(wasm)?;
    if !Parser::is_component(wasm) {
        return Ok(None);
    }
    let mut component = Component::default();
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload?;
        if let Payload::ModuleSection { .. } | Payload::ComponentSection { .. } = payload {
            depth += 1;
        } else if let Payload::End(_) = payload {
            depth = depth.saturating_sub(1);
        } else if depth == 0 {
            component.add(payload)?;
        }
    }
    Ok(Some(component))
}

impl Component {
    /// Adds what one section of the component itself, not of a part of it, imports or exports.
    fn add(&mut self, section: Payload<'_>) -> Result<(), wasmparser::BinaryReaderError> {
        if let Payload::ComponentImportSection(imports) = section {
            for import in imports {
                self.imports.insert(import?.name.name.to_owned());
            }
        } else if let Payload::ComponentExportSection(exports) = section {
            for export in exports {
                self.exports.insert(export?.name.name.to_owned());
            }
        }
        Ok(())
    }
}

fn config(component: Option<&Component>, wasm_digest: &str, created: Timestamp) -> Vec<u8> {
    let mut config = json!({
        "created": created.to_string(),
        "architecture": "wasm",
        "os": if component.is_some() { "wasip2" } else { "wasip1" },
        "layerDigests": [wasm_digest],
    });
    if let (Some(component), Some(config)) = (component, config.as_object_mut()) {
        config.insert("component".to_owned(), json!(component));
    }
    config.to_string().into_bytes()
}

fn manifest(config_digest: &str, config_len: usize, wasm_digest: &str, wasm_len: usize) -> Vec<u8> {
    json!({
        "schemaVersion": 2,
        "mediaType": oci_client::manifest::OCI_IMAGE_MEDIA_TYPE,
        "config": {"mediaType": CONFIG_MEDIA_TYPE, "digest": config_digest, "size": config_len},
        "layers": [{"mediaType": LAYER_MEDIA_TYPE, "digest": wasm_digest, "size": wasm_len}],
    })
    .to_string()
    .into_bytes()
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(bytes)))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn artifact(wat: &str) -> Artifact {
        let wasm = wat::parse_str(wat).unwrap();
        Artifact::from_wasm(Path::new("agent.wasm"), wasm, Timestamp::UNIX_EPOCH).unwrap()
    }

    fn config_of(artifact: &Artifact) -> serde_json::Value {
        serde_json::from_slice(&artifact.config).unwrap()
    }

    #[test]
    fn core_module_is_wasip1_and_has_no_component() {
        let artifact = artifact("(module)");
        let config = config_of(&artifact);
        assert_eq!(config["os"], "wasip1");
        assert_eq!(config["architecture"], "wasm");
        assert_eq!(config["created"], "1970-01-01T00:00:00Z");
        assert_eq!(config["layerDigests"], json!([artifact.wasm_digest]));
        assert!(config.get("component").is_none());
    }

    #[test]
    fn component_names_its_own_imports_and_exports_and_not_those_of_parts() {
        let artifact = artifact(
            r#"(component
                 (import "wasi:cli/environment@0.2.0" (instance))
                 (import "wasi:cli/exit@0.2.0" (instance $exit))
                 (component $part (import "inner" (instance)))
                 (core module (func (export "hidden")))
                 (export "wasi:cli/run@0.2.0" (instance $exit)))"#,
        );
        let config = config_of(&artifact);
        assert_eq!(config["os"], "wasip2");
        assert_eq!(
            config["component"],
            json!({"exports": ["wasi:cli/run@0.2.0"], "imports": ["wasi:cli/environment@0.2.0", "wasi:cli/exit@0.2.0"], "target": null})
        );
    }

    #[test]
    fn manifest_has_one_layer_and_names_both_blobs_by_digest() {
        let artifact = artifact("(module)");
        let manifest: serde_json::Value = serde_json::from_slice(&artifact.manifest).unwrap();
        assert_eq!(manifest["config"]["mediaType"], CONFIG_MEDIA_TYPE);
        assert_eq!(manifest["config"]["digest"], artifact.config_digest);
        assert_eq!(
            manifest["layers"],
            json!([{"mediaType": LAYER_MEDIA_TYPE, "digest": artifact.wasm_digest, "size": artifact.wasm.len()}])
        );
    }

    #[test]
    fn same_file_has_the_same_digest() {
        assert_eq!(
            artifact("(module)").manifest_digest(),
            artifact("(module)").manifest_digest()
        );
    }

    #[test]
    fn bytes_that_are_not_wasm_are_refused_in_one_sentence() {
        for bytes in [&b""[..], b"\0as", b"#!/bin/sh\n", b"\0asm\x02\0\0\0"] {
            let error =
                Artifact::from_wasm(Path::new("a.sh"), bytes.to_vec(), Timestamp::UNIX_EPOCH)
                    .unwrap_err();
            assert_eq!(
                error.to_string(),
                "a.sh is not WebAssembly: it does not start with `\\0asm` and a known version"
            );
        }
    }

    #[test]
    fn truncated_module_is_refused() {
        let mut wasm = wat::parse_str(r#"(module (func (export "_start")))"#).unwrap();
        wasm.truncate(wasm.len() - 2);
        let error =
            Artifact::from_wasm(Path::new("a.wasm"), wasm, Timestamp::UNIX_EPOCH).unwrap_err();
        assert!(matches!(error, ArtifactError::Invalid { .. }), "{error}");
    }
}
