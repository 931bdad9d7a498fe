//! An object of a watch that need not be readable.
//!
//! A list or watch of plain types fails as a whole where one object can't be decoded (an old
//! CRD, a newer operator's field). Here such an object keeps its metadata and its raw form,
//! so that it is reported, still counted where it is assigned, and harms no other.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// An object as it came, readable or not.
#[derive(Clone, Debug)]
pub struct Decoded<K>(pub Result<K, Undecodable>);

/// An object that is not what its kind's type expects.
#[derive(Clone, Debug)]
pub struct Undecodable {
    /// Its metadata.
    pub metadata: ObjectMeta,
    /// What is wrong with the rest.
    pub error: String,
    /// All of it.
    pub raw: Value,
}

impl Undecodable {
    /// The longest error that is kept: it is shown in conditions and events.
    const MAX_ERROR_CHARS: usize = 512;

    /// A part of the object by JSON pointer, where that part is readable by itself.
    pub fn part<T: DeserializeOwned>(&self, pointer: &str) -> Option<T> {
        self.raw
            .pointer(pointer)
            .and_then(|part| T::deserialize(part).ok())
    }
}

impl<'de, K: DeserializeOwned> Deserialize<'de> for Decoded<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Value::deserialize(deserializer)?;
        Ok(Self(match serde_path_to_error::deserialize::<_, K>(&raw) {
            Ok(object) => Ok(object),
            Err(error) => Err(Undecodable {
                metadata: raw
                    .get("metadata")
                    .map_or_else(|| Ok(ObjectMeta::default()), ObjectMeta::deserialize)
                    .map_err(D::Error::custom)?,
                error: error
                    .to_string()
                    .chars()
                    .take(Undecodable::MAX_ERROR_CHARS)
                    .collect(),
                raw,
            }),
        }))
    }
}

impl<K: Resource> Resource for Decoded<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::kind(dt)
    }

    fn group(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::group(dt)
    }

    fn version(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::version(dt)
    }

    fn plural(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::plural(dt)
    }

    fn meta(&self) -> &ObjectMeta {
        match &self.0 {
            Ok(object) => object.meta(),
            Err(broken) => &broken.metadata,
        }
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match &mut self.0 {
            Ok(object) => object.meta_mut(),
            Err(broken) => &mut broken.metadata,
        }
    }
}

#[cfg(test)]
mod tests {
    use agentvm_crds::AgentVM;
    use agentvm_crds::agentvm::Assignment;
    use kube::Resource as _;
    use serde_json::json;

    use super::Decoded;

    fn decode(object: serde_json::Value) -> Decoded<AgentVM> {
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn an_unreadable_object_keeps_its_name_and_its_assignment() {
        let vm = decode(json!({
            "apiVersion": "agentvm.dev/v1alpha1", "kind": "AgentVM",
            "metadata": {"name": "odd", "namespace": "lab", "uid": "u1"},
            "spec": {"image": 7},
            "status": {"assignment": {"nodeName": "n1", "epoch": 3}},
        }));
        assert_eq!(vm.meta().name.as_deref(), Some("odd"));
        let broken = vm.0.unwrap_err();
        assert!(broken.error.contains("invalid type"), "{}", broken.error);
        let assignment: Assignment = broken.part("/status/assignment").unwrap();
        assert_eq!(assignment.epoch, 3);
    }

    #[test]
    fn a_field_of_tomorrow_is_refused_not_ignored() {
        let vm = decode(json!({
            "apiVersion": "agentvm.dev/v1alpha1", "kind": "AgentVM",
            "metadata": {"name": "new"}, "spec": {"image": "r/a", "sandbox": "stronger"},
        }));
        assert!(vm.0.unwrap_err().error.contains("sandbox"));
    }

    #[test]
    fn a_readable_object_is_read() {
        let vm = decode(json!({
            "apiVersion": "agentvm.dev/v1alpha1", "kind": "AgentVM",
            "metadata": {"name": "good"}, "spec": {"image": "r/a"},
        }));
        assert_eq!(vm.0.unwrap().spec.image.as_deref(), Some("r/a"));
    }
}
