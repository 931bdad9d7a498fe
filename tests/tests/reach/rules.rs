//! Rules: there before the start, and live from then on.

use std::time::Duration;

use agentvm_tests::Result;
use agentvm_tests::vm::{number, text};
use anyhow::ensure;
use serde_json::json;

use crate::outside::{PLAIN, STREAM};
use crate::site::{Site, asks, plain_rule};

/// How soon a change of rules holds for new requests, from when the API server has it.
const NEW_REQUESTS: Duration = Duration::from_secs(1);
/// How soon a stream is cut.
const STREAMS: Duration = Duration::from_secs(5);

#[test]
fn f24_changed_rules_and_policies_hold_for_new_requests_and_cut_streams_without_another_run()
-> Result<()> {
    let site = Site::new("re-rules")?;
    let rule = plain_rule("*.example.com");
    let getter = site.poll(
        "getter",
        "get",
        &format!("http://{PLAIN}/a"),
        std::slice::from_ref(&rule),
    )?;
    let reader = site.poll("reader", "stream", &format!("http://{STREAM}/b"), &[rule])?;
    // The very first request is allowed: its rules were there before it.
    site.says(&getter, "200 plain")?;
    assert_eq!(site.printed(&getter)?, ["200 plain"]);
    site.says(&reader, "open")?;
    let before = site.namespace.wait_phase("getter", "Running")?;

    for name in ["getter", "reader"] {
        let other = asks(&[plain_rule("other.example.com")]);
        site.namespace
            .change(name, &json!({"capabilities": other}))?;
    }
    let took = site.says(&getter, "HTTP-request-denied")?;
    println!("changed rules held after {took:?}");
    ensure!(took <= NEW_REQUESTS, "changed rules held after {took:?}");
    let took = site.says(&reader, "HTTP-request-denied")?;
    println!("a stream was cut and its repetition denied after {took:?}");
    ensure!(took <= STREAMS, "a stream was cut after {took:?}");
    let lines = site.printed(&reader)?;
    assert_eq!(lines, ["open", "over", "HTTP-request-denied"]);

    let again = asks(&[plain_rule(PLAIN)]);
    site.namespace
        .change("getter", &json!({"capabilities": again}))?;
    let took = site.says(&getter, "200 plain")?;
    ensure!(took <= NEW_REQUESTS, "changed rules held after {took:?}");

    let after = site.namespace.vm("getter")?;
    assert_eq!(number(&after, "/status/restarts"), 0);
    let started = "/status/startedAt";
    assert_eq!(text(&after, started), text(&before, started));

    // A policy that closes the network refuses the VM, and what it asks for at once.
    site.open(&json!([]))?;
    site.namespace.wait_phase("getter", "Failed")?;
    Ok(())
}
