//! What is not allowed does not get out, and the guest is told so in words that tell nothing more.

use std::io::{Read as _, Write as _};

use agentvm_cell_api::gateway::{CHANNELS, VM_HEADER};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::AsyncWriteExt as _;

use crate::machine::{Given, Machine, NAMESPACE, asking, plain_rule, rule};
use crate::sentinels::Sentinels;
use agentvm_tests::internet::network::alone;
use agentvm_tests::internet::upstream::{self, ok};

const HOST: &str = "93.184.215.5:443";

/// A machine whose name server knows the API, which answers every request.
async fn with_api(name: &str) -> (Machine, upstream::Seen) {
    let machine = Machine::start(name).await;
    machine.dns.addresses("api.example.com", &["93.184.215.5"]);
    let acceptor = machine.authority.acceptor("api.example.com");
    let seen = upstream::secure(HOST, ok("fine"), acceptor).await;
    (machine, seen)
}

#[test]
fn f01_a_vm_without_rules_asks_nobody_anything() {
    alone(async || {
        let (machine, seen) = with_api("eg-none").await;
        let sentinels = Sentinels::listen().await;
        let urls = sentinels.urls();
        let mut args: Vec<String> = urls.iter().map(|url| format!("GET {url}")).collect();
        args.push("GET https://api.example.com/v1/x".to_owned());
        args.push("DIAL 93.184.215.5:443".to_owned());
        args.push("LOOKUP api.example.com".to_owned());
        for (uid, network) in [("u-1", false), ("u-2", true)] {
            let args = args.clone();
            let namespace = NAMESPACE;
            let given = Given {
                namespace,
                network,
                args,
            };
            let lines = machine.run(uid, given).await;
            assert_eq!(lines.len(), urls.len() + 3, "{lines:?}");
            for line in &lines[..=urls.len()] {
                assert!(line.ends_with(": HTTP-request-denied"), "{line}");
            }
            for line in &lines[urls.len() + 1..] {
                assert!(!line.ends_with(": done"), "{line}");
            }
        }
        assert_eq!(machine.dns.asked(), Vec::<String>::new());
        assert_eq!(seen.connections(), 0);
        sentinels.assert_untouched();
    });
}

#[test]
fn f02_f15_f16_a_rule_for_every_host_opens_neither_metadata_nor_cluster_nor_node() {
    alone(async || {
        let (machine, seen) = with_api("eg-closed").await;
        let sentinels = Sentinels::listen().await;
        machine
            .dns
            .addresses("inside.example.com", &["169.254.169.254"]);
        let anything = [80, 443, 2379, 8080, 10250];
        let rules = vec![
            plain_rule("*", &anything),
            rule("*", &["*"], &["*"]),
            // Rules for addresses open no class that is closed.
            plain_rule("0.0.0.0/0", &anything),
            plain_rule("::/0", &anything),
        ];
        machine.allow(NAMESPACE, "u-1", rules).await;
        let mut urls = sentinels.urls();
        urls.push("http://inside.example.com/".to_owned());
        let mut args: Vec<String> = urls.iter().map(|url| format!("GET {url}")).collect();
        args.push("GET https://api.example.com/v1/x".to_owned());
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let lines = machine.ask("u-1", &args).await;
        for line in &lines[..urls.len()] {
            assert!(line.ends_with(": destination-IP-prohibited"), "{line}");
        }
        // The rule does open what is open.
        assert!(lines[urls.len()].ends_with(": 200  fine"), "{lines:?}");
        assert_eq!(seen.connections(), 1);
        sentinels.assert_untouched();
    });
}

#[test]
fn what_no_rule_allows_is_denied_before_its_name_is_asked_for() {
    alone(async || {
        let (machine, seen) = with_api("eg-rules").await;
        let rules = vec![rule("api.example.com", &["GET"], &["/v1/*"])];
        machine.allow(NAMESPACE, "u-1", rules).await;
        let denied = [
            "GET https://api.example.com/admin",
            "GET https://api.example.com/v1/../admin",
            "GET https://api.example.com/v1/%2e%2e/admin",
            "POST https://api.example.com/v1/x",
            "GET http://api.example.com/v1/x",
            "GET https://api.example.com:8443/v1/x",
            "GET https://other.example.com/v1/x",
            "GET https://data-in-a-name.evil.example/v1/x",
            "FORGE https://api.example.com/v1/x",
        ];
        let mut args = denied.to_vec();
        args.push("GET https://api.example.com/v1/x?y=1");
        let lines = machine.ask("u-1", &args).await;
        for line in &lines[..denied.len()] {
            let told = line.rsplit_once(": ").unwrap().1;
            assert!(
                ["HTTP-request-denied", "HTTP-request-URI-invalid"].contains(&told),
                "{line}"
            );
        }
        assert!(lines[denied.len()].ends_with(": 200  fine"), "{lines:?}");
        assert_eq!(machine.dns.asked(), ["api.example.com"]);
        let requests = seen.requests();
        assert_eq!(requests.len(), 1);
        let first = requests[0].split("\r\n").next();
        assert_eq!(first, Some("GET /v1/x?y=1 HTTP/1.1"));
        // What stands between cell and gateway goes no further, and says who asks.
        let sent = requests[0].to_ascii_lowercase();
        assert!(!sent.contains("agentvm-vm"), "{sent}");
        for access in machine.accesses() {
            assert_eq!(access["uid"], "u-1", "{access}");
        }
    });
}

