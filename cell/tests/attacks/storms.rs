//! VMs that come and go leave nothing behind in their cell.

use std::time::{Duration, Instant};

use agentvm_cell_api::cell::{VmSpec, VmState};
use agentvm_policy::{EndReason, budget};
use futures::stream::{self, StreamExt};

use crate::harness::{Node, TestCell, eventually};
use crate::probes::{self, Probe};
use crate::proc::Holds;
use crate::{alone, is_soak};

/// VMs that the cell can hold: many fewer than come.
const SLOTS: u64 = 20;

/// What the allocator holds differs by as much from one moment to the next.
const SPREAD: u64 = 4 << 20;

/// Starts VMs and stops them, ten at a time.
async fn come_and_go(cell: &TestCell, specs: &[VmSpec], count: usize) {
    let lives = stream::iter(0..count).map(|n| async move {
        let uid = format!("u-{n}");
        cell.put(&uid, &specs[n % specs.len()]).await;
        cell.reaches(&uid, VmState::Running).await;
        eventually("it is forgotten", || async {
            let stop = cell
                .client
                .delete_vm(&uid, Duration::ZERO, EndReason::Stopped);
            stop.await.unwrap().is_none().then_some(())
        })
        .await;
    });
    lives.buffer_unordered(10).collect::<Vec<()>>().await;
}

#[tokio::test]
async fn d09_thousands_of_vms_that_come_and_go_leave_nothing_behind() {
    let _alone = alone().await;
    let count = if is_soak() { 100_000 } else { 1_000 };
    let node = Node::with(&["--max-vms-per-cell", &SLOTS.to_string()]).await;
    let cell = node.cell("team-a").await;
    // What each place for a VM may take when it was used for the first time.
    let maps = Holds::of(cell.facts.pid).maps + SLOTS * budget::MAPS_PER_VM.value;
    let mut specs = Vec::new();
    let wanted = ["spin", "sleep", "grow", "rnd", "flood", "churn"];
    let of_kind = |probe: &Probe| wanted.contains(&probe.name);
    for probe in probes::all().into_iter().filter(of_kind) {
        let module = node.compile(&probe.wasm).await;
        specs.push(probe.spec(&module, 1_000));
    }
    assert_eq!(specs.len(), wanted.len());
    // Threads, pools and caches are there after the first.
    come_and_go(&cell, &specs, 200).await;
    let before = Holds::of(cell.facts.pid);
    come_and_go(&cell, &specs, count).await;

    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let after = Holds::of(cell.facts.pid);
        let back = after.resident <= before.resident * 105 / 100 + SPREAD
            && after.descriptors <= before.descriptors
            && after.threads <= before.threads
            && after.maps <= maps;
        if back {
            break;
        }
        assert!(
            Instant::now() < deadline,
            "{before:?} before, {after:?} after {count}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
