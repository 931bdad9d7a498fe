//! A VM that does honest work at a fixed rate and tells how late it is.

use std::time::Duration;

use agentvm_cell_api::cell::{VmState, VmStatus};
use agentvm_policy::ClockGrant;

use crate::guests;
use crate::harness::{Node, TestCell, eventually, spec};

/// An item each 32 ms of about 8 ms of computing: several times what the kernel lets another thread
/// run first, and a quarter of a core, which is less than its fair share beside any attack.
const PERIOD_US: u32 = 32_000;
const ROUNDS: u32 = 3_000_000;
/// Bytes of the line of one item.
const LINE: u64 = 18;
/// Items that may still feel what was before.
const SETTLE: u64 = 5;

/// It, and its cell.
pub(super) struct Healthy {
    pub(super) cell: TestCell,
    pub(super) started: VmStatus,
}

impl Healthy {
    /// Starts it.
    pub(super) async fn start(node: &Node, namespace: &str) -> Self {
        let module = node.compile(&guests::works(PERIOD_US, ROUNDS)).await;
        let cell = node.cell(namespace).await;
        let mut spec = spec(&module);
        spec.grants.limits.cpu_millicores = 500;
        spec.grants.clock = Some(ClockGrant {
            resolution_ns: 1_000,
        });
        cell.put("u-healthy", &spec).await;
        let started = cell.reaches("u-healthy", VmState::Running).await;
        let healthy = Self { cell, started };
        healthy.settle().await;
        healthy
    }

    /// Waits until nothing is left of an attack: it has caught up with its items.
    pub(super) async fn settle(&self) {
        eventually("it has caught up", || async {
            let late = self.items().await.pop()?.1;
            (late < u64::from(PERIOD_US)).then_some(())
        })
        .await;
        let first = self.done().await;
        eventually("some items more are done", || async {
            (self.done().await >= first + SETTLE).then_some(())
        })
        .await;
    }

    /// How many microseconds after their time the next items are done.
    pub(super) async fn next(&self, items: u64) -> Vec<u64> {
        let first = self.done().await + 1;
        let last = first + items;
        let period = Duration::from_micros(u64::from(PERIOD_US));
        tokio::time::sleep(period * u32::try_from(items).unwrap()).await;
        eventually("its items are done", || async {
            (self.done().await >= last).then_some(())
        })
        .await;
        let late: Vec<u64> = self
            .items()
            .await
            .into_iter()
            .filter(|(number, _)| (first..last).contains(number))
            .map(|(_, late)| late)
            .collect();
        assert!(
            !late.is_empty(),
            "no item from {first} to {last} in its log"
        );
        late
    }

    /// Its items as far as its log goes back: their numbers, and how late they were.
    async fn items(&self) -> Vec<(u64, u64)> {
        let lines = self.cell.log("u-healthy").await;
        let texts = lines.iter().filter_map(|line| line.text.as_deref());
        texts
            .filter_map(|text| text.split_once(' '))
            .map(|(number, late)| (number.parse().unwrap(), late.parse().unwrap()))
            .collect()
    }

    /// Items that are done.
    async fn done(&self) -> u64 {
        let stats = self.cell.client.stats().await.unwrap();
        stats.vms["u-healthy"].log_bytes / LINE
    }
}
