//! Addresses that no rule opens: where a name leads there, nobody is reached.

use agentvm_policy::egress::{AddressRules, Exception};

use crate::world::{World, rule, terms};
use agentvm_tests::internet::dns::Answer;
use agentvm_tests::internet::network::alone;
use agentvm_tests::internet::upstream::{Seen, ok, plain};

/// A proxy that nobody asked for.
const PROXY: &str = "93.184.9.9:3128";

/// Listens where nobody must arrive.
async fn sentinels() -> Vec<(&'static str, Seen)> {
    let mut all = Vec::new();
    for address in [
        "169.254.169.254:80",
        "100.100.100.200:80",
        "[fd00:ec2::254]:80",
        "10.96.0.1:80",
        "10.244.1.7:80",
        "192.168.0.1:80",
        "127.0.0.1:80",
        "[::1]:80",
    ] {
        all.push((address, plain(address, ok("CANARY")).await));
    }
    all
}

fn nobody_came(sentinels: &[(&str, Seen)]) {
    for (address, seen) in sentinels {
        assert_eq!(seen.connections(), 0, "{address} was reached");
    }
}

#[test]
fn f02_f04_f05_a_name_that_leads_to_a_closed_address_reaches_nobody() {
    alone(|| async {
        let world = World::new(terms(vec![rule("*", "http", &[80])])).await;
        let sentinels = sentinels().await;
        for address in [
            "169.254.169.254",
            "100.100.100.200",
            "fd00:ec2::254",
            "10.96.0.1",
            "10.244.1.7",
            "192.168.0.1",
            "127.0.0.1",
            "::1",
            "0.0.0.0",
            "::",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
            "224.0.0.1",
            "255.255.255.255",
            "fe80::1",
        ] {
            let name = "rebound.heron.example";
            world.dns.addresses(name, &[address]);
            let got = world.get(&format!("http://{name}/")).await;
            got.refused_as("destination-IP-prohibited");
        }
        nobody_came(&sentinels);
    });
}

#[test]
fn f07_one_closed_address_among_others_closes_them_all() {
    alone(|| async {
        let world = World::new(terms(vec![rule("*.heron.example", "http", &[80])])).await;
        let sentinels = sentinels().await;
        let public = plain("93.184.0.1:80", ok("")).await;
        for mixed in [
            &["93.184.0.1", "10.96.0.1"][..],
            &["10.96.0.1", "93.184.0.1"],
            &["93.184.0.1", "::1"],
            &["93.184.0.1", "fd00:ec2::254"],
        ] {
            world.dns.addresses("a.heron.example", mixed);
            let got = world.get("http://a.heron.example/").await;
            got.refused_as("destination-IP-prohibited");
        }
        let inside = vec!["10.96.0.1".parse().unwrap()];
        world.dns.say(
            "b.heron.example",
            &[Answer::Alias("inside.example", inside)],
        );
        let got = world.get("http://b.heron.example/").await;
        got.refused_as("destination-IP-prohibited");
        let thousand: Vec<String> = (0..40).map(|n| format!("93.184.1.{n}")).collect();
        let thousand: Vec<&str> = thousand.iter().map(String::as_str).collect();
        world.dns.addresses("c.heron.example", &thousand);
        world
            .get("http://c.heron.example/")
            .await
            .refused_as("DNS-error");
        assert_eq!(public.connections(), 0);
        nobody_came(&sentinels);
    });
}

#[test]
fn f06_a_name_is_looked_up_once_for_a_connection_and_that_answer_holds() {
    alone(|| async {
        let world = World::new(terms(vec![rule("*.heron.example", "http", &[80])])).await;
        let sentinels = sentinels().await;
        let public = plain("93.184.0.1:80", ok("public")).await;
        let address = |text: &str| Answer::Addresses(vec![text.parse().unwrap()]);
        let flips = [
            address("93.184.0.1"),
            address("127.0.0.1"),
            address("93.184.0.1"),
        ];
        world.dns.say("flip.heron.example", &flips);
        let got = world.get("http://flip.heron.example/").await;
        assert_eq!(got.body.as_deref(), Some("public"));
        assert_eq!((world.dns.asked().len(), public.connections()), (1, 1));
        let got = world.get("http://flip.heron.example/").await;
        got.refused_as("destination-IP-prohibited");
        assert_eq!((world.dns.asked().len(), public.connections()), (2, 1));
        nobody_came(&sentinels);
    });
}

#[test]
fn f07_a_name_server_that_fails_opens_nothing() {
    alone(|| async {
        let world = World::new(terms(vec![rule("*.heron.example", "http", &[80])])).await;
        world.dns.say("a.heron.example", &[Answer::Failure]);
        world
            .get("http://a.heron.example/")
            .await
            .refused_as("DNS-error");
        world
            .get("http://none.heron.example/")
            .await
            .refused_as("DNS-error");
        world.dns.addresses("empty.heron.example", &[]);
        world
            .get("http://empty.heron.example/")
            .await
            .refused_as("DNS-error");
        world.dns.say("mute.heron.example", &[Answer::Silence]);
        world
            .get("http://mute.heron.example/")
            .await
            .refused_as("DNS-timeout");
    });
}

#[test]
fn f15_f16_the_cluster_and_our_own_listeners_are_closed_whatever_a_rule_says() {
    alone(|| async {
        let hosts = ["34.118.224.1", "34.118.240.1"];
        let allowed = hosts
            .iter()
            .map(|host| rule(host, "http", &[80, 9810]))
            .collect();
        let mut terms = terms(allowed);
        terms.addresses = AddressRules {
            cluster: vec!["34.118.224.0/20".parse().unwrap()],
            own: vec!["34.118.240.1:9810".parse().unwrap()],
            exceptions: vec![Exception::new("10.0.0.0/8".parse().unwrap()).unwrap()],
        };
        let world = World::new(terms).await;
        let seen = [
            plain("34.118.224.1:80", ok("")).await,
            plain("34.118.240.1:9810", ok("")).await,
        ];
        for authority in ["34.118.224.1", "34.118.240.1:9810"] {
            world
                .get(&format!("http://{authority}/metrics"))
                .await
                .refused_as("destination-IP-prohibited");
        }
        assert_eq!(seen.map(|seen| seen.connections()), [0, 0]);
        assert!(world.dns.asked().is_empty());
    });
}

#[test]
fn f20_no_proxy_of_the_environment_is_used() {
    let proxies = [
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "http_proxy",
        "all_proxy",
    ];
    let is_set = |name: &&str| std::env::var_os(name).is_some();
    if !proxies.iter().any(is_set) {
        // The variables are a process's own, so it is another process that has them.
        let this = std::env::current_exe().unwrap();
        let mut again = std::process::Command::new(this);
        again.args([
            "--exact",
            "addresses::f20_no_proxy_of_the_environment_is_used",
        ]);
        for name in proxies {
            again.env(name, format!("http://{PROXY}"));
        }
        assert!(again.status().unwrap().success());
        return;
    }
    alone(|| async {
        let world = World::new(terms(vec![rule("api.heron.example", "http", &[80])])).await;
        world.dns.addresses("api.heron.example", &["93.184.0.1"]);
        let proxy = plain(PROXY, ok("")).await;
        let host = plain("93.184.0.1:80", ok("")).await;
        assert_eq!(world.get("http://api.heron.example/").await.status, 200);
        assert_eq!((host.connections(), proxy.connections()), (1, 0));
    });
}
