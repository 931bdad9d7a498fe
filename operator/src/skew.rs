//! Says at the start, once for each, where the cluster's CRDs are of another version.

use std::time::Duration;

use agentvm_crds::answer::sentence;
use agentvm_crds::skew::complaint;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, Client, ResourceExt as _};
use tokio::time::sleep;
use tracing::warn;

/// Time between two attempts where the API server can't be reached.
const RETRY_EVERY: Duration = Duration::from_secs(5);

/// Reads our CRDs and complains of those that are not of this version.
pub async fn tell(client: Client) {
    let api: Api<CustomResourceDefinition> = Api::all(client);
    for ours in agentvm_crds::crds() {
        let name = ours.name_any();
        match read(&api, &name).await {
            Ok(live) => {
                if let Some(complaint) = complaint(&ours, live.as_ref()) {
                    warn!(crd = name, "{complaint}");
                }
            }
            Err(error) => warn!(
                crd = name,
                error = sentence(&error),
                "the CRD can't be read"
            ),
        }
    }
}

/// The live CRD, or what the API server says against reading it.
async fn read(
    api: &Api<CustomResourceDefinition>,
    name: &str,
) -> Result<Option<CustomResourceDefinition>, kube::Error> {
    loop {
        match api.get_opt(name).await {
            Ok(live) => return Ok(live),
            Err(error @ kube::Error::Api(_)) => return Err(error),
            Err(_unreached) => sleep(RETRY_EVERY).await,
        }
    }
}
