//! Guest output: bounded, counted, and never in anybody's way.

use std::time::Duration;

use agentvm_cell_api::cell::VmState;
use agentvm_cell_api::log::Stream;

use crate::harness::{Node, eventually, spec};
use crate::wat;

#[tokio::test]
async fn b11_a_flood_is_cut_to_its_rate_and_the_rest_is_counted() {
    let node = Node::start().await;
    let module = node.compile(&wat::floods()).await;
    let cell = node.cell("team-a").await;
    let mut limited = spec(&module);
    limited.grants.limits.log_rate_bytes_per_second = 10_000;
    cell.put("u-1", &limited).await;
    let usage = eventually("it has written everything", || async {
        let usage = cell
            .client
            .stats()
            .await
            .unwrap()
            .vms
            .remove("u-1")
            .unwrap();
        (usage.log_bytes == 4_000_000).then_some(usage)
    })
    .await;
    let kept = usage.log_bytes - usage.log_dropped_bytes;
    // A second's burst at once, and ten thousand for each second that it took.
    assert!((10_000..400_000).contains(&kept), "{kept}");
    let lines = eventually("the kept lines are written", || async {
        let lines = cell.log("u-1").await;
        let text: usize = lines
            .iter()
            .filter_map(|line| line.text.as_ref())
            .map(String::len)
            .sum();
        (text > 9_000).then_some(lines)
    })
    .await;
    assert!(lines.iter().all(|line| line.uid == "u-1"));
}

#[tokio::test]
async fn an_unfinished_line_is_shown_after_a_moment() {
    let node = Node::start().await;
    let module = node.compile(&wat::prompts()).await;
    let cell = node.cell("team-a").await;
    cell.put("u-1", &spec(&module)).await;
    let line = eventually("the prompt is there", || async {
        cell.log("u-1").await.pop()
    })
    .await;
    assert_eq!(line.text.as_deref(), Some("name?"));
    assert!(line.partial);
    assert_eq!(line.stream, Stream::Stderr);
    assert_eq!(
        cell.client.vm("u-1").await.unwrap().unwrap().state,
        VmState::Running
    );
}

#[tokio::test]
async fn l13_a_stdout_that_nobody_reads_stops_no_guest_and_no_answer() {
    let node = Node::deaf().await;
    let module = node.compile(&wat::floods()).await;
    let cell = node.cell("team-a").await;
    let mut loud = spec(&module);
    loud.grants.limits.log_rate_bytes_per_second = 1 << 30;
    cell.put("u-1", &loud).await;
    let usage = eventually("it has written everything", || async {
        let usage = cell
            .client
            .stats()
            .await
            .unwrap()
            .vms
            .remove("u-1")
            .unwrap();
        (usage.log_bytes == 4_000_000).then_some(usage)
    })
    .await;
    assert!(usage.log_dropped_bytes > 1_000_000, "{usage:?}");
    let lines = eventually("the file goes on", || async {
        Some(cell.log("u-1").await).filter(|lines| !lines.is_empty())
    })
    .await;
    assert!(lines.len() > 100, "{}", lines.len());
    let size = cell.client.log("u-1").await.unwrap().len();
    assert!(size <= 1 << 20, "{size}");
    cell.client.list_vms(0, Duration::ZERO).await.unwrap();
}
