//! Applies the CRDs of this version. It only ever goes forward: a newer schema takes an older
//! program's objects, while an older schema would drop the newer fields of every object.

use anyhow::Context as _;
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
            .with_context(|| format!("reading CRD {name}"))?;
        let (live, ours) = (live.as_ref().map(version), version(&crd));
        if let Some(live) = live.filter(|live| numbers(live) > numbers(&ours)) {
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
        .with_context(|| format!("applying CRD {name}"))?;
        print::out(&format!("CRD {name} is of {ours} now"));
    }
    Ok(())
}

/// The release that a CRD is of; the first ones did not say.
fn version(crd: &CustomResourceDefinition) -> String {
    let named = crd.annotations().get(agentvm_crds::VERSION_ANNOTATION);
    named.cloned().unwrap_or_else(|| "0.0.0".to_owned())
}

/// Major, minor, patch; what can't be read is older than everything.
fn numbers(version: &str) -> [u64; 3] {
    let mut parts = version.splitn(3, '.').map(|part| {
        let digits = part.split(|c: char| !c.is_ascii_digit()).next();
        digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
    });
    std::array::from_fn(|_| parts.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_number() {
        assert!(numbers("0.10.0") > numbers("0.9.9"));
        assert!(numbers("1.0.0-rc.1") > numbers("0.99.0"));
        assert_eq!(numbers("none"), [0, 0, 0]);
    }

    #[test]
    fn every_crd_names_the_version_that_it_is_of() {
        for crd in agentvm_crds::crds() {
            assert_eq!(
                version(&crd),
                env!("CARGO_PKG_VERSION"),
                "{}",
                crd.name_any()
            );
        }
    }
}
