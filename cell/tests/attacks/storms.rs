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

/// What each VM may leave of the cell's heap, on an average: threads that come and go have caches of
/// their own. One allocation that stays of each VM is more.
const HEAP_BYTES_PER_VM: u64 = 64;

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

/// What the cell holds by the kernel's word and by its allocator's.
async fn held(cell: &TestCell) -> (Holds, u64) {
    let stats = cell.client.stats().await.unwrap();
    (Holds::of(cell.facts.pid), stats.heap_bytes)
}

#[tokio::test]
async fn d09_thousands_of_vms_that_come_and_go_leave_nothing_behind() {
    let _alone = alone().await;
    // Threads, pools and caches are there after the first ones.
    let (first, count) = if is_soak() {
        (10_000, 100_000)
    } else {
        (2_000, 2_000)
    };
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
    come_and_go(&cell, &specs, first).await;
    let (before, heap_before) = held(&cell).await;
    come_and_go(&cell, &specs, count).await;

    let may_leave = u64::try_from(count).unwrap() * HEAP_BYTES_PER_VM;
    // Longer than memory that is free waits to be given back.
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let (after, heap_after) = held(&cell).await;
        let back = after.resident <= before.resident * 105 / 100
            && heap_after <= heap_before + may_leave
            && after.descriptors <= before.descriptors
            && after.threads <= before.threads
            && after.maps <= maps;
        if back {
            eprintln!("{before:?} {heap_before}, {after:?} {heap_after} after {count}");
            break;
        }
        assert!(
            Instant::now() < deadline,
            "{before:?} with {heap_before} of heap before, {after:?} with {heap_after} after {count}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
