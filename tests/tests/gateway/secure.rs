//! TLS: whom the gateway trusts, and whom it does not.

use crate::world::{World, rule, terms};
use agentvm_tests::internet::authority::{Authority, self_signed};
use agentvm_tests::internet::network::alone;
use agentvm_tests::internet::upstream::{ok, plain, secure};

const URL: &str = "https://api.heron.example/";

async fn world(authority: &Authority) -> World {
    let allowed = terms(vec![rule("api.heron.example", "https", &[443])]);
    let world = World::trusting(authority.roots(), allowed).await;
    world.dns.addresses("api.heron.example", &["93.184.0.1"]);
    world
}

#[test]
fn f21_a_certificate_for_the_name_by_a_trusted_authority_is_good() {
    alone(|| async {
        let authority = Authority::default();
        let world = world(&authority).await;
        let acceptor = authority.acceptor("api.heron.example");
        let _host = secure("93.184.0.1:443", ok("hello"), acceptor).await;
        assert_eq!(world.get(URL).await.body.as_deref(), Some("hello"));
    });
}

#[test]
fn f21_every_other_certificate_is_refused_before_a_byte_of_the_request() {
    type Make = fn(&Authority) -> tokio_rustls::TlsAcceptor;
    let bad: [Make; 5] = [
        |_authority| self_signed("api.heron.example"),
        |_authority| Authority::default().acceptor("api.heron.example"),
        |authority| authority.acceptor("evil.example"),
        |authority| {
            authority.acceptor_of("api.heron.example", |params| {
                params.not_after = rcgen::date_time_ymd(2020, 1, 1);
            })
        },
        |authority| {
            authority.acceptor_of("api.heron.example", |params| {
                params.not_before = rcgen::date_time_ymd(2999, 1, 1);
            })
        },
    ];
    for make in bad {
        alone(move || async move {
            let authority = Authority::default();
            let world = world(&authority).await;
            let host = secure("93.184.0.1:443", ok("hello"), make(&authority)).await;
            world.get(URL).await.refused_as("TLS-certificate-error");
            assert!(host.requests().is_empty());
        });
    }
}

#[test]
fn f21_a_host_without_tls_is_not_spoken_to_in_the_clear() {
    alone(|| async {
        let authority = Authority::default();
        let world = world(&authority).await;
        let host = plain("93.184.0.1:443", ok("hello")).await;
        let got = world.get(URL).await;
        assert!(got.error.is_some(), "{got:?}");
        assert!(!host.requests().concat().contains("GET"));
    });
}
