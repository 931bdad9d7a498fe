//! Memory at its limit: what the guest sees, what the record says, what the host holds.

use agentvm_cell_api::cell::VmState;
use agentvm_policy::EndReason;

use crate::alone;
use crate::guests::memory;
use crate::harness::{Node, spec};
use crate::proc::{Holds, peak_resident};

const MIB: u64 = 1 << 20;

#[tokio::test]
async fn d01_a_guest_that_traps_for_want_of_memory_ends_as_memory_limit_with_limit_and_peak() {
    let _alone = alone().await;
    let node = Node::start().await;
    let module = node.compile(&memory::grows_until_it_traps()).await;
    let cell = node.cell("team-a").await;
    let before = Holds::of(cell.facts.pid).resident;
    cell.put("u-1", &spec(&module)).await;

    let end = cell.reaches("u-1", VmState::Ended).await.end.unwrap();
    assert_eq!(end.reason, EndReason::MemoryLimit, "{end:?}");
    let limit = 16 * MIB;
    assert!(end.message.contains("limits.memory"), "{}", end.message);
    assert!(end.message.contains(&limit.to_string()), "{}", end.message);
    let peak = end.usage.memory_peak_bytes;
    assert!(end.message.contains(&peak.to_string()), "{}", end.message);
    assert!((limit - 2 * MIB..=limit).contains(&peak), "{peak}");
    assert_eq!(end.usage.memory_bytes, 0);
    let grown = peak_resident(cell.facts.pid) - before;
    assert!(grown <= limit + 16 * MIB, "grew by {grown}");
    assert!(grown >= limit / 2, "its memory was not there: {grown}");
}

#[tokio::test]
async fn d01_what_an_ended_vm_held_does_not_stay_with_its_cell() {
    let _alone = alone().await;
    let node = Node::start().await;
    let module = node.compile(&memory::fills_once(500)).await;
    let cell = node.cell("team-a").await;
    let before = Holds::of(cell.facts.pid).resident;
    let mut spec = spec(&module);
    spec.grants.limits.memory_bytes = 512 * MIB;
    cell.put("u-1", &spec).await;
    assert_eq!(cell.ends("u-1").await, (EndReason::Completed, Some(0)));

    let held = peak_resident(cell.facts.pid) - before;
    assert!(held >= 500 * MIB, "its memory was not there: {held}");
    let after = Holds::of(cell.facts.pid).resident - before;
    assert!(after <= 16 * MIB, "{after} bytes stay after its end");
}
