//! What is permitted is what is sent: requests that no library would write, and the bytes that
//! reach a host.

use agentvm_gateway::vm::Terms;
use agentvm_policy::egress::{Request, Rule, RuleText, Rules};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use crate::raw::{Said, ask};
use crate::world::World;
use agentvm_tests::internet::network::alone;
use agentvm_tests::internet::upstream::{Seen, ok, plain};

/// How many requests are made up.
const CASES: usize = 500;

fn narrow() -> Terms {
    let text = RuleText {
        ports: vec![80, 8080],
        scheme: Some("http".to_owned()),
        ..RuleText::new("api.heron.example", &["GET", "POST"], &["/v1/*", "/exact"])
    };
    Terms {
        rules: Rules::new(vec![Rule::parse(&text).unwrap()]),
        ..Terms::default()
    }
}

struct Hosts {
    world: World,
    ours: [Seen; 2],
    others: Vec<Seen>,
}

impl Hosts {
    async fn new() -> Self {
        let world = World::new(narrow()).await;
        world.dns.addresses("api.heron.example", &["93.184.0.1"]);
        for name in ["evil.example", "api.heron.example.evil.example"] {
            world.dns.addresses(name, &["93.184.0.2"]);
        }
        let ours = [
            plain("93.184.0.1:80", ok("")).await,
            plain("93.184.0.1:8080", ok("")).await,
        ];
        let mut others = Vec::new();
        for address in [
            "93.184.0.2:80",
            "0.0.0.0:443",
            "93.184.0.2:8080",
            "127.0.0.1:80",
        ] {
            others.push(plain(address, ok("CANARY")).await);
        }
        Self {
            world,
            ours,
            others,
        }
    }

    fn arrived(&self) -> usize {
        self.ours.iter().flat_map(Seen::counts).sum()
    }

    /// Sends one request; true where it arrived, and then as it was permitted.
    async fn holds(&self, parts: [&[u8]; 4]) -> bool {
        let (asked, arrived) = (self.world.dns.asked().len(), self.arrived());
        let said = ask(self.world.channel(), parts).await;
        let shown = parts.map(String::from_utf8_lossy);
        let text = parts.map(|part| std::str::from_utf8(part).ok());
        let permitted = match text {
            [Some(method), Some(scheme), Some(authority), Some(path)] => {
                // HTTP/2's library drops a fragment before anybody decides.
                let path = path.split('#').next().unwrap_or_default();
                Request::parse(method, scheme, authority, path)
                    .ok()
                    .and_then(|request| narrow().rules.permit(request).ok())
            }
            _ => None,
        };
        for other in &self.others {
            assert_eq!(other.connections(), 0, "{shown:?}");
        }
        if said != Said::Ok {
            assert_eq!(self.arrived(), arrived, "{shown:?}");
            assert_eq!(self.world.dns.asked().len(), asked, "{shown:?}");
            return false;
        }
        assert!(permitted.is_some(), "{shown:?} was sent");
        let permitted = permitted.unwrap();
        let request = permitted.request();
        let host = &self.ours[usize::from(request.port == 8080)];
        assert_eq!(self.arrived(), arrived + 1, "{shown:?}");
        let last = host
            .messages()
            .into_iter()
            .filter_map(|all| all.last().cloned())
            .find(|message| message.line() == line(request));
        assert!(last.is_some(), "{shown:?} came as something else");
        let last = last.unwrap();
        assert_eq!(last.header("host"), [request.authority()], "{shown:?}");
        assert!(last.body.is_empty() && last.is_whole, "{shown:?}");
        true
    }
}

fn line(request: &Request) -> String {
    format!("{} {} HTTP/1.1", request.method.as_str(), request.target)
}