#[test]
fn h04_a_guest_is_told_codes_and_no_addresses() {
    alone(async || {
        let (machine, _seen) = with_api("eg-words").await;
        machine.dns.addresses("gone.example.com", &["93.184.215.9"]);
        machine.dns.addresses("inside.example.com", &["10.0.0.1"]);
        machine
            .dns
            .addresses("wrong.example.com", &["93.184.215.5"]);
        machine
            .allow(NAMESPACE, "u-1", vec![rule("*", &["*"], &["*"])])
            .await;
        let lines = machine
            .ask(
                "u-1",
                &[
                    "GET https://gone.example.com/",
                    "GET https://wrong.example.com/",
                    "GET https://nobody.example.com/",
                    "GET https://inside.example.com/",
                ],
            )
            .await;
        let told: Vec<&str> = lines
            .iter()
            .map(|line| line.rsplit_once(": ").unwrap().1)
            .collect();
        let expected = [
            "connection-refused",
            "TLS-certificate-error",
            "DNS-error",
            "destination-IP-prohibited",
        ];
        assert_eq!(told, expected, "{lines:?}");
    });
}

#[test]
fn redirects_are_the_guests_to_follow_and_are_decided_on_again() {
    alone(async || {
        let machine = Machine::start("eg-redirect").await;
        machine.dns.addresses("api.example.com", &["93.184.215.5"]);
        let sentinels = Sentinels::listen().await;
        let away =
            "HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n";
        let acceptor = machine.authority.acceptor("api.example.com");
        let seen = upstream::secure(HOST, upstream::at_once(away), acceptor).await;
        let rules = vec![rule("api.example.com", &["GET"], &["/"])];
        machine.allow(NAMESPACE, "u-1", rules).await;
        let lines = machine.ask("u-1", &["GET https://api.example.com/"]).await;
        assert!(
            lines[0].contains(": 302 http://169.254.169.254/"),
            "{lines:?}"
        );
        assert_eq!(seen.requests().len(), 1);
        sentinels.assert_untouched();
    });
}

/// What the gateway answers to a request for the VM `uid` on a channel of `namespace`, as whoever
/// has taken over that namespace's cell could make it.
async fn forged(machine: &Machine, namespace: &str, uid: &str) -> http::HeaderMap {
    let socket = machine.gateway_dir().join(CHANNELS);
    let mut channel = tokio::net::UnixStream::connect(socket).await.unwrap();
    let line = format!("{{\"namespace\":\"{namespace}\"}}\n");
    channel.write_all(line.as_bytes()).await.unwrap();
    let (mut sender, connection) = http2::Builder::new(TokioExecutor::new())
        .handshake::<_, Empty<Bytes>>(TokioIo::new(channel))
        .await
        .unwrap();
    tokio::spawn(connection);
    let request = Request::get("https://api.example.com/v1/x")
        .header(VM_HEADER, uid)
        .body(Empty::new())
        .unwrap();
    let answer = sender.send_request(request).await.unwrap();
    let (parts, body) = answer.into_parts();
    let _body = body.collect().await;
    parts.headers
}

#[test]
fn a_cell_speaks_for_no_vm_of_another_namespace() {
    alone(async || {
        let (machine, seen) = with_api("eg-spaces").await;
        let rules = || vec![rule("api.example.com", &["GET"], &["*"])];
        machine.allow("team-a", "u-a", rules()).await;
        machine.allow("team-b", "u-b", rules()).await;
        let headers = forged(&machine, "team-b", "u-a").await;
        assert_eq!(headers["agentvm-error"], "HTTP-request-denied");
        assert_eq!(seen.connections(), 0);
        let headers = forged(&machine, "team-b", "u-b").await;
        assert!(!headers.contains_key("agentvm-error"), "{headers:?}");
        // And the UID of another namespace's VM is of no use to a VM of one's own.
        let given = Given {
            namespace: "team-b",
            ..asking(&["GET https://api.example.com/v1/x"])
        };
        let lines = machine.run("u-a", given).await;
        assert!(lines[0].ends_with(": HTTP-request-denied"), "{lines:?}");
        assert_eq!(seen.requests().len(), 1);
    });
}

#[test]
fn a_channel_begins_with_the_namespace_that_the_warden_says() {
    alone(async || {
        let (machine, _seen) = with_api("eg-line").await;
        // Whoever says nothing that is one is let go.
        let socket = machine.gateway_dir().join(CHANNELS);
        let mut stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
        stream
            .write_all(b"{\"namespace\":\"team-a\",\"uid\":\"u\"}\n")
            .unwrap();
        let mut rest = Vec::new();
        assert_eq!(stream.read_to_end(&mut rest).unwrap(), 0);
    });
}
