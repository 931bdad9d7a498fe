//! Where a module's bytes come from.

use crate::observed::ReadyModule;

/// Where a module's bytes come from; VMs with equal sources share one fetch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// An OCI reference.
    Image(String),
    /// One layer of an image's repository, named by its digest: what a tag meant when this
    /// assignment began.
    Pinned {
        /// The OCI reference it came from.
        image: String,
        /// Lower-case hex SHA-256 of the module's bytes.
        sha256: String,
    },
    /// A key under `binaryData` of a `ConfigMap`.
    ConfigMap {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// The key.
        key: String,
    },
}

impl Source {
    /// Where the very bytes of `module` can be had again. A `ConfigMap` keeps no history: it is
    /// read as it is now.
    #[must_use]
    pub fn pinned(&self, module: &ReadyModule) -> Self {
        match self {
            Self::Image(image) | Self::Pinned { image, sha256: _ } => Self::Pinned {
                image: image.clone(),
                sha256: module.sha256.clone(),
            },
            Self::ConfigMap { .. } => self.clone(),
        }
    }

    /// The guest's `argv[0]`: the last part of the image's path, without tag and digest, or
    /// the `ConfigMap`'s key.
    pub fn program_name(&self) -> &str {
        let named = match self {
            Self::Image(image) | Self::Pinned { image, sha256: _ } => {
                let path = image
                    .split_once('@')
                    .map_or(image.as_str(), |(path, _)| path);
                let last = path.rsplit('/').next().unwrap_or(path);
                last.split_once(':').map_or(last, |(name, _)| name)
            }
            Self::ConfigMap { key, .. } => key.as_str(),
        };
        if named.is_empty() { "agentvm" } else { named }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_named_after_its_image_or_key() {
        for (image, expected) in [
            ("registry.example:5000/team/agent:v1", "agent"),
            ("registry.example/agent@sha256:00", "agent"),
            ("agent:v1@sha256:00", "agent"),
            ("agent", "agent"),
            ("", "agentvm"),
        ] {
            assert_eq!(Source::Image(image.to_owned()).program_name(), expected);
        }
        let key = Source::ConfigMap {
            namespace: "n".into(),
            name: "m".into(),
            key: "hello.wasm".into(),
        };
        assert_eq!(key.program_name(), "hello.wasm");
    }
}
