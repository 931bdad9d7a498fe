//! The API server's audit log: who wrote what, however it was written.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::Result;

/// The policy: names of requests to our own resources, without bodies.
pub const POLICY: &str = r"
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  verbs: [create, update, patch, delete]
  resources: [{group: agentvm.dev}, {group: coordination.k8s.io}, {group: events.k8s.io}]
- level: None
";

/// The log of one API server.
#[derive(Clone, Debug)]
pub struct AuditLog {
    path: PathBuf,
}

/// One write that the API server has taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditedWrite {
    /// The user's name.
    pub user: String,
    /// `create`, `update`, `patch` or `delete`.
    pub verb: String,
    /// Such as `agentvms`.
    pub resource: String,
    /// `status`, or empty.
    pub subresource: String,
    /// Such as `demo/hello`.
    pub object: String,
    /// The HTTP status.
    pub code: u64,
    /// The Pod that the user's token is bound to, or empty.
    pub pod: String,
}

impl AuditedWrite {
    /// The user's name without the part that all service accounts have.
    pub fn account(&self) -> &str {
        self.user.rsplit(':').next().unwrap_or(&self.user)
    }
}

impl AuditLog {
    /// The log in the file `path`.
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
        }
    }

    /// Every write of the status of one `AgentVM`, refused ones too.
    pub fn status_writes(&self, namespace: &str, name: &str) -> Result<Vec<AuditedWrite>> {
        let object = format!("{namespace}/{name}");
        let mut writes = self.writes()?;
        writes.retain(|w| {
            w.resource == "agentvms" && w.subresource == "status" && w.object == object
        });
        Ok(writes)
    }

    /// Every write.
    pub fn writes(&self) -> Result<Vec<AuditedWrite>> {
        // The last line may be half written.
        let log = fs::read_to_string(&self.path)?;
        Ok(log
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .map(|event| write(&event))
            .collect())
    }
}

fn write(event: &Value) -> AuditedWrite {
    let text = |path: &str| {
        event
            .pointer(path)
            .and_then(Value::as_str)
            .unwrap_or("")
            .to_owned()
    };
    AuditedWrite {
        user: text("/user/username"),
        verb: text("/verb"),
        resource: text("/objectRef/resource"),
        subresource: text("/objectRef/subresource"),
        object: format!(
            "{}/{}",
            text("/objectRef/namespace"),
            text("/objectRef/name")
        ),
        code: event
            .pointer("/responseStatus/code")
            .and_then(Value::as_u64)
            .unwrap_or(0),
        pod: text("/user/extra/authentication.kubernetes.io~1pod-name/0"),
    }
}
