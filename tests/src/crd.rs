//! CRDs that the API server has taken up.

use serde_json::Value;

use crate::Result;
use crate::control_plane::ControlPlane;
use crate::vm::condition;
use crate::wait::{self, Look};

const PATH: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// Waits until every CRD is established. `kubectl wait` fails on one that has no status yet.
pub fn wait_until_established(plane: &ControlPlane) -> Result<()> {
    wait::until("every CRD to be established", || {
        let list = plane.api.get(PATH)?.unwrap_or_default();
        let crds = list.get("items").and_then(Value::as_array);
        let waiting = crds
            .into_iter()
            .flatten()
            .find(|crd| condition(crd, "Established").is_none_or(|found| found.status != "True"));
        Ok(match waiting {
            None => Look::Yes(()),
            Some(crd) => Look::NotYet(crate::vm::text(crd, "/metadata/name")),
        })
    })
}
