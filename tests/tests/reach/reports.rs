//! What is told of denials: an event, counts by code, and no host in any label.

use agentvm_tests::{Result, wait};
use anyhow::ensure;

use crate::outside::PLAIN;
use crate::site::{Site, plain_rule};

#[test]
fn h06_a_denial_is_one_event_and_a_count_by_code_and_its_host_is_in_no_label() -> Result<()> {
    let site = Site::new("re-told")?;
    let evil = "http://evil.example.org/secret-path?q=secret-query";
    let uid = site.poll("asker", "get", evil, &[plain_rule(PLAIN)])?;
    site.says(&uid, "HTTP-request-denied")?;
    let event = site.event("asker", &["EgressDenied: ", "evil.example.org"])?;
    for part in ["secret-path", "secret-query"] {
        ensure!(!event.contains(part), "{event}");
    }
    // It asks on and on, and that is one event.
    let count = || -> Result<u64> {
        let metrics = site.node.metrics()?;
        let start = format!(
            "agentvm_vm_network_requests_total{{namespace=\"{}\",vm=\"asker\",code=\"HTTP-request-denied\"}} ",
            site.namespace.name
        );
        let line = metrics.lines().find_map(|line| line.strip_prefix(&start));
        Ok(line.map(str::parse).transpose()?.unwrap_or_default())
    };
    let first = count()?;
    wait::until("more denials to be counted", || {
        let now = count()?;
        Ok(wait::yes_if(now >= first + 20, || {
            format!("{now} after {first}")
        }))
    })?;
    let events = site.namespace.events("asker")?;
    let denials = events
        .iter()
        .filter(|event| event.starts_with("EgressDenied"));
    assert_eq!(denials.count(), 1, "{events:?}");
    let metrics = site.node.metrics()?;
    ensure!(!metrics.contains("evil"), "{metrics}");
    let asked = site.outside.dns.asked();
    ensure!(!asked.iter().any(|name| name.contains("evil")), "{asked:?}");
    assert_eq!(site.outside.plain.connections(), 0);
    Ok(())
}
