//! Laws of `effective`, whatever is asked and whatever is ruled.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a panic is the report"
)]

use agentvm_policy::egress::{Cidr, Rule, RuleText};
use agentvm_policy::{
    EgressAsk, Grants, LimitField, LimitRequest, Limits, Mode, PolicyRules, Request, Verdict,
    effective,
};
use proptest::prelude::*;

/// Boxed, as others are: a tree of so many of them does not fit on a test's stack.
fn amount(field: LimitField) -> BoxedStrategy<Option<u64>> {
    let (min, max) = (field.min(), field.max());
    prop_oneof![
        2 => Just(None),
        4 => (min..=max).prop_map(Some),
        1 => Just(Some(min)),
        1 => Just(Some(max)),
        1 => any::<u64>().prop_map(Some),
    ]
    .boxed()
}

prop_compose! {
    fn limits()(
        memory_bytes in amount(LimitField::Memory),
        cpu_millicores in amount(LimitField::Cpu),
        fuel in amount(LimitField::Fuel),
        timeout_ms in amount(LimitField::Timeout),
        log_rate_bytes_per_second in amount(LimitField::LogRate),
        log_total_bytes in amount(LimitField::LogTotal),
        storage_bytes in amount(LimitField::Storage),
        inodes in amount(LimitField::Inodes),
        open_files in amount(LimitField::OpenFiles),
        network in [LimitField::Connections, LimitField::Egress, LimitField::EgressRate].map(amount),
    ) -> LimitRequest {
        let [connections, egress_bytes, egress_bytes_per_second] = network;
        LimitRequest {
            memory_bytes, cpu_millicores, fuel, timeout_ms, log_rate_bytes_per_second,
            log_total_bytes, storage_bytes, inodes, open_files, connections, egress_bytes,
            egress_bytes_per_second,
        }
    }
}

fn one_of(texts: &'static [&'static str]) -> impl Strategy<Value = String> {
    proptest::sample::select(texts).prop_map(str::to_owned)
}

fn some_of(texts: &'static [&'static str]) -> impl Strategy<Value = Vec<String>> {
    proptest::sample::subsequence(texts, 1..=texts.len())
        .prop_map(|texts| texts.into_iter().map(str::to_owned).collect())
}

prop_compose! {
    /// Few enough of everything that policies often allow what is asked.
    fn rule()(
        host in one_of(&["*", "*.heron.example", "api.heron.example", "10.2.0.0/16", "10.2.3.4"]),
        ports in proptest::sample::subsequence(vec![443, 8443], 0..=2),
        scheme in proptest::option::of(one_of(&["https", "http"])),
        methods in prop_oneof![Just(vec!["*".to_owned()]), some_of(&["GET", "POST"])],
        paths in prop_oneof![Just(vec!["*".to_owned()]), some_of(&["/v1/*", "/v1/a"])],
    ) -> RuleText {
        RuleText { host, ports, scheme, methods, paths }
    }
}

prop_compose! {
    fn ask()(rule in rule(), injects in any::<bool>()) -> EgressAsk {
        EgressAsk { rule, injects }
    }
}

fn network() -> impl Strategy<Value = Cidr> {
    let networks = vec!["10.2.0.0/16", "10.2.3.0/24", "10.3.0.0/16", "10.2.3.4"];
    proptest::sample::select(networks).prop_map(|text| text.parse().unwrap())
}

prop_compose! {
    fn request()(
        limits in limits().boxed(),
        clock_resolution_ns in proptest::option::of(0_u64..1_100_000),
        secrets in 0_usize..3,
        egress in proptest::collection::vec(ask().boxed(), 0..3),
    ) -> Request {
        let secret_mounts = (0..secrets).map(|index| format!("spec.mounts[{index}].secret")).collect();
        Request { limits, clock_resolution_ns, secret_mounts, egress }
    }
}

prop_compose! {
    fn rules(mode: impl Strategy<Value = Mode>)(
        name in "[a-c]",
        mode in mode,
        max in limits().boxed(),
        default in limits().boxed(),
        clock_min_resolution_ns in proptest::option::of(1_u64..1_100_000),
        secret_mounts in any::<bool>(),
        egress in proptest::option::of(proptest::collection::vec(rule().boxed(), 0..4)),
        networks in proptest::collection::vec(network(), 0..3),
    ) -> PolicyRules {
        PolicyRules {
            name, mode, max, default, clock_min_resolution_ns, secret_mounts, egress, networks,
        }
    }
}

