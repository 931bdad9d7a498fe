//! Whether a cluster's CRDs are of this version, older, newer or not there.
//!
//! A CRD only ever goes forward: `docs/adr/0004-crds-go-forward.md` says why.

use std::cmp::Ordering;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::ResourceExt as _;

use crate::VERSION_ANNOTATION;

/// The version of the API that this program speaks.
const SPOKEN: &str = "v1alpha1";

/// The release that a CRD is of; the first ones did not say.
pub fn version(crd: &CustomResourceDefinition) -> String {
    let named = crd.annotations().get(VERSION_ANNOTATION);
    named.cloned().unwrap_or_else(|| "0.0.0".to_owned())
}

/// Which of two releases is newer. One that can't be read is older than every other.
pub fn compare(one: &str, other: &str) -> Ordering {
    numbers(one).cmp(&numbers(other))
}

/// One sentence on what is wrong with the cluster's CRD, beside the one that this program has.
pub fn complaint(
    ours: &CustomResourceDefinition,
    live: Option<&CustomResourceDefinition>,
) -> Option<String> {
    let (name, our_version) = (ours.name_any(), version(ours));
    let bring = "`agentvm cluster apply-crds` or `helm upgrade` brings it";
    let Some(live) = live else {
        return Some(format!("CRD {name} is not installed: {bring}"));
    };
    let live_version = version(live);
    let served: Vec<&str> = live
        .spec
        .versions
        .iter()
        .filter(|version| version.served)
        .map(|version| version.name.as_str())
        .collect();
    if !served.contains(&SPOKEN) {
        return Some(format!(
            "CRD {name} serves {}, and this program of {our_version} speaks {SPOKEN} alone: upgrade the release",
            served.join(", ")
        ));
    }
    match compare(&live_version, &our_version) {
        Ordering::Equal => None,
        Ordering::Less => Some(format!(
            "CRD {name} is of {live_version}, older than this program of {our_version}, and lacks what that may write: {bring} to date"
        )),
        Ordering::Greater => Some(format!(
            "CRD {name} is of {live_version}, newer than this program of {our_version}, which reports VMs with newer fields and does not run them: upgrade the release"
        )),
    }
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

    fn crd(version: &str, served: &str) -> CustomResourceDefinition {
        let mut crd = crate::crds().remove(0);
        crd.annotations_mut()
            .insert(VERSION_ANNOTATION.to_owned(), version.to_owned());
        for version in &mut crd.spec.versions {
            served.clone_into(&mut version.name);
        }
        crd
    }

    #[test]
    fn versions_are_compared_by_number() {
        assert_eq!(compare("0.10.0", "0.9.9"), Ordering::Greater);
        assert_eq!(compare("1.0.0-rc.1", "0.99.0"), Ordering::Greater);
        assert_eq!(compare("none", "0.0.0"), Ordering::Equal);
    }

    #[test]
    fn a_crd_of_another_version_is_complained_of_with_both_versions() {
        let ours = crd("0.4.0", SPOKEN);
        let complaint = |live: Option<&CustomResourceDefinition>| complaint(&ours, live);
        assert_eq!(complaint(Some(&crd("0.4.0", SPOKEN))), None);
        for (live, words) in [
            (None, "is not installed"),
            (
                Some(crd("0.3.9", SPOKEN)),
                "is of 0.3.9, older than this program of 0.4.0",
            ),
            (
                Some(crd("0.5.0", SPOKEN)),
                "is of 0.5.0, newer than this program of 0.4.0",
            ),
            (Some(crd("0.5.0", "v1beta1")), "serves v1beta1"),
        ] {
            let said = complaint(live.as_ref()).unwrap_or_default();
            assert!(said.contains(words), "{said}");
        }
    }

    #[test]
    fn every_crd_names_the_version_that_it_is_of() {
        for crd in crate::crds() {
            assert_eq!(
                version(&crd),
                env!("CARGO_PKG_VERSION"),
                "{}",
                crd.name_any()
            );
        }
    }
}
