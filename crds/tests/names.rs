//! The names under which kubectl knows our kinds.

/// `kubectl get agentvm heron` fails where `agentvm` is a category: kubectl takes it for a list of
/// kinds then.
#[test]
fn no_category_has_the_name_of_a_kind() {
    let crds = agentvm_crds::crds();
    for crd in &crds {
        let names = &crd.spec.names;
        for category in names.categories.iter().flatten() {
            for other in crds.iter().map(|crd| &crd.spec.names) {
                let mut taken = vec![other.plural.clone(), other.kind.to_lowercase()];
                taken.extend(other.singular.clone());
                taken.extend(other.short_names.iter().flatten().cloned());
                assert!(
                    !taken.contains(category),
                    "category {category} of {}",
                    names.kind
                );
            }
        }
    }
}