/// Pieces that a parser may read differently than its neighbour.
fn any_request() -> impl Strategy<Value = [Vec<u8>; 4]> {
    type Texts = &'static [&'static str];
    let of = |all: Texts| prop::sample::select(all);
    let mostly = |good: Texts, odd: Texts| prop_oneof![6 => of(good), 1 => of(odd)];
    let method = mostly(
        &["GET", "POST"],
        &["get", "GET ", "PUT", "CONNECT", "TRACE", "", "G\u{0}T"],
    );
    let scheme = mostly(&["http"], &["https", "HTTP", "ftp", ""]);
    let host = mostly(
        &[
            "api.heron.example",
            "API.heron.example",
            "api.heron.example.",
        ],
        &[
            "evil.example",
            "api.heron.example.evil.example",
            "evilapi.heron.example",
            "api.heron.example@evil.example",
            "evil.example#api.heron.example",
            "93.184.0.2",
            "2130706433",
            "0x7f.1",
            "[::1]",
            "api.heron.example\u{0}",
            "%61pi.heron.example",
            "",
        ],
    );
    let port = mostly(
        &["", ":80", ":8080"],
        &[":080", ":+80", ":", ":443", ":80:81", ": 80"],
    );
    let piece = mostly(
        &[
            "/", "v1", "a", "/v1/", "%61", ";x=1", "?q=%41", "%C3%A9", "%c3%a9", "&", "=", "~",
            "+", "*", "/exact", "admin",
        ],
        &[
            "..",
            ".",
            "%2e%2e",
            "%2E.",
            "%2f",
            "%5c",
            "\\",
            "#f",
            " ",
            "\t",
            "\r\n",
            "\u{0}",
            "%00",
            "%",
            "%zz",
            "%25",
            "\u{e9}",
            "%C0%AE",
            "\u{ff0f}",
            "//",
            "http://evil.example/",
            "HTTP/1.1\r\nx: y",
            "|",
            "[",
            "\"",
        ],
    );
    let path = (any::<bool>(), prop::collection::vec(piece, 0..5)).prop_map(|(rooted, pieces)| {
        let rest = pieces.concat();
        if rooted { format!("/v1/{rest}") } else { rest }
    });
    (method, scheme, host, port, path).prop_map(|(method, scheme, host, port, path)| {
        [
            method.to_owned(),
            scheme.to_owned(),
            format!("{host}{port}"),
            path,
        ]
        .map(String::into_bytes)
    })
}

#[test]
fn f09_f11_f12_f13_f14_what_is_permitted_is_what_is_sent_whatever_is_asked() {
    alone(|| async {
        let hosts = Hosts::new().await;
        let mut runner = TestRunner::deterministic();
        let strategy = any_request();
        let mut sent = 0;
        for _ in 0..CASES {
            let request = strategy.new_tree(&mut runner).unwrap().current();
            let parts = request.each_ref().map(Vec::as_slice);
            sent += usize::from(hosts.holds(parts).await);
        }
        assert!(sent > CASES / 50 && sent < CASES / 2, "{sent}");
    });
}

#[test]
fn f09_f11_f12_f14_f29_known_tricks_reach_nobody() {
    alone(|| async {
        let hosts = Hosts::new().await;
        let long = format!("/v1/{}", "a".repeat(9 << 10));
        let query = format!("/v1/?{}", "q=1&".repeat(3_000));
        let host = "api.heron.example";
        for [method, scheme, authority, path] in [
            ["GET", "http", "user@api.heron.example", "/v1/a"],
            ["GET", "http", "api.heron.example:80@evil.example", "/v1/a"],
            ["GET", "http", "evil.example\\@api.heron.example", "/v1/a"],
            ["GET", "http", "api.heron.example:0", "/v1/a"],
            ["GET", "http", "api.heron.example:65536", "/v1/a"],
            ["GET", "https", host, "/v1/a"],
            ["GET", "http", host, "/v1/a HTTP/1.1\r\nx: y"],
            [
                "GET",
                "http",
                host,
                "/v1/a\r\n\r\nGET /admin HTTP/1.1\r\n\r\n",
            ],
            ["GET", "http", host, "/v1/a\0"],
            ["GET", "http", host, "http://evil.example/v1/a"],
            ["GET", "http", host, "//evil.example/v1/a"],
            ["GET", "http", host, "/v1/../admin"],
            ["GET", "http", host, "/v1/%2e%2e/admin"],
            ["GET", "http", host, "/v1/..;/admin"],
            ["GET", "http", host, "/v1/%2fadmin"],
            ["GET", "http", host, "/v1/%5cadmin"],
            ["GET", "http", host, "*"],
            ["GET", "http", host, ""],
            ["GET", "http", host, &long],
            ["GET", "http", host, &query],
            ["CONNECT", "http", "api.heron.example:80", "/v1/a"],
            ["TRACE", "http", host, "/v1/a"],
            ["GET /v1/a HTTP/1.1\r\n", "http", host, "/v1/a"],
        ] {
            let parts = [method, scheme, authority, path].map(str::as_bytes);
            assert!(
                !hosts.holds(parts).await,
                "{method} {scheme} {authority} {path}"
            );
        }
        let plain = ["GET", "http", host, "/v1/a"].map(str::as_bytes);
        assert!(hosts.holds(plain).await);
    });
}
