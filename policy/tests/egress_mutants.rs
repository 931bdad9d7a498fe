//! Each guard of the network, off: the attack that it holds back then succeeds.
#![expect(clippy::unwrap_used, reason = "tests: a panic is the report")]

use std::net::SocketAddr;

use agentvm_policy::egress::{
    AddressRules, Cidr, Exception, Host, Request, Rule, RuleText, Rules, Target,
};
use agentvm_policy::guards::{Guard, switch_off};

/// Shows that `attack` succeeds without `guard` alone.
fn holds_back(guard: Guard, attack: impl Fn() -> bool) {
    assert!(!attack(), "{guard:?} is on, and the attack succeeds");
    assert!(switch_off(guard, attack), "{guard:?} holds nothing back");
}

fn allows(host: &str, method: &str, url: &str) -> bool {
    let rule = Rule::parse(&RuleText::new(host, &["GET"], &["/v1/*"])).unwrap();
    let permitted =
        Request::of_url(method, url).map(|request| Rules::new(vec![rule]).permit(request));
    matches!(permitted, Ok(Ok(_)))
}

fn admits(rules: &AddressRules, address: &str) -> bool {
    rules.admit(address.parse::<SocketAddr>().unwrap()).is_ok()
}

#[test]
fn f01_without_the_rules_everything_is_allowed() {
    let request = Request::of_url("GET", "https://evil.example.com/").unwrap();
    holds_back(Guard::EgressRules, || {
        Rules::default().permit(request.clone()).is_ok()
    });
}

#[test]
fn f03_without_the_check_of_numbers_an_address_in_another_base_is_a_name() {
    for host in ["0251.0376.0251.0376", "127.1", "0x7f.1"] {
        holds_back(Guard::NumericHosts, || Host::parse(host).is_ok());
    }
}

#[test]
fn f09_without_the_check_of_users_the_host_is_what_stands_behind_the_at() {
    holds_back(Guard::Userinfo, || {
        allows(
            "evil.example",
            "GET",
            "https://allowed.example@evil.example/v1/a",
        )
    });
}

#[test]
fn f12_without_exact_ports_and_schemes_others_are_reached() {
    holds_back(Guard::ExactPort, || {
        allows(
            "api.example.com",
            "GET",
            "https://api.example.com:8443/v1/a",
        )
    });
    holds_back(Guard::ExactScheme, || {
        allows("api.example.com", "GET", "http://api.example.com:443/v1/a")
    });
}

#[test]
fn f13_without_the_border_of_labels_another_domain_matches() {
    holds_back(Guard::HostBoundary, || {
        allows("*.heron.example", "GET", "https://evilheron.example/v1/a")
    });
}

#[test]
fn f14_without_exact_methods_and_paths_others_are_reached() {
    holds_back(Guard::ExactMethod, || {
        allows("api.example.com", "DELETE", "https://api.example.com/v1/a")
    });
    holds_back(Guard::ExactPath, || {
        allows("api.example.com", "GET", "https://api.example.com/admin")
    });
}

#[test]
fn f14_without_the_canonical_form_a_path_leads_out_of_its_rule() {
    for path in [
        "/v1/../admin",
        "/v1/%2e%2e/admin",
        "/v1/%252e%252e/admin",
        "/v1/..;/admin",
    ] {
        holds_back(Guard::CanonicalPath, || Target::parse(path).is_ok());
        let url = format!("https://api.example.com{path}");
        holds_back(Guard::CanonicalPath, || {
            allows("api.example.com", "GET", &url)
        });
    }
}

#[test]
fn f02_f05_without_the_table_of_addresses_metadata_and_loopback_are_reached() {
    let rules = AddressRules::default();
    for address in [
        "169.254.169.254:80",
        "127.0.0.1:80",
        "[::1]:80",
        "10.0.0.1:443",
        "[fe80::1]:80",
    ] {
        holds_back(Guard::SpecialAddresses, || admits(&rules, address));
    }
}

#[test]
fn f04_without_the_check_of_embedded_addresses_they_are_reached() {
    let rules = AddressRules::default();
    for address in [
        "[::ffff:169.254.169.254]:80",
        "[64:ff9b::a9fe:a9fe]:80",
        "[2002:a9fe:a9fe::]:80",
    ] {
        holds_back(Guard::EmbeddedAddresses, || admits(&rules, address));
    }
}

#[test]
fn f15_f16_without_their_lists_the_cluster_and_our_listeners_are_reached() {
    let rules = AddressRules {
        cluster: vec!["34.118.224.0/20".parse().unwrap()],
        own: vec!["34.118.240.1:9810".parse().unwrap()],
        exceptions: Vec::new(),
    };
    holds_back(Guard::ClusterAddresses, || {
        admits(&rules, "34.118.224.1:443")
    });
    holds_back(Guard::OwnListeners, || admits(&rules, "34.118.240.1:9810"));
}

#[test]
fn f02_without_its_bounds_an_exception_opens_what_nobody_thought_of() {
    let everything: Cidr = "0.0.0.0/0".parse().unwrap();
    holds_back(Guard::ExceptionBounds, || {
        Exception::new(everything).is_ok()
    });
}