/// Policies; two may share a name, as in files they can.
fn policies() -> impl Strategy<Value = Vec<PolicyRules>> {
    let mode = prop_oneof![3 => Just(Mode::Enforce), 1 => Just(Mode::Audit)];
    proptest::collection::vec(rules(mode), 0..5)
}

/// Every number of the grants; unlimited is the largest, and a refused VM gets nothing.
fn amounts(verdict: &Verdict) -> [u64; 12] {
    if !verdict.refused.is_empty() {
        return [0; 12];
    }
    let Limits {
        memory_bytes,
        cpu_millicores,
        fuel,
        timeout_ms,
        log_rate_bytes_per_second,
        log_total_bytes,
        storage_bytes,
        inodes,
        open_files,
        connections,
        egress_bytes,
        egress_bytes_per_second,
    } = verdict.grants.limits;
    let [fuel, timeout] = [fuel, timeout_ms].map(|limit| limit.unwrap_or(u64::MAX));
    [
        memory_bytes,
        cpu_millicores,
        fuel,
        timeout,
        log_rate_bytes_per_second,
        log_total_bytes,
        storage_bytes,
        inodes,
        open_files,
        connections,
        egress_bytes,
        egress_bytes_per_second,
    ]
}

/// A request that names every limit, so that no default stands in for one.
fn explicit(request: &Request) -> Request {
    let or_min = |field: LimitField| Some(field.of(&request.limits).unwrap_or(field.min()));
    Request {
        limits: LimitRequest {
            memory_bytes: or_min(LimitField::Memory),
            cpu_millicores: or_min(LimitField::Cpu),
            fuel: or_min(LimitField::Fuel),
            timeout_ms: or_min(LimitField::Timeout),
            log_rate_bytes_per_second: or_min(LimitField::LogRate),
            log_total_bytes: or_min(LimitField::LogTotal),
            storage_bytes: or_min(LimitField::Storage),
            inodes: or_min(LimitField::Inodes),
            open_files: or_min(LimitField::OpenFiles),
            connections: or_min(LimitField::Connections),
            egress_bytes: or_min(LimitField::Egress),
            egress_bytes_per_second: or_min(LimitField::EgressRate),
        },
        ..request.clone()
    }
}

