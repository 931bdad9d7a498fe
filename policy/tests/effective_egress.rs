//! What of the network a VM is granted, and what a refusal says.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a panic is the report"
)]

use agentvm_policy::egress::{Cidr, EgressGrant, RuleText};
use agentvm_policy::{EgressAsk, Grants, Mode, PolicyRules, Request, Verdict, effective};

const FIRST: &str = "spec.capabilities.network.egress[0]";

fn rule(host: &str, methods: &[&str], paths: &[&str]) -> RuleText {
    RuleText::new(host, methods, paths)
}

fn asks(rules: &[RuleText]) -> Request {
    let ask = |rule: &RuleText| EgressAsk {
        rule: rule.clone(),
        injects: false,
    };
    Request {
        egress: rules.iter().map(ask).collect(),
        ..Request::default()
    }
}

fn asks_for_a_key(rule: RuleText) -> Request {
    Request {
        egress: vec![EgressAsk {
            rule,
            injects: true,
        }],
        ..Request::default()
    }
}

fn policy(name: &str, rules: &[RuleText]) -> PolicyRules {
    PolicyRules {
        name: name.to_owned(),
        egress: Some(rules.to_vec()),
        ..PolicyRules::default()
    }
}

fn silent() -> PolicyRules {
    PolicyRules {
        egress: None,
        ..policy("silent", &[])
    }
}

fn everything() -> RuleText {
    rule("*", &["*"], &["*"])
}

fn opening(name: &str, mode: Mode, networks: &[&str]) -> PolicyRules {
    PolicyRules {
        mode,
        networks: cidrs(networks),
        ..policy(name, &[everything()])
    }
}

fn cidrs(texts: &[&str]) -> Vec<Cidr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn refused(verdict: &Verdict) -> Vec<(&str, &str)> {
    let refusals = verdict.refused.iter();
    refusals
        .map(|refusal| (refusal.field.as_str(), refusal.message.as_str()))
        .collect()
}

#[test]
fn f01_who_asks_for_no_rule_gets_no_network_whatever_policies_allow() {
    let verdict = effective(
        &Request::default(),
        &[opening("wide", Mode::Enforce, &["10.0.0.0/8"])],
    );
    assert!(!verdict.grants.network);
    assert_eq!(verdict.egress, EgressGrant::default());
    assert_eq!(refused(&verdict), []);
}

#[test]
fn f32_a_star_needs_a_policy_that_says_so() {
    let request = asks(&[everything()]);
    let narrow = policy("narrow", &[rule("*.example.com", &["*"], &["*"])]);
    let cases = [
        (
            vec![],
            FIRST.to_owned(),
            "asks for * https://*:443 /*, no AgentPolicy selects the namespace, and without one no VM has a network",
        ),
        (
            vec![silent()],
            FIRST.to_owned(),
            "asks for * https://*:443 /*, AgentPolicy \"silent\" allows no network, its spec.capabilities.network is not set",
        ),
        (
            vec![policy("empty", &[])],
            FIRST.to_owned(),
            "asks for * https://*:443 /*, AgentPolicy \"empty\" allows no requests, its spec.capabilities.network.egress is empty",
        ),
        (
            vec![narrow],
            format!("{FIRST}.host"),
            "asks for *, AgentPolicy \"narrow\" allows *.example.com",
        ),
    ];
    for (policies, field, rest) in cases {
        let verdict = effective(&request, &policies);
        let message = format!("{field} {rest}");
        assert_eq!(refused(&verdict), [(field.as_str(), message.as_str())]);
        assert_eq!(verdict.grants, Grants::default());
        assert_eq!(verdict.egress, EgressGrant::default());
    }
    let verdict = effective(&request, &[policy("wide", &[everything()])]);
    assert!(verdict.grants.network);
    assert_eq!(verdict.egress.rules, [everything()]);
}

