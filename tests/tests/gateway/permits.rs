//! Nothing leaves without a rule, and what leaves is what was permitted.

use std::time::Duration;

use agentvm_gateway::vm::Terms;
use http::Request;

use crate::world::{World, rule, terms};
use agentvm_tests::internet::network::alone;
use agentvm_tests::internet::upstream::{at_once, ok, plain};

#[test]
fn f01_f23_without_a_rule_nobody_is_asked_and_nobody_is_reached() {
    alone(|| async {
        let world = World::new(Terms::default()).await;
        world.dns.addresses("api.heron.example", &["93.184.0.1"]);
        let seen = plain("0.0.0.0:80", ok("")).await;
        for url in [
            "http://api.heron.example/",
            "http://169.254.169.254/",
            "https://data.evil.example/",
        ] {
            world.get(url).await.refused_as("HTTP-request-denied");
        }
        assert_eq!((world.dns.asked().len(), seen.connections()), (0, 0));
        world
            .vm
            .set_terms(terms(vec![rule("api.heron.example", "http", &[80])]));
        world
            .get("http://secret-data.evil.example/")
            .await
            .refused_as("HTTP-request-denied");
        assert_eq!((world.dns.asked().len(), seen.connections()), (0, 0));
        assert_eq!(world.get("http://api.heron.example/").await.status, 200);
        assert_eq!((world.dns.asked().len(), seen.connections()), (1, 1));
    });
}

#[test]
fn f14_the_path_that_was_permitted_is_the_path_that_is_sent() {
    alone(|| async {
        let world = World::new(terms(vec![rule("api.heron.example", "http", &[80, 8080])])).await;
        world.dns.addresses("api.heron.example", &["93.184.0.1"]);
        let seen = plain("93.184.0.1:80", ok("")).await;
        let odd = plain("93.184.0.1:8080", ok("")).await;
        world
            .get(&format!(
                "http://{}/%61/%c3%a9?q=%41",
                "API.Heron.Example.:80"
            ))
            .await;
        let sent = &seen.requests()[0];
        assert!(
            sent.starts_with("GET /a/%C3%A9?q=%41 HTTP/1.1\r\n"),
            "{sent}"
        );
        assert!(sent.contains("\r\nhost: api.heron.example\r\n"), "{sent}");
        world.get("http://api.heron.example:8080/").await;
        assert!(odd.requests()[0].contains("\r\nhost: api.heron.example:8080\r\n"));
        for path in [
            "/v1/../admin",
            "/v1/%2e%2e/admin",
            "//admin",
            "/v1/%2fadmin",
        ] {
            let got = world.get(&format!("http://api.heron.example{path}")).await;
            got.refused_as("HTTP-request-URI-invalid");
        }
        assert_eq!(seen.connections(), 1);
    });
}

#[test]
fn f14_headers_that_make_another_request_of_it_never_arrive() {
    alone(|| async {
        let world = World::new(terms(vec![rule("api.heron.example", "http", &[80])])).await;
        world.dns.addresses("api.heron.example", &["93.184.0.1"]);
        let seen = plain("93.184.0.1:80", ok("")).await;
        let request = Request::get("http://api.heron.example/a")
            .header("x-http-method-override", "DELETE")
            .header("x-forwarded-host", "evil.example")
            .header("x-original-url", "/admin")
            .header("proxy-authorization", "Basic x")
            .header("expect", "100-continue")
            .header("accept", "text/plain");
        assert_eq!(world.ask(request).await.status, 200);
        let sent = seen.requests()[0].to_ascii_lowercase();
        let names: Vec<&str> = sent
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(':'))
            .map(|(name, _)| name)
            .collect();
        assert_eq!(names, ["accept", "agentvm-hop", "host"], "{sent}");
        let two = Request::get("http://api.heron.example/a").header("host", "other.example");
        world.ask(two).await.refused_as("HTTP-request-URI-invalid");
        assert_eq!(seen.connections(), 1);
    });
}

#[test]
fn f08_a_redirect_is_an_answer_and_the_next_request_is_decided_on_like_the_first() {
    alone(|| async {
        let world = World::new(terms(vec![rule("api.heron.example", "http", &[80])])).await;
        world.dns.addresses("api.heron.example", &["93.184.0.1"]);
        let metadata = plain("169.254.169.254:80", ok("CANARY")).await;
        for status in [301, 302, 303, 307, 308] {
            let to = "http://169.254.169.254/latest/meta-data";
            let text =
                format!("HTTP/1.1 {status} x\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n");
            let address = format!("93.184.0.1:{status}");
            let _host = plain(&address, at_once(&text)).await;
            world
                .vm
                .set_terms(terms(vec![rule("api.heron.example", "http", &[status])]));
            let got = world
                .get(&format!("http://api.heron.example:{status}/"))
                .await;
            assert_eq!(
                (got.status, &got.headers["location"]),
                (status, &to.parse().unwrap())
            );
            world.get(to).await.refused_as("HTTP-request-denied");
        }
        assert_eq!(metadata.connections(), 0);
    });
}

#[test]
fn f24_a_rule_that_is_gone_cuts_the_answer_it_had_allowed() {
    alone(|| async {
        let world = World::new(terms(vec![rule("api.heron.example", "http", &[80])])).await;
        world.dns.addresses("api.heron.example", &["93.184.0.1"]);
        let endless = at_once("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
        let seen = plain("93.184.0.1:80", endless).await;
        let request = Request::get("http://api.heron.example/");
        let answer = world.open(request, bytes::Bytes::new()).await;
        let mut answer = answer.unwrap().into_body();
        let first = http_body_util::BodyExt::frame(&mut answer)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(first.into_data().unwrap(), "abc");
        world.vm.set_terms(Terms::default());
        let rest = http_body_util::BodyExt::frame(&mut answer);
        let cut = tokio::time::timeout(Duration::from_secs(5), rest)
            .await
            .unwrap();
        assert!(cut.unwrap().is_err());
        world
            .get("http://api.heron.example/")
            .await
            .refused_as("HTTP-request-denied");
        assert_eq!(seen.connections(), 1);
    });
}
