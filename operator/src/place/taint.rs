//! Taints and tolerations, by the rules that Pods have.

use k8s_openapi::api::core::v1::{Taint, Toleration};

use crate::nodes::OUT_OF_SERVICE;

/// The key of the first taint that keeps a VM off, `NoExecute` and `NoSchedule` alike.
///
/// Nothing tolerates the out-of-service taint: what is placed there is placed again at once.
pub(super) fn untolerated<'t>(taints: &'t [Taint], tolerations: &[Toleration]) -> Option<&'t str> {
    taints
        .iter()
        .filter(|taint| {
            taint.key == OUT_OF_SERVICE
                || matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute")
        })
        .find(|taint| {
            taint.key == OUT_OF_SERVICE
                || !tolerations
                    .iter()
                    .any(|toleration| tolerates(toleration, taint))
        })
        .map(|taint| taint.key.as_str())
}

/// Taints by which autoscalers say that a node is about to go, whatever their effect.
const GOING: [&str; 2] = ["ToBeDeletedByClusterAutoscaler", "karpenter.sh/disrupted"];
/// Taints by which Kubernetes says that it does not hear from a node. What runs there goes on:
/// a node that is cut off can't be told from one that is down.
const UNHEARD: [&str; 2] = [
    "node.kubernetes.io/unreachable",
    "node.kubernetes.io/not-ready",
];

/// The first taint by which the node must let go of a VM that runs there.
///
/// The out-of-service taint is not one of them: nobody is left there to let go.
pub(crate) fn evicting<'t>(taints: &'t [Taint], tolerations: &[Toleration]) -> Option<&'t Taint> {
    taints.iter().find(|taint| {
        let key = taint.key.as_str();
        let evicts = GOING.contains(&key)
            || (taint.effect == "NoExecute" && key != OUT_OF_SERVICE && !UNHEARD.contains(&key));
        evicts
            && !tolerations
                .iter()
                .any(|toleration| tolerates(toleration, taint))
    })
}

fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let key = toleration.key.as_deref().unwrap_or_default();
    let effect = toleration.effect.as_deref().unwrap_or_default();
    if !effect.is_empty() && effect != taint.effect {
        return false;
    }
    match toleration.operator.as_deref().unwrap_or("Equal") {
        "Exists" => key.is_empty() || key == taint.key,
        "" | "Equal" => {
            key == taint.key
                && toleration.value.as_deref().unwrap_or_default()
                    == taint.value.as_deref().unwrap_or_default()
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{Taint, Toleration};

    use super::{evicting, untolerated};

    fn taint(key: &str, value: &str, effect: &str) -> Taint {
        Taint {
            key: key.into(),
            value: Some(value.into()),
            effect: effect.into(),
            time_added: None,
        }
    }

    fn toleration(key: &str, operator: &str, value: &str, effect: &str) -> Toleration {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Toleration {
            key: some(key),
            operator: some(operator),
            value: some(value),
            effect: some(effect),
            toleration_seconds: None,
        }
    }

    #[test]
    fn tolerations_match_as_they_do_for_pods() {
        let gpu = taint("gpu", "a100", "NoSchedule");
        let cases: [(&str, Toleration, bool); 9] = [
            (
                "same value",
                toleration("gpu", "Equal", "a100", "NoSchedule"),
                true,
            ),
            (
                "the operator defaults to Equal",
                toleration("gpu", "", "a100", ""),
                true,
            ),
            (
                "another value",
                toleration("gpu", "Equal", "t4", "NoSchedule"),
                false,
            ),
            (
                "any value",
                toleration("gpu", "Exists", "", "NoSchedule"),
                true,
            ),
            ("any effect", toleration("gpu", "Exists", "", ""), true),
            (
                "another effect",
                toleration("gpu", "Exists", "", "NoExecute"),
                false,
            ),
            ("any key", toleration("", "Exists", "", ""), true),
            (
                "no key with Equal",
                toleration("", "Equal", "a100", ""),
                false,
            ),
            (
                "an operator of tomorrow",
                toleration("gpu", "Gt", "1", ""),
                false,
            ),
        ];
        for (name, toleration, tolerated) in cases {
            let found = untolerated(std::slice::from_ref(&gpu), &[toleration]);
            assert_eq!(found.is_none(), tolerated, "{name}");
        }
    }

    #[test]
    fn prefer_no_schedule_keeps_nothing_off() {
        assert_eq!(
            untolerated(&[taint("soft", "", "PreferNoSchedule")], &[]),
            None
        );
    }

    #[test]
    fn nothing_tolerates_out_of_service() {
        let taints = [taint(
            "node.kubernetes.io/out-of-service",
            "nodeshutdown",
            "NoExecute",
        )];
        let all = toleration("", "Exists", "", "");
        assert_eq!(
            untolerated(&taints, &[all]),
            Some("node.kubernetes.io/out-of-service")
        );
    }

    #[test]
    fn no_execute_and_what_autoscalers_say_evict_what_does_not_tolerate_it() {
        let cases = [
            (taint("gpu", "a100", "NoSchedule"), false),
            (taint("soft", "", "PreferNoSchedule"), false),
            (taint("maintenance", "now", "NoExecute"), true),
            (
                taint("ToBeDeletedByClusterAutoscaler", "1", "NoSchedule"),
                true,
            ),
            (taint("karpenter.sh/disrupted", "", "NoSchedule"), true),
            (
                taint("node.kubernetes.io/unreachable", "", "NoExecute"),
                false,
            ),
            (
                taint("node.kubernetes.io/not-ready", "", "NoExecute"),
                false,
            ),
            (
                taint("node.kubernetes.io/out-of-service", "", "NoExecute"),
                false,
            ),
        ];
        for (taint, evicts) in cases {
            let taints = [taint];
            let key = &taints[0].key;
            assert_eq!(evicting(&taints, &[]).is_some(), evicts, "{key}");
            let all = toleration("", "Exists", "", "");
            assert_eq!(evicting(&taints, &[all]), None, "{key} is tolerated");
        }
    }
}
