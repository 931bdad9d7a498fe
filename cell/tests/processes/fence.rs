//! Fencing deadlines, which a cell keeps by itself.

use std::time::{Duration, Instant};

use agentvm_cell_api::cell::VmState;
use agentvm_policy::EndReason;
use rustix::time::{ClockId, clock_gettime};

use crate::harness::{Node, spec};
use crate::wat;

fn boottime_ms() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    u64::try_from(now.tv_sec).unwrap() * 1000 + u64::try_from(now.tv_nsec).unwrap() / 1_000_000
}

#[tokio::test]
async fn k20_a_vm_whose_deadline_passes_is_stopped_with_nobody_asking() {
    let node = Node::start().await;
    let module = node.compile(&wat::spins()).await;
    let cell = node.cell("team-a").await;
    let mut fenced = spec(&module);
    let wait = Duration::from_millis(500);
    fenced.fence_deadline_boottime_ms = Some(boottime_ms() + 500);
    let asked = Instant::now();
    cell.put("u-fenced", &fenced).await;
    cell.put("u-free", &spec(&module)).await;
    assert_eq!(cell.ends("u-fenced").await, (EndReason::Fenced, None));
    let took = asked.elapsed();
    assert!(
        (Duration::from_millis(498)..wait + Duration::from_secs(2)).contains(&took),
        "{took:?}"
    );
    assert_eq!(
        cell.client.vm("u-free").await.unwrap().unwrap().state,
        VmState::Running
    );
}

#[tokio::test]
async fn k21_a_deadline_that_is_pushed_in_time_stops_nothing() {
    let node = Node::start().await;
    let module = node.compile(&wat::waits()).await;
    let cell = node.cell("team-a").await;
    let mut fenced = spec(&module);
    let first = boottime_ms() + 400;
    fenced.fence_deadline_boottime_ms = Some(first);
    cell.put("u-1", &fenced).await;
    while boottime_ms() < first + 300 {
        fenced.fence_deadline_boottime_ms = Some(boottime_ms() + 400);
        let status = cell.put("u-1", &fenced).await;
        assert!(
            status.end.is_none() && status.state <= VmState::Running,
            "{status:?}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(
        cell.ends("u-1").await.0,
        EndReason::Fenced,
        "and when nobody pushes it, it does"
    );
}
