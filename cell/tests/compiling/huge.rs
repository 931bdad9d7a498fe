//! Modules that mean no harm and are very large.

use agentvm_cell_api::problem::Reason;

use crate::harness::{Node, eventually};
use crate::{alone, ask, make, neighbour_runs, put};

/// A command with `mib` MiB of data, none of it zero.
fn with_data(mib: usize, seed: u8) -> Vec<u8> {
    let mut wasm = make::command("");
    // One segment that is copied only where the module asks for it.
    let data = vec![seed | 1; mib << 20];
    let segment = [&[1, 1][..], &make::number(data.len()), &data].concat();
    wasm.extend(make::section(11, &segment));
    wasm
}

/// A command with `count` functions that each do a little.
fn with_functions(count: usize) -> Vec<u8> {
    let one = |at: usize| {
        format!(
            "(func (param i32 i32) (result i32) (local i32) local.get 0 i32.const {at} i32.add local.tee 2 local.get 1 i32.mul \
             local.get 2 i32.xor i32.load offset={} i32.const {at} i32.shr_u)",
            at % 4096
        )
    };
    make::command(&(0..count).map(one).collect::<String>())
}

#[tokio::test]
async fn e03_a_module_over_the_size_cap_is_refused_before_its_bytes_are_read() {
    let _alone = alone().await;
    let node = Node::start().await;
    let refused = put(&node, "team-a", vec![0; (128 << 20) + 1])
        .await
        .unwrap_err();
    assert_eq!(refused.reason(), Some(Reason::CompileLimit), "{refused}");
    assert!(refused.to_string().contains("128 MiB"), "{refused}");
    assert!(
        refused.to_string().contains("--max-module-mib"),
        "{refused}"
    );
    neighbour_runs(&node, "after").await;
}

#[tokio::test]
async fn e03_two_huge_modules_at_once_leave_the_warden_and_others_alone() {
    let _alone = alone().await;
    let node = Node::start().await;
    neighbour_runs(&node, "before").await;
    let before = node.client().info().await.unwrap();
    let first = ask(&node, "large-a", with_data(100, 3));
    let second = ask(&node, "large-b", with_functions(30_000));
    eventually("one is compiled", || async {
        let info = node.client().info().await.unwrap();
        (info.compiles.running > 0).then_some(())
    })
    .await;
    neighbour_runs(&node, "beside").await;
    let beside = node.client().info().await.unwrap();
    for (what, asked) in [("data", first), ("functions", second)] {
        let answer = asked.await.unwrap();
        println!("{what}: {answer:?}");
        if let Err(refused) = answer {
            assert_eq!(refused.reason(), Some(Reason::CompileLimit), "{refused}");
        }
    }
    let after = node.client().info().await.unwrap();
    assert_eq!(after.pid, before.pid);
    for info in [&beside, &after] {
        let grown = info.resident_bytes.saturating_sub(before.resident_bytes);
        assert!(
            grown < 64 << 20,
            "the warden itself has grown by {grown} bytes"
        );
    }
    neighbour_runs(&node, "after").await;
}

#[tokio::test]
async fn e03_more_bytes_than_may_wait_are_refused_with_the_bound() {
    let _alone = alone().await;
    let node = Node::start().await;
    let all: Vec<_> = (1..=4).map(|seed| with_data(100, seed * 2)).collect();
    let asks: Vec<_> = all
        .into_iter()
        .map(|wasm| ask(&node, "large", wasm))
        .collect();
    let (mut compiled, mut refused) = (0, Vec::new());
    for asked in asks {
        match asked.await.unwrap() {
            Ok(_module) => compiled += 1,
            Err(error) => refused.push(error),
        }
    }
    assert!(compiled >= 1 && !refused.is_empty(), "{refused:?}");
    for refused in refused {
        assert_eq!(refused.reason(), Some(Reason::Exhausted), "{refused}");
        assert!(refused.to_string().contains("256 MiB"), "{refused}");
    }
    neighbour_runs(&node, "after").await;
}
