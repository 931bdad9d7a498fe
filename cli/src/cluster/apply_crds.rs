//! Applies the CRDs of this version. It only ever goes forward: a newer schema takes an older
//! program's objects, while an older schema would drop the newer fields of every object.

use std::cmp::Ordering;

use agentvm_crds::answer::sentence;
use agentvm_crds::skew::{compare, version};
use anyhow::anyhow;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt as _};

use crate::print;

const FIELD_MANAGER: &str = "agentvm-crds";

/// Applies every CRD whose live version is not newer, and says what it did with each.
pub(super) async fn apply(client: Client) -> anyhow::Result<()> {
    let api: Api<CustomResourceDefinition> = Api::all(client);
    for crd in agentvm_crds::crds() {
        let name = crd.name_any();
        let live = api
            .get_opt(&name)
            .await
            .map_err(|error| anyhow!("CRD {name} can't be read: {}", sentence(&error)))?;
        let (live, ours) = (live.as_ref().map(version), version(&crd));
        if let Some(live) = live.filter(|live| compare(live, &ours) == Ordering::Greater) {
            print::out(&format!(
                "CRD {name} is of {live}, newer than {ours}: it stays"
            ));
            continue;
        }
        api.patch(
            &name,
            &PatchParams::apply(FIELD_MANAGER).force(),
            &Patch::Apply(&crd),
        )
        .await
        .map_err(|error| anyhow!("CRD {name} can't be applied: {}", sentence(&error)))?;
        print::out(&format!("CRD {name} is of {ours} now"));
    }
    Ok(())
}
