//! What the fuzzer does for hours, for some seconds: requests made of pieces that parsers read
//! differently. `AGENTVM_SOAK=1` makes it a hundred times as many.

use agentvm_fuzz_requests::{Became, check};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

const CASES: usize = 20_000;

fn any_request() -> impl Strategy<Value = Vec<u8>> {
    let of = |all: &'static [&'static str]| prop::sample::select(all);
    let method = of(&["GET", "GET", "POST", "DELETE", "get", "TRACE", "G T"]);
    let begin = of(&[
        "https://", "https://", "http://", "HTTPS://", "https:/", "ftp://",
    ]);
    let host = of(&[
        "api.heron.example",
        "api.heron.example",
        "API.Heron.Example.",
        "a.heron.example",
        "heron.example",
        "93.184.0.1",
        "[2001:67c::1]",
        "[2001:067C:0::1]",
        "0x5d.1",
        "user@api.heron.example",
        "api.heron.example:443",
        "api.heron.example:8080",
        "api.heron.example:0443",
        "b\u{fc}cher.heron.example",
    ]);
    let piece = of(&[
        "/", "/v1/", "v1", "admin", "x", "%61", "%2f", "%2e%2e", "..", ".", "?", "q=%41&r", "#",
        ";p", "\\", "%", "%c3%a9", "\u{e9}", " ", "\r\n", "\u{0}", "~", "+", "*", "%25", "//", "@",
        ":", "|", "'", "\"", "<", "{", "^", "`", "%7E", "%7f",
    ]);
    let path = prop::collection::vec(piece, 0..7);
    let name = of(&[
        "accept",
        "host",
        "content-length",
        "connection",
        "te",
        "x-a",
        "agentvm-hop",
    ]);
    let value = of(&["a", "close, x-a", "5", "\u{e9}", "evil.example", "chunked"]);
    let headers = prop::collection::vec((name, value), 0..3);
    (method, begin, host, path, headers).prop_map(|(method, begin, host, path, headers)| {
        let mut all = method.as_bytes().to_vec();
        all.push(0xff);
        all.extend(format!("{begin}{host}/v1/{}", path.concat()).bytes());
        for (name, value) in headers {
            for text in [name, value] {
                all.push(0xff);
                all.extend(text.bytes());
            }
        }
        all
    })
}

#[test]
fn f09_f11_f14_f18_what_is_permitted_is_what_is_sent() {
    let soak = std::env::var_os("AGENTVM_SOAK").is_some();
    let cases = if soak { 100 * CASES } else { CASES };
    let (mut runner, strategy) = (TestRunner::deterministic(), any_request());
    let mut sent = 0;
    for _ in 0..cases {
        let bytes = strategy.new_tree(&mut runner).unwrap().current();
        sent += usize::from(check(&bytes) == Became::Sent);
    }
    assert!(sent > cases / 100, "only {sent} of {cases} are ever sent");
}
