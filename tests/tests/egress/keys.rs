//! Keys stay on the host: they reach the upstream, and nothing else that anybody can read.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::machine::{Machine, NAMESPACE, asking, rule, with_key};
use agentvm_tests::internet::network::alone;
use agentvm_tests::internet::upstream;

/// Long and odd enough to be nothing else.
const KEY: &str = "CANARY-5f2b9c71e0a84d36-heron";

/// Whether anything that a process holds in its memory looks like the key.
fn holds_key(pid: u32) -> bool {
    let maps = File::open(format!("/proc/{pid}/maps")).unwrap();
    let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
    // Not the constant itself, which a search would find in whoever searches.
    let needle = KEY.as_bytes();
    let mut found = false;
    for line in BufReader::new(maps).lines() {
        let line = line.unwrap();
        let mut words = line.split_whitespace();
        let (range, rights) = (words.next().unwrap(), words.next().unwrap());
        if !rights.starts_with("rw") {
            continue;
        }
        let (from, to) = range.split_once('-').unwrap();
        let parse = |hex: &str| u64::from_str_radix(hex, 16).unwrap();
        let (mut at, end) = (parse(from), parse(to));
        let mut chunk = vec![0; 1 << 20];
        while at < end {
            let wanted = chunk.len().min(usize::try_from(end - at).unwrap());
            // A page that was given back meanwhile, or never filled.
            let Ok(read @ 1..) = memory.read_at(&mut chunk[..wanted], at) else {
                break;
            };
            found |= chunk[..read]
                .windows(needle.len())
                .any(|window| window == needle);
            let step = read.saturating_sub(needle.len()).max(1);
            at += u64::try_from(if at + u64::try_from(read).unwrap() >= end {
                read
            } else {
                step
            })
            .unwrap();
        }
    }
    found
}

/// An answer that shows the key in a header and, in two spellings, in its body.
fn reflecting() -> upstream::Script {
    let coded = STANDARD.encode(KEY);
    let body = format!("you sent Bearer {KEY} which is {coded}");
    let length = body.len();
    upstream::at_once(&format!(
        "HTTP/1.1 200 OK\r\nX-Seen: {KEY}\r\nContent-Length: {length}\r\n\r\n{body}"
    ))
}

#[test]
fn h02_a_key_reaches_its_host_and_nothing_that_guest_cell_or_person_can_read() {
    alone(async || {
        let machine = Machine::start("eg-key").await;
        machine.dns.addresses("api.example.com", &["93.184.215.5"]);
        machine
            .dns
            .addresses("other.example.com", &["93.184.215.6"]);
        let acceptor = |name| machine.authority.acceptor(name);
        let seen = upstream::secure(
            "93.184.215.5:443",
            reflecting(),
            acceptor("api.example.com"),
        )
        .await;
        let other = upstream::secure(
            "93.184.215.6:443",
            upstream::ok("fine"),
            acceptor("other.example.com"),
        )
        .await;
        let rules = vec![
            with_key(rule("api.example.com", &["GET"], &["/v1/*"]), KEY),
            rule("other.example.com", &["GET"], &["*"]),
        ];
        machine.allow(NAMESPACE, "u-1", rules).await;
        let args = [
            "GET https://api.example.com/v1/x",
            "GET https://api.example.com/v2",
            "GET https://other.example.com/",
            "GET http://api.example.com/v1/x",
            "SAY bye",
            "HOLD https://api.example.com/v1/y",
        ];
        let cell = machine.begin("u-1", asking(&args)).await;
        let status = machine.end(&cell, "u-1").await;
        let lines = machine.lines(&cell, "u-1").await;

        // The raw bytes at the host: the key, in the place of what the guest had there.
        let requests = seen.requests().concat();
        let sent: Vec<&str> = requests
            .split("\r\n")
            .filter(|line| line.to_ascii_lowercase().starts_with("authorization:"))
            .collect();
        assert_eq!(sent.len(), 2, "{requests}");
        for line in sent {
            let (_, value) = line.split_once(": ").unwrap();
            assert_eq!(value, format!("Bearer {KEY}"));
        }
        let elsewhere = other.requests().concat();
        assert!(
            elsewhere.contains("guests own") && !elsewhere.contains(KEY),
            "{elsewhere}"
        );

        // What the guest printed has covers in it.
        assert!(lines[0].contains(": 200  you sent Bearer "), "{lines:?}");
        let usage = machine.gateway().vms().await.unwrap();
        let reports = machine.gateway().reports(0, Duration::ZERO).await.unwrap();
        let mut all = machine.everything_written();
        assert!(all.len() > 4, "{:?}", all.keys());
        for (name, text) in [
            ("lines", format!("{lines:?}")),
            ("status", serde_json::to_string(&status).unwrap()),
            ("stats", format!("{:?}", cell.stats().await.unwrap())),
            ("usage", serde_json::to_string(&usage).unwrap()),
            ("reports", serde_json::to_string(&reports).unwrap()),
        ] {
            all.insert(name.into(), text);
        }
        let backwards: String = KEY.chars().rev().collect();
        for spelling in [KEY.to_owned(), STANDARD.encode(KEY), backwards] {
            for (name, text) in &all {
                assert!(!text.contains(&spelling), "{} has the key", name.display());
            }
        }
        for pid in machine.pids(NAMESPACE).await {
            assert!(!holds_key(pid), "process {pid} has the key in its memory");
        }
        // The search finds it where it is.
        assert!(holds_key(std::process::id()));
    });
}