#[test]
fn a_refusal_names_the_first_field_that_is_not_allowed_and_what_is() {
    let ceiling = policy(
        "team",
        &[
            rule("api.example.com", &["GET", "HEAD"], &["/v1/*", "/health"]),
            rule("*.example.org", &["POST"], &["*"]),
        ],
    );
    let with = |change: fn(&mut RuleText)| {
        let mut asked = rule("api.example.com", &["GET"], &["/v1/models"]);
        change(&mut asked);
        asked
    };
    let cases: [(RuleText, &str); 7] = [
        (
            with(|rule| rule.host = "evil.example".into()),
            ".host asks for evil.example, AgentPolicy \"team\" allows *.example.org, api.example.com",
        ),
        (
            with(|rule| rule.scheme = Some("http".into())),
            ".scheme asks for http, AgentPolicy \"team\" allows https there",
        ),
        (
            with(|rule| rule.ports = vec![443, 8443]),
            ".ports asks for 443, 8443, AgentPolicy \"team\" allows 443 there",
        ),
        (
            with(|rule| rule.methods = vec!["GET".into(), "DELETE".into()]),
            ".methods asks for GET, DELETE, AgentPolicy \"team\" allows GET, HEAD there",
        ),
        (
            with(|rule| rule.methods = vec!["*".into()]),
            ".methods asks for *, AgentPolicy \"team\" allows GET, HEAD there",
        ),
        (
            with(|rule| rule.paths = vec!["/v2/*".into()]),
            ".paths asks for /v2/*, AgentPolicy \"team\" allows /health, /v1/* there",
        ),
        (
            with(|rule| rule.host = "10.20.0.7".into()),
            ".host asks for 10.20.0.7, AgentPolicy \"team\" allows *.example.org, api.example.com",
        ),
    ];
    for (asked, rest) in cases {
        let verdict = effective(
            &asks(std::slice::from_ref(&asked)),
            std::slice::from_ref(&ceiling),
        );
        let [(field, message)] = refused(&verdict)[..] else {
            panic!("{asked:?}: {verdict:?}")
        };
        assert_eq!(message, format!("{FIRST}{rest}"));
        assert!(message.starts_with(field));
        assert_eq!(verdict.refused[0].policy.as_deref(), Some("team"));
    }
    let within = asks(&[with(|_| ())]);
    assert_eq!(refused(&effective(&within, &[ceiling])), []);
}

#[test]
fn several_rules_of_one_policy_allow_together_what_none_of_them_does() {
    let ceiling = policy(
        "team",
        &[
            rule("api.example.com", &["GET"], &["/v1/*", "/v2/*"]),
            rule("*.example.com", &["POST"], &["*"]),
        ],
    );
    let both = asks(&[rule(
        "api.example.com",
        &["GET", "POST"],
        &["/v1/*", "/v2/*"],
    )]);
    assert_eq!(
        refused(&effective(&both, std::slice::from_ref(&ceiling))),
        []
    );
    let more = asks(&[rule("api.example.com", &["GET", "POST"], &["*"])]);
    let verdict = effective(&more, &[ceiling]);
    assert_eq!(
        refused(&verdict),
        [(
            "spec.capabilities.network.egress[0].paths",
            "spec.capabilities.network.egress[0].paths asks for *, AgentPolicy \"team\" allows *, /v1/*, /v2/* there"
        )]
    );
}

#[test]
fn every_enforce_policy_must_allow_a_rule_and_each_that_does_not_is_named() {
    let request = asks(&[rule("api.example.com", &["GET"], &["*"])]);
    let verdict = effective(
        &request,
        &[
            silent(),
            policy("wide", &[everything()]),
            policy("empty", &[]),
        ],
    );
    let named: Vec<_> = verdict
        .refused
        .iter()
        .map(|refusal| refusal.policy.as_deref().unwrap())
        .collect();
    assert_eq!(named, ["empty", "silent"]);
}

#[test]
fn an_audit_policy_grants_what_it_does_not_allow_and_reports_it() {
    let request = asks(&[rule("api.example.com", &["GET"], &["*"])]);
    let watcher = PolicyRules {
        mode: Mode::Audit,
        ..silent()
    };
    let verdict = effective(&request, &[watcher]);
    assert_eq!((verdict.refused.len(), verdict.audited.len()), (0, 1));
    assert!(verdict.grants.network);
    assert_eq!(verdict.egress.rules.len(), 1);
}

