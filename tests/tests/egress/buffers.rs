//! What is sent to a host that takes nothing waits in the guest, and not in cell or gateway.

use std::time::Duration;

use crate::machine::{Machine, NAMESPACE, asking, plain_rule, rule};
use agentvm_cell_api::client::CellClient;
use agentvm_policy::{EndReason, budget};
use agentvm_tests::internet::network::alone;
use agentvm_tests::internet::upstream::{self, ok};

const MIB: u64 = 1 << 20;
/// All the requests that a VM may have by default.
const STREAMS: u64 = 32;

/// How much was taken of the guest's bodies, once nothing more is.
async fn settled(machine: &Machine, cell: &CellClient, uid: &str) -> u64 {
    let deadline = tokio::time::Instant::now() + Duration::from_mins(1);
    loop {
        let lines = machine.lines(cell, uid).await;
        let counts: Vec<u64> = lines.iter().map(|line| line.parse().unwrap()).collect();
        // A second without a change, told by the guest.
        if let [.., first, _, _, _, last] = counts[..]
            && first == last
            && last > 0
        {
            return last;
        }
        assert!(tokio::time::Instant::now() < deadline, "{lines:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Bytes in memory of the gateway, and of the cell beyond what its VMs hold themselves.
async fn resident(machine: &Machine, cell: &CellClient) -> [u64; 2] {
    let stats = cell.stats().await.unwrap();
    let guests: u64 = stats.vms.values().map(|usage| usage.memory_bytes).sum();
    let gateway = machine.gateway().info().await.unwrap().resident_bytes;
    [gateway, stats.resident_bytes.saturating_sub(guests)]
}

#[test]
fn d07_endless_bodies_that_nobody_takes_wait_in_their_guest() {
    alone(async || {
        let machine = Machine::start("eg-feed").await;
        machine.dns.addresses("deaf.example.com", &["93.184.215.5"]);
        machine.dns.addresses("api.example.com", &["93.184.215.6"]);
        let deaf = upstream::deaf("93.184.215.5:80");
        let acceptor = machine.authority.acceptor("api.example.com");
        upstream::secure("93.184.215.6:443", ok("fine"), acceptor).await;
        for uid in ["u-0", "u-1", "u-2"] {
            let open = plain_rule("deaf.example.com", &[80]);
            let rules = vec![open, rule("api.example.com", &["GET"], &["*"])];
            machine.allow(NAMESPACE, uid, rules).await;
        }
        // Code, channel and name are there after the first.
        machine.ask("u-0", &["GET https://api.example.com/"]).await;
        let hold = machine.begin("u-0b", asking(&["SAY quiet"])).await;
        let before = resident(&machine, &hold).await;

        let feed = format!("FEED {STREAMS} http://deaf.example.com/");
        let cell = machine.begin("u-1", asking(&[&feed])).await;
        let taken = settled(&machine, &cell, "u-1").await;
        assert_eq!(deaf.connections(), usize::try_from(STREAMS).unwrap());
        // Besides what the gateway may hold: two kernels' buffers, and what waits in the cell.
        let waiting = budget::PIPE_BYTES.value + budget::WINDOW_BYTES.value;
        let elsewhere = STREAMS * (2 * budget::SOCKET_BYTES.value + waiting);
        let most = budget::VM_HELD_BYTES.value + elsewhere;
        assert!(taken <= most, "{taken} of {most}");

        let after = resident(&machine, &cell).await;
        let grown = [0, 1].map(|at| after[at].saturating_sub(before[at]));
        eprintln!("{taken} bytes taken of {STREAMS} bodies; gateway and cell grew by {grown:?}");
        assert!(
            grown[0] <= budget::VM_HELD_BYTES.value + 4 * MIB,
            "{grown:?}"
        );
        assert!(grown[1] <= 16 * MIB, "{grown:?}");

        let lines = machine
            .ask("u-2", &["GET https://api.example.com/"; 5])
            .await;
        assert!(
            lines.iter().all(|line| line.ends_with(": 200  fine")),
            "{lines:?}"
        );
        let stop = cell.delete_vm("u-1", Duration::ZERO, EndReason::Stopped);
        stop.await.unwrap();
    });
}
