//! What a VM is given to see of files: its mounts, and the content of those that have any.
//!
//! A `PUT` carries the content, and nothing that a cell answers does: there a digest stands for
//! it, so that a Secret's bytes are in no listing.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest as _, Sha256};

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Mount {
    /// Where the guest sees it: absolute and canonical.
    pub path: String,
    /// Whether the guest must leave it as it is. [`MountSource::Files`] is never changed by it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
    /// What it holds.
    pub source: MountSource,
}

/// What a mount holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    rename_all = "camelCase",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
pub enum MountSource {
    /// Nothing at first, or what an archive holds.
    EmptyDir {
        /// The most bytes it may hold, beside the VM's own limit.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        size_limit_bytes: Option<u64>,
        /// The archive that is unpacked into it before the start, by its name in the cell.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        archive: Option<String>,
    },
    /// The files of a `ConfigMap` or a Secret. The only part of a mount that may change while
    /// the VM runs.
    Files {
        /// [`digest`] of the files.
        sha256: String,
        /// The files themselves: in a `PUT` that starts a VM or brings other files.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        files: Option<Files>,
    },
}

/// Files by their path below the mount.
pub type Files = BTreeMap<String, FileContent>;

/// One file.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileContent {
    /// Its permission bits, a number: 420 is 0644.
    pub mode: u16,
    /// Its content; standard base64 on the wire.
    #[serde(serialize_with = "encode", deserialize_with = "decode")]
    pub data: Arc<[u8]>,
}

impl fmt::Debug for FileContent {
    /// Without the content, which may be a Secret's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileContent")
            .field("mode", &format_args!("{:#o}", self.mode))
            .field("bytes", &self.data.len())
            .finish()
    }
}

impl Mount {
    /// The same mount with the files' digest in place of the files.
    #[must_use]
    pub fn without_files(&self) -> Self {
        let source = match &self.source {
            MountSource::EmptyDir { .. } => self.source.clone(),
            MountSource::Files { sha256, files: _ } => MountSource::Files {
                sha256: sha256.clone(),
                files: None,
            },
        };
        Self {
            path: self.path.clone(),
            read_only: self.read_only,
            source,
        }
    }

    /// The digest of its files, where it has files.
    pub fn sha256(&self) -> Option<&str> {
        match &self.source {
            MountSource::EmptyDir { .. } => None,
            MountSource::Files { sha256, .. } => Some(sha256),
        }
    }
}

/// Lower-case hex SHA-256 over paths, modes and content in the order of paths.
///
/// Every part is preceded by its length, so that no two sets of files have one canonical form.
pub fn digest(files: &Files) -> String {
    let mut hash = Sha256::new();
    hash.update(b"agentvm files 1\n");
    let mut part = |bytes: &[u8]| {
        hash.update(u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_le_bytes());
        hash.update(bytes);
    };
    for (path, FileContent { mode, data }) in files {
        part(path.as_bytes());
        part(&mode.to_le_bytes());
        part(data);
    }
    let hex = |digit: u8| char::from_digit(u32::from(digit), 16).unwrap_or_default();
    let both = |byte: u8| [hex(byte >> 4), hex(byte & 15)];
    hash.finalize().into_iter().flat_map(both).collect()
}

fn encode<S: Serializer>(data: &Arc<[u8]>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(data))
}

fn decode<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<[u8]>, D::Error> {
    deserializer.deserialize_str(Base64)
}

/// Reads base64 without copying the text, and without repeating it in an error.
struct Base64;

impl de::Visitor<'_> for Base64 {
    type Value = Arc<[u8]>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("standard base64 with padding")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        let bytes = STANDARD
            .decode(text)
            .map_err(|_why| E::custom("the data of a file must be standard base64 with padding"))?;
        Ok(bytes.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(all: &[(&str, u16, &str)]) -> Files {
        all.iter()
            .map(|(path, mode, data)| {
                let content = FileContent {
                    mode: *mode,
                    data: data.as_bytes().into(),
                };
                ((*path).to_owned(), content)
            })
            .collect()
    }

    #[test]
    fn the_order_in_which_files_are_written_does_not_matter() {
        let one = r#"{"a":{"mode":420,"data":"MQ=="},"b":{"data":"Mg==","mode":420}}"#;
        let other = r#"{"b":{"mode":420,"data":"Mg=="},"a":{"mode":420,"data":"MQ=="}}"#;
        let read = |text| serde_json::from_str::<Files>(text).unwrap();
        assert_eq!(digest(&read(one)), digest(&read(other)));
        assert_eq!(
            digest(&read(one)),
            digest(&files(&[("a", 420, "1"), ("b", 420, "2")]))
        );
    }

    #[test]
    fn whatever_differs_makes_another_digest() {
        let all = [
            files(&[]),
            files(&[("", 0, "")]),
            files(&[("a", 420, "bc")]),
            files(&[("ab", 420, "c")]),
            files(&[("a", 292, "bc")]),
            files(&[("a", 420, ""), ("bc", 420, "")]),
            files(&[("a", 420, "bc"), ("d", 420, "")]),
            files(&[("a", 420, "bcd")]),
            // One file whose content is what two files would be written as.
            files(&[("a", 420, "b\0\0\0\0\0\0\0c")]),
        ];
        let digests: std::collections::BTreeSet<String> = all.iter().map(digest).collect();
        assert_eq!(digests.len(), all.len());
        assert!(digests.iter().all(|digest| digest.len() == 64));
    }

    #[test]
    fn the_digest_never_changes_between_versions() {
        // An agent compares it with what a cell of another version echoes.
        let one = files(&[("app.conf", 420, "heron"), ("tls/key", 256, "egret")]);
        assert_eq!(
            digest(&one),
            "362085e50e3f6c14c4ef6a83b21b3aaadedd09bfbb130fbdb68a77c1d37b0089"
        );
    }

    #[test]
    fn neither_debug_output_nor_an_error_has_the_content() {
        let secret = files(&[("key", 256, "hunter2")]);
        let mount = Mount {
            path: "/s".to_owned(),
            read_only: true,
            source: MountSource::Files {
                sha256: digest(&secret),
                files: Some(secret),
            },
        };
        let shown = format!("{mount:?}");
        assert!(
            !shown.contains("hunter2") && shown.contains("bytes: 7"),
            "{shown}"
        );
        // Debug prints of byte slices are lists of numbers.
        assert!(!shown.contains("104, 117"), "{shown}");
        let broken = r#"{"key":{"mode":256,"data":"hunter2!"}}"#;
        let refused = serde_json::from_str::<Files>(broken)
            .unwrap_err()
            .to_string();
        assert!(!refused.contains("hunter2"), "{refused}");
        // A value of another type is not repeated either.
        let number = r#"{"key":{"mode":256,"data":["hunter2"]}}"#;
        let refused = serde_json::from_str::<Files>(number)
            .unwrap_err()
            .to_string();
        assert!(!refused.contains("hunter2"), "{refused}");
    }

    #[test]
    fn an_echo_has_the_digest_in_place_of_the_files() {
        let some = files(&[("a", 420, "1")]);
        let mount = Mount {
            path: "/a".to_owned(),
            read_only: true,
            source: MountSource::Files {
                sha256: digest(&some),
                files: Some(some.clone()),
            },
        };
        let echo = serde_json::to_string(&mount.without_files()).unwrap();
        assert!(
            !echo.contains("MQ==") && echo.contains(&digest(&some)),
            "{echo}"
        );
    }
}