#[test]
fn a_rule_that_cannot_be_read_refuses_the_vm_even_where_policies_audit() {
    let bad = [
        (rule("", &["GET"], &["*"]), "host"),
        (rule("a.*.example.com", &["GET"], &["*"]), "host"),
        (rule("0x7f.1", &["GET"], &["*"]), "host"),
        (rule("10.0.0.1/8", &["GET"], &["*"]), "host"),
        (rule("api.example.com", &[], &["*"]), "methods"),
        (rule("api.example.com", &["get"], &["*"]), "methods"),
        (rule("api.example.com", &["CONNECT"], &["*"]), "methods"),
        (rule("api.example.com", &["GET"], &[]), "paths"),
        (
            rule("api.example.com", &["GET"], &["/a", "/a/../b"]),
            "paths[1]",
        ),
        (rule("api.example.com", &["GET"], &["/a?b"]), "paths[0]"),
    ];
    let watcher = opening("watcher", Mode::Audit, &[]);
    for (text, name) in bad {
        let good = rule("api.example.com", &["GET"], &["*"]);
        let verdict = effective(&asks(&[good, text.clone()]), std::slice::from_ref(&watcher));
        let [(field, message)] = refused(&verdict)[..] else {
            panic!("{text:?}: {verdict:?}")
        };
        assert_eq!(field, format!("spec.capabilities.network.egress[1].{name}"));
        assert!(message.starts_with(&format!("{field} ")), "{message}");
        assert_eq!(verdict.egress, EgressGrant::default());
    }
}

#[test]
fn h02_a_key_goes_to_one_host_by_tls_alone() {
    let wide = [opening("wide", Mode::Enforce, &[])];
    let with_scheme = |scheme: &str| RuleText {
        scheme: Some(scheme.to_owned()),
        ..rule("api.example.com", &["GET"], &["*"])
    };
    assert_eq!(
        refused(&effective(&asks_for_a_key(with_scheme("https")), &wide)),
        []
    );
    let all = policy(
        "all",
        &[
            everything(),
            rule("0.0.0.0/0", &["*"], &["*"]),
            RuleText {
                scheme: Some("http".to_owned()),
                ..everything()
            },
        ],
    );
    for text in [
        rule("*.example.com", &["GET"], &["*"]),
        everything(),
        rule("203.0.113.7", &["GET"], &["*"]),
        with_scheme("http"),
    ] {
        let verdict = effective(&asks_for_a_key(text.clone()), std::slice::from_ref(&all));
        let [(field, _)] = refused(&verdict)[..] else {
            panic!("{text:?}: {verdict:?}")
        };
        assert_eq!(field, format!("{FIRST}.inject"));
    }
}

#[test]
fn a_private_network_is_open_where_every_enforce_policy_opens_it() {
    let request = asks(&[rule("api.example.com", &["GET"], &["*"])]);
    let enforce = |networks: &[&str]| opening("enforce", Mode::Enforce, networks);
    let audit = |networks: &[&str]| opening("audit", Mode::Audit, networks);
    let cases: [(Vec<PolicyRules>, &[&str]); 7] = [
        (vec![enforce(&["10.1.0.0/16"])], &["10.1.0.0/16"]),
        (vec![enforce(&["10.1.0.0/16"]), enforce(&[])], &[]),
        (
            vec![
                enforce(&["10.1.0.0/16", "10.9.0.0/16"]),
                enforce(&["10.0.0.0/13", "10.9.8.0/24"]),
            ],
            &["10.1.0.0/16", "10.9.8.0/24"],
        ),
        (vec![enforce(&[]), audit(&["10.1.0.0/16"])], &[]),
        (
            vec![enforce(&["10.1.0.0/16"]), audit(&[])],
            &["10.1.0.0/16"],
        ),
        (
            vec![audit(&["10.1.0.0/16"]), audit(&["10.2.0.0/16"])],
            &["10.1.0.0/16", "10.2.0.0/16"],
        ),
        (vec![audit(&[])], &[]),
    ];
    for (policies, expected) in cases {
        let mut turned = policies.clone();
        turned.reverse();
        for policies in [policies, turned] {
            let verdict = effective(&request, &policies);
            assert_eq!(verdict.egress.networks, cidrs(expected), "{policies:?}");
        }
    }
}
