//! The objects of the files, as the agent reads them.

use std::collections::BTreeMap;

use agentvm_crds::ObjectKind;
use agentvm_node_agent::border::{Freshness, Objects, Unanswered};
use agentvm_node_agent::mounts::{Content, Object};
use agentvm_node_agent::observed::Gone;
use futures::future::{BoxFuture, FutureExt as _};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};

/// `ConfigMap`s and Secrets of the files. Every VM that leaves the run was deleted.
#[derive(Debug)]
pub(in crate::run) struct StagedObjects {
    pub(super) config_maps: BTreeMap<(String, String), ConfigMap>,
    pub(super) secrets: BTreeMap<(String, String), Secret>,
}

impl StagedObjects {
    pub(super) fn find(&self, object: &Object) -> Content {
        let key = (object.namespace.clone(), object.name.clone());
        let values = match object.kind {
            ObjectKind::ConfigMap => self.config_maps.get(&key).cloned().map(Into::into),
            ObjectKind::Secret => self.secrets.get(&key).cloned().map(Into::into),
        };
        values.map_or(Content::Missing, Content::Found)
    }
}

impl Objects for StagedObjects {
    fn config_map<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Option<ConfigMap>, Unanswered>> {
        let key = (namespace.to_owned(), name.to_owned());
        async move { Ok(self.config_maps.get(&key).cloned()) }.boxed()
    }

    fn content<'a>(
        &'a self,
        object: &'a Object,
        _freshness: Freshness,
    ) -> BoxFuture<'a, Result<Content, Unanswered>> {
        async move { Ok(self.find(object)) }.boxed()
    }

    fn whereabouts<'a>(
        &'a self,
        _namespace: &'a str,
        _name: &'a str,
        _uid: &'a str,
    ) -> BoxFuture<'a, Result<Gone, Unanswered>> {
        async move { Ok(Gone::Deleted) }.boxed()
    }
}
