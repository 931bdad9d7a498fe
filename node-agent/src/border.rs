//! The border of the core: where objects come from, where modules come from, where status goes.
//!
//! A cluster implements them over the API server and registries ([`crate::kubernetes`],
//! [`crate::registry`]), `agentvm run` over one file.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use agentvm_cell_api::cell::{VmSpec, VmStatus};
use agentvm_cell_api::client::{CellClient, ClientError};
use agentvm_cell_api::gateway::Denial;
use agentvm_policy::EndReason;
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt as _};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::desired::Want;
use crate::mounts::{Content, Object};
use crate::observed::Gone;
use crate::problem::Problem;
use crate::report::Report;
use crate::source::Source;

/// The other side could not be asked, or gave no answer that can be used.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unanswered(pub String);

/// How old an answer may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// As of the question.
    Live,
    /// As of a moment ago: what the API server remembers, which costs it least.
    Recent,
}

/// Where objects are read, live and not from a cache of one's own.
pub trait Objects: Send + Sync + 'static {
    /// A `ConfigMap`; `None` where there is none of that name.
    fn config_map<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Option<ConfigMap>, Unanswered>>;

    /// What a `ConfigMap` or a Secret holds, for a mount.
    ///
    /// That there is none, or that the agent may not read it, is an answer. No error repeats
    /// anything of what the object holds.
    fn content<'a>(
        &'a self,
        object: &'a Object,
        freshness: Freshness,
    ) -> BoxFuture<'a, Result<Content, Unanswered>>;

    /// What became of an `AgentVM` that left the watch.
    fn whereabouts<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
        uid: &'a str,
    ) -> BoxFuture<'a, Result<Gone, Unanswered>>;
}

/// Where status goes.
pub trait StatusSink: Send + Sync + 'static {
    /// Writes what the agent owns of an object's status. `previous` are its conditions as they
    /// stand. An object that is gone is a success: there is nobody left to tell.
    fn write<'a>(
        &'a self,
        want: &'a Arc<Want>,
        report: &'a Report,
        previous: &'a [Condition],
    ) -> BoxFuture<'a, Result<(), Unanswered>>;

    /// Tells what someone should look at while the VM runs on. The object's status does not change
    /// by it.
    fn warn<'a>(&'a self, want: &'a Arc<Want>, warning: &'a Warning) -> BoxFuture<'a, ()>;
}

/// What someone should look at while a VM runs on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// A change of mounted files does not reach it; told once for each reason.
    FilesNotUpdated(String),
    /// A rule for the network is closed, since a key that it adds can't be had; told once for each
    /// reason.
    KeysNotUpdated(String),
    /// Its requests to one host were denied; told a few times in a window.
    EgressDenied(Denial),
}

impl Warning {
    /// Its reason, from a closed list.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::FilesNotUpdated(_) => "FilesNotUpdated",
            Self::KeysNotUpdated(_) => "KeysNotUpdated",
            Self::EgressDenied(_) => "EgressDenied",
        }
    }

    /// One sentence on it.
    pub fn message(&self) -> Cow<'_, str> {
        match self {
            Self::FilesNotUpdated(message) | Self::KeysNotUpdated(message) => {
                Cow::Borrowed(message)
            }
            Self::EgressDenied(Denial {
                count: 1, message, ..
            }) => Cow::Borrowed(message),
            Self::EgressDenied(Denial { count, message, .. }) => {
                Cow::Owned(format!("{count} requests were denied, such as: {message}"))
            }
        }
    }
}

/// Where modules' bytes come from.
pub trait Modules: Send + Sync + 'static {
    /// Finds out which bytes `source` means now, and how to get them.
    fn locate<'a>(&'a self, source: &'a Source) -> BoxFuture<'a, Result<Located, Problem>>;
}

/// How runs are started in their cell and deleted from it: as it is written here, unless files
/// are copied in and out on the way, as `agentvm run` does.
pub trait Runs: Send + Sync + 'static {
    /// Starts a run.
    fn start<'a>(
        &'a self,
        cell: &'a CellClient,
        uid: &'a str,
        spec: VmSpec,
    ) -> BoxFuture<'a, Result<VmStatus, ClientError>> {
        async move { cell.put_vm(uid, &spec).await }.boxed()
    }

    /// Stops a run with grace, or has its cell forget it where it has ended.
    fn delete<'a>(
        &'a self,
        cell: &'a CellClient,
        uid: &'a str,
        grace: Duration,
        reason: EndReason,
    ) -> BoxFuture<'a, Result<Option<VmStatus>, ClientError>> {
        async move { cell.delete_vm(uid, grace, reason).await }.boxed()
    }
}

/// Runs with nothing on the way.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plainly;

impl Runs for Plainly {}

/// A module that was found, but not fetched yet.
pub struct Located {
    /// Lower-case hex SHA-256 of its bytes.
    pub sha256: String,
    /// Fetches them. Whoever implements it proves the digest and bounds time and size.
    pub fetch: BoxFuture<'static, Result<Bytes, Problem>>,
}

impl std::fmt::Debug for Located {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Located")
            .field("sha256", &self.sha256)
            .finish_non_exhaustive()
    }
}

/// The text values of a `ConfigMap`.
pub fn text_values(map: ConfigMap) -> BTreeMap<String, String> {
    map.data.unwrap_or_default()
}