proptest! {
    #[test]
    fn the_order_of_policies_never_matters(request in request(), policies in policies(), by in 0_usize..5) {
        let mut turned = policies.clone();
        turned.reverse();
        let mut rotated = policies.clone();
        rotated.rotate_left(by.min(policies.len()));
        let verdict = effective(&request, &policies);
        prop_assert_eq!(&verdict, &effective(&request, &turned));
        prop_assert_eq!(&verdict, &effective(&request, &rotated));
    }

    #[test]
    fn one_more_enforce_policy_never_grants_more_of_what_was_asked(
        request in request(),
        policies in policies().prop_filter("some policy is there", |all| !all.is_empty()),
        more in rules(Just(Mode::Enforce)),
    ) {
        let request = explicit(&request);
        let before = effective(&request, &policies);
        let mut all = policies;
        all.push(PolicyRules { name: "one-more".to_owned(), ..more });
        let after = effective(&request, &all);
        prop_assert!(after.refused.len() >= before.refused.len());
        for (before, after) in amounts(&before).into_iter().zip(amounts(&after)) {
            prop_assert!(after <= before);
        }
        prop_assert!(after.grants.clock.is_none() || after.grants.clock == before.grants.clock);
    }

    #[test]
    fn one_more_enforce_policy_never_raises_a_default_that_a_policy_set(
        policies in policies(),
        more in rules(Just(Mode::Enforce)),
    ) {
        let before = effective(&Request::default(), &policies);
        let set = |field: LimitField| policies.iter().any(|p| p.mode == Mode::Enforce && field.of(&p.default).is_some());
        let named = LimitField::ALL.map(set);
        let mut all = policies.clone();
        all.push(PolicyRules { name: "one-more".to_owned(), ..more });
        let after = effective(&Request::default(), &all);
        for ((named, before), after) in named.into_iter().zip(amounts(&before)).zip(amounts(&after)) {
            prop_assert!(!named || after <= before);
        }
    }

    #[test]
    fn no_grant_is_above_an_enforced_ceiling_or_the_built_in_one(request in request(), policies in policies()) {
        let verdict = effective(&request, &policies);
        for (field, granted) in LimitField::ALL.into_iter().zip(amounts(&verdict)) {
            let enforced = policies.iter().filter(|policy| policy.mode == Mode::Enforce);
            let ceiling = enforced.filter_map(|policy| field.of(&policy.max)).min();
            let unlimited_by_default = field.default().is_none() && field.of(&request.limits).is_none();
            prop_assert!(ceiling.is_none_or(|ceiling| granted <= ceiling));
            prop_assert!(granted <= field.max() || granted == u64::MAX && unlimited_by_default);
        }
    }

    #[test]
    fn one_more_audit_policy_never_grants_less(
        request in request(),
        policies in policies(),
        more in rules(Just(Mode::Audit)),
    ) {
        let before = effective(&request, &policies);
        let mut all = policies;
        all.push(PolicyRules { name: "one-more".to_owned(), ..more });
        let after = effective(&request, &all);
        prop_assert!(after.refused.len() <= before.refused.len());
        if before.refused.is_empty() {
            prop_assert_eq!(before.grants, after.grants);
            prop_assert_eq!(before.egress.rules, after.egress.rules);
            let kept = |network| after.egress.networks.contains(network);
            prop_assert!(before.egress.networks.iter().all(kept));
        }
    }

    #[test]
    fn what_is_refused_is_granted_nothing(request in request(), policies in policies()) {
        let verdict = effective(&request, &policies);
        prop_assert!(verdict.refused.is_empty() || verdict.grants == Grants::default());
    }

    #[test]
    fn a_secret_is_mounted_only_where_some_policy_allows_it_or_audits(request in request(), policies in policies()) {
        let verdict = effective(&request, &policies);
        let audits = policies.iter().any(|policy| policy.mode == Mode::Audit);
        let allowed = policies.iter().any(|policy| policy.secret_mounts);
        if verdict.refused.is_empty() && !request.secret_mounts.is_empty() {
            prop_assert!(allowed || audits);
            let strict = policies.iter().filter(|policy| policy.mode == Mode::Enforce);
            prop_assert!(strict.into_iter().all(|policy| policy.secret_mounts));
        }
    }

    #[test]
    fn a_rule_is_granted_only_where_every_enforce_policy_has_one_that_covers_it(
        request in request(),
        policies in policies(),
    ) {
        let verdict = effective(&request, &policies);
        prop_assert_eq!(verdict.grants.network, !verdict.egress.rules.is_empty());
        let strict = policies.iter().filter(|policy| policy.mode == Mode::Enforce);
        for policy in strict {
            let ceiling: Vec<Rule> = policy.egress.iter().flatten().map(|text| Rule::parse(text).unwrap()).collect();
            for text in &verdict.egress.rules {
                prop_assert!(Rule::parse(text).unwrap().is_within(&ceiling));
            }
            for network in &verdict.egress.networks {
                prop_assert!(policy.networks.iter().any(|wider| wider.covers(*network)));
            }
        }
        prop_assert!(verdict.egress.rules.is_empty() || !policies.is_empty());
    }

    #[test]
    fn a_rule_is_refused_only_by_policies_that_do_not_cover_it(request in request(), policies in policies()) {
        let verdict = effective(&request, &policies);
        for refusal in verdict.refused.iter().chain(&verdict.audited) {
            let egress = refusal.field.strip_prefix("spec.capabilities.network.egress[");
            let (Some(rest), Some(name)) = (egress, &refusal.policy) else { continue };
            let index: usize = rest.split(']').next().unwrap().parse().unwrap();
            let rule = Rule::parse(&request.egress[index].rule).unwrap();
            let short = |policy: &&PolicyRules| {
                let open: Vec<Rule> = policy.egress.iter().flatten().map(|text| Rule::parse(text).unwrap()).collect();
                &policy.name == name && !rule.is_within(&open)
            };
            prop_assert!(policies.iter().find(short).is_some(), "{:?}", refusal);
        }
    }

    #[test]
    fn what_is_granted_was_asked_or_is_a_default(request in request(), policies in policies()) {
        let verdict = effective(&request, &policies);
        if verdict.refused.is_empty() {
            for (field, granted) in LimitField::ALL.into_iter().zip(amounts(&verdict)) {
                prop_assert!(field.of(&request.limits).is_none_or(|asked| asked == granted));
            }
        }
    }
}
