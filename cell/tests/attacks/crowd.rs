//! Many busy VMs: what is left for others, and for those who control them.

use std::time::{Duration, Instant};

use agentvm_cell_api::cell::{VmSpec, VmState};
use agentvm_policy::EndReason;
use futures::future::join_all;
use futures::stream::{self, StreamExt};

use crate::harness::{Node, TestCell, eventually, spec};
use crate::proc::Holds;
use crate::{alone, guests};

/// Starts `count` VMs, some at a time, and waits until all of them run.
async fn start(cell: &TestCell, count: u32, spec: &VmSpec) {
    let puts = stream::iter(0..count).map(|n| async move {
        cell.put(&format!("u-{n}"), spec).await;
    });
    puts.buffer_unordered(16).collect::<Vec<()>>().await;
    eventually("all of them run", || async {
        let vms = cell.client.list_vms(0, Duration::ZERO).await.unwrap().vms;
        let running = vms.iter().filter(|vm| vm.state == VmState::Running);
        (running.count() >= usize::try_from(count).unwrap()).then_some(())
    })
    .await;
}

/// Milliseconds of CPU time that the VMs of a cell have used.
async fn used_ms(cell: &TestCell) -> u64 {
    let vms = cell.client.stats().await.unwrap().vms;
    vms.values().map(|usage| usage.cpu_ns).sum::<u64>() / 1_000_000
}

#[tokio::test]
async fn c12_a_hundred_busy_vms_leave_a_vm_of_another_namespace_its_share() {
    let _alone = alone().await;
    let node = Node::with(&["--max-vms-per-cell", "120"]).await;
    let module = node.compile(&guests::spins()).await;
    let (noisy, single) = (node.cell("noisy").await, node.cell("single").await);
    start(&noisy, 100, &spec(&module)).await;
    start(&single, 1, &spec(&module)).await;

    let before = (used_ms(&noisy).await, used_ms(&single).await);
    eventually("they have run for a while", || async {
        (used_ms(&noisy).await > before.0 + 2_000).then_some(())
    })
    .await;
    let crowd = used_ms(&noisy).await - before.0;
    let alone = used_ms(&single).await - before.1;
    // Fair is a half for each namespace, of what the machine gave them.
    let fair = u64::midpoint(crowd, alone);
    assert!(
        alone * 10 >= fair * 4,
        "the crowd used {crowd} ms, the single VM {alone} ms"
    );
}

#[tokio::test]
async fn c09_d13_a_thousand_spinning_vms_keep_nobody_from_asking_starting_and_stopping() {
    let _alone = alone().await;
    let count = 1_000;
    let node = Node::with(&["--max-vms-per-cell", "1100"]).await;
    let spins = node.compile(&guests::spins()).await;
    let hello = node.compile(&guests::hello()).await;
    let cell = node.cell("crowd").await;
    let before = Holds::of(cell.facts.pid);
    start(&cell, count, &spec(&spins)).await;
    let now = Holds::of(cell.facts.pid);
    assert!(
        now.threads <= before.threads + 4,
        "{before:?}, then {now:?}"
    );

    let mut asked = Vec::new();
    for n in 0..200 {
        let before = Instant::now();
        cell.client.vm(&format!("u-{n}")).await.unwrap().unwrap();
        asked.push(before.elapsed());
    }
    asked.sort_unstable();
    let p99 = asked[asked.len() * 99 / 100 - 1];

    let mut hellos = Vec::new();
    for (cell, uid) in [(&cell, "u-hello"), (&node.cell("other").await, "u-hello")] {
        let before = Instant::now();
        cell.put(uid, &spec(&hello)).await;
        assert_eq!(cell.ends(uid).await, (EndReason::Completed, Some(0)));
        hellos.push(before.elapsed());
    }

    let before = Instant::now();
    let stop = |n| {
        let client = &cell.client;
        async move {
            let uid = format!("u-{n}");
            let stop = client.delete_vm(&uid, Duration::ZERO, EndReason::Stopped);
            stop.await.unwrap().unwrap();
        }
    };
    join_all((0..count).map(stop)).await;
    eventually("all have ended", || async {
        let vms = cell.client.list_vms(0, Duration::ZERO).await.unwrap().vms;
        vms.iter()
            .all(|vm| vm.state == VmState::Ended)
            .then_some(())
    })
    .await;
    let stopped = before.elapsed();
    eprintln!("{count} VMs: asked {p99:?}, started {hellos:?}, stopped {stopped:?}");
    assert!(p99 < Duration::from_millis(100), "asked: {p99:?}");
    let slowest = hellos.iter().max().unwrap();
    assert!(*slowest < Duration::from_secs(1), "started: {hellos:?}");
    assert!(stopped < Duration::from_secs(2), "stopped: {stopped:?}");
}
