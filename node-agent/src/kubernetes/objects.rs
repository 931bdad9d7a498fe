//! Live reads from the API server.

use std::time::Duration;

use agentvm_crds::{AgentVM, ObjectKind};
use futures::future::{BoxFuture, FutureExt as _};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DynamicObject, GetParams};
use kube::{Api, Client, Resource as _};

use super::secret::{self, allow_command};
use crate::border::{Freshness, Objects, Unanswered};
use crate::mounts::{Content, Object, Values};
use crate::observed::Gone;

/// How long one read may take.
const READ_WITHIN: Duration = Duration::from_secs(20);

/// Live reads from the API server.
#[derive(Clone)]
pub struct LiveObjects {
    client: Client,
    node: String,
}

impl std::fmt::Debug for LiveObjects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LiveObjects")
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

impl LiveObjects {
    /// Reads for the agent of `node`.
    pub fn new(client: Client, node: &str) -> Self {
        Self {
            client,
            node: node.to_owned(),
        }
    }

    async fn read_content(
        &self,
        object: &Object,
        freshness: Freshness,
    ) -> Result<Content, kube::Error> {
        if !can_be_a_name(&object.name) {
            return Ok(Content::Missing);
        }
        let params = match freshness {
            Freshness::Live => GetParams::default(),
            Freshness::Recent => GetParams::any(),
        };
        let read = match object.kind {
            ObjectKind::ConfigMap => {
                let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), &object.namespace);
                api.get_with(&object.name, &params).await.map(Values::from)
            }
            ObjectKind::Secret => secret::read(&self.client, object, &params).await,
        };
        match read {
            Ok(values) => Ok(Content::Found(values)),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(Content::Missing),
            Err(kube::Error::Api(status))
                if status.code == 403 && object.kind == ObjectKind::Secret =>
            {
                let command = allow_command(&object.namespace, &status.message);
                Ok(Content::Forbidden(command))
            }
            Err(error) => Err(error),
        }
    }

    async fn read_whereabouts(
        &self,
        namespace: &str,
        name: &str,
        uid: &str,
    ) -> Result<Gone, kube::Error> {
        // As a dynamic object: one that can't be decoded is still there.
        let kind = kube::api::ApiResource::erase::<AgentVM>(&());
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &kind);
        let Some(object) = api.get_opt(name).await? else {
            return Ok(Gone::Deleted);
        };
        if object.meta().uid.as_deref() != Some(uid) {
            return Ok(Gone::Deleted);
        }
        let node = object
            .data
            .pointer("/status/assignment/nodeName")
            .and_then(|node| node.as_str());
        Ok(if node == Some(self.node.as_str()) {
            Gone::StillHere
        } else {
            Gone::Moved
        })
    }
}

impl Objects for LiveObjects {
    fn config_map<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Option<ConfigMap>, Unanswered>> {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), namespace);
        let what = format!("ConfigMap {namespace}/{name}");
        async move {
            if !can_be_a_name(name) {
                return Ok(None);
            }
            within(&what, api.get_opt(name)).await
        }
        .boxed()
    }

    fn content<'a>(
        &'a self,
        object: &'a Object,
        freshness: Freshness,
    ) -> BoxFuture<'a, Result<Content, Unanswered>> {
        let what = object.to_string();
        async move { within(&what, self.read_content(object, freshness)).await }.boxed()
    }

    fn whereabouts<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
        uid: &'a str,
    ) -> BoxFuture<'a, Result<Gone, Unanswered>> {
        let what = format!("AgentVM {namespace}/{name}");
        async move { within(&what, self.read_whereabouts(namespace, name, uid)).await }.boxed()
    }
}

/// Whether an object can have that name at all.
///
/// The API server has refused others in a manifest, but the client writes a name into the
/// request's path as it is: what a manifest of an older CRD says must not lead to another object.
fn can_be_a_name(name: &str) -> bool {
    let plain = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.'
    };
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    name.len() <= 253
        && bytes.iter().copied().all(plain)
        && edge(bytes.first())
        && edge(bytes.last())
}

async fn within<T>(
    what: &str,
    read: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, Unanswered> {
    match tokio::time::timeout(READ_WITHIN, read).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(Unanswered(format!("{what} can't be read: {}", say(&error)))),
        Err(_elapsed) => Err(Unanswered(format!(
            "{what} can't be read: no answer within {READ_WITHIN:?}"
        ))),
    }
}

pub(super) use agentvm_crds::answer::sentence as say;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_no_object_can_have_never_gets_into_a_path() {
        for good in ["a", "settings", "kube-root-ca.crt", "0.a", &"x".repeat(253)] {
            assert!(can_be_a_name(good), "{good}");
        }
        for bad in [
            "",
            ".",
            "..",
            "../../kube-system/secrets/token",
            "a/b",
            "a?watch=1",
            "a#b",
            "a%2f",
            "-a",
            "a-",
            "A",
            "a b",
            "ä",
            "a\n",
            &"x".repeat(254),
        ] {
            assert!(!can_be_a_name(bad), "{bad}");
        }
    }
}
