//! What a `ConfigMap` or a Secret holds, in a form that no log, error or status can show.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use agentvm_crds::ObjectKind;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};

/// One object whose content is mounted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Object {
    /// `ConfigMap` or Secret.
    pub kind: ObjectKind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind.as_str(), self.namespace, self.name)
    }
}

/// What a read of an object says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// It is there.
    Found(Values),
    /// There is none of that name.
    Missing,
    /// The agent may not read it; the command allows it.
    Forbidden(String),
}

/// Values by key, shared.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Values(Arc<BTreeMap<String, Arc<[u8]>>>);

impl Values {
    /// True where both are the same read, and so have the same content without a look at it.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Deref for Values {
    type Target = BTreeMap<String, Arc<[u8]>>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl fmt::Debug for Values {
    /// How many, and nothing of what they are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Values({} keys)", self.0.len())
    }
}

impl FromIterator<(String, Vec<u8>)> for Values {
    fn from_iter<I: IntoIterator<Item = (String, Vec<u8>)>>(values: I) -> Self {
        let values = values.into_iter();
        Self(Arc::new(
            values.map(|(key, bytes)| (key, bytes.into())).collect(),
        ))
    }
}

impl From<ConfigMap> for Values {
    /// Of a key in both, which the API server refuses, `binaryData` counts, as for the kubelet.
    fn from(map: ConfigMap) -> Self {
        let text = map.data.unwrap_or_default().into_iter();
        let binary = map.binary_data.unwrap_or_default().into_iter();
        text.map(|(key, text)| (key, text.into_bytes()))
            .chain(binary.map(|(key, bytes)| (key, bytes.0)))
            .collect()
    }
}

impl From<Secret> for Values {
    /// `stringData` is for files that no API server has seen; it counts where both have a key,
    /// as it would there.
    fn from(secret: Secret) -> Self {
        let data = secret.data.unwrap_or_default().into_iter();
        let text = secret.string_data.unwrap_or_default().into_iter();
        data.map(|(key, bytes)| (key, bytes.0))
            .chain(text.map(|(key, text)| (key, text.into_bytes())))
            .collect()
    }
}
