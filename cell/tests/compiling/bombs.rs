//! Modules that are small, valid and very slow to compile.

use std::time::{Duration, Instant};

use agentvm_cell_api::problem::Reason;
use agentvm_policy::budget;

use tokio::task::JoinHandle;

use crate::harness::{Node, eventually};
use crate::{alone, ask, make, neighbour_runs, put};

/// How long a neighbour's module may take while bombs are compiled beside it.
const SOON: Duration = Duration::from_secs(5);

#[tokio::test]
async fn e02_each_kind_of_bomb_is_compiled_or_refused_in_time_and_not_tried_twice() {
    let _alone = alone().await;
    let node = Node::with(&["--compile-timeout-seconds", "4"]).await;
    let kinds = [
        ("loops, 200", make::nests_loops(200)),
        ("loops, 500", make::nests_loops(500)),
        ("loops, 1000", make::nests_loops(1000)),
        ("ways out, 200", make::leaves_from_everywhere(200)),
        ("ways out, 700", make::leaves_from_everywhere(700)),
        ("jumps", make::jumps(20, 2_000)),
        ("values", make::keeps_alive(3_000)),
        ("functions", make::calls(20_000)),
    ];
    for (kind, wasm) in kinds {
        let bytes = wasm.len();
        let asked = Instant::now();
        let first = put(&node, "hostile", wasm.clone()).await;
        let took = asked.elapsed();
        assert!(took < Duration::from_secs(8), "{kind}: {took:?}");
        let first = first.map(|module| module.kind).map_err(|error| {
            assert_eq!(
                error.reason(),
                Some(Reason::CompileLimit),
                "{kind}: {error}"
            );
            error.to_string()
        });
        println!("{kind}: {bytes} bytes, {took:?}, {first:?}");
        let asked = Instant::now();
        let second = put(&node, "hostile", wasm).await;
        let second = second
            .map(|module| module.kind)
            .map_err(|error| error.to_string());
        assert_eq!(second, first, "{kind}");
        assert!(
            asked.elapsed() < Duration::from_secs(2),
            "{kind}: tried twice"
        );
    }
    neighbour_runs(&node, "after").await;
}

#[tokio::test]
async fn e02_neighbour_compiles_and_starts_next_while_a_namespace_has_a_queue_of_bombs() {
    let _alone = alone().await;
    let node = Node::start().await;
    let asked = Instant::now();
    neighbour_runs(&node, "quiet").await;
    let quiet = asked.elapsed();

    let most = budget::MODULES_WAITING.usize();
    let bomb = make::nests_loops(1000);
    let bombs: Vec<_> = (0..40)
        .map(|number| ask(&node, "hostile", make::again(bomb.clone(), number)))
        .collect();
    let compiles = || async { node.client().info().await.unwrap().compiles };
    eventually("bombs wait", || async {
        let compiles = compiles().await;
        (usize::try_from(compiles.waiting) == Ok(most)).then_some(())
    })
    .await;
    assert_eq!(compiles().await.running, 1, "one compiler is left");

    let mut times: Vec<Duration> = Vec::new();
    for number in 0..5 {
        let asked = Instant::now();
        neighbour_runs(&node, &format!("beside-{number}")).await;
        times.push(asked.elapsed());
    }
    println!("a neighbour's start: {quiet:?} quiet, {times:?} beside bombs");
    assert!(times.iter().all(|took| *took < SOON), "{times:?}");

    // What was over the bound was refused at once, as something to try again.
    let (done, waiting): (Vec<_>, Vec<_>) = bombs.into_iter().partition(JoinHandle::is_finished);
    let mut refused = Vec::new();
    for ask in done {
        refused.push(ask.await.unwrap().unwrap_err());
    }
    assert!(refused.len() >= 40 - most - 2, "{refused:?}");
    let over = refused
        .iter()
        .find(|error| error.reason() == Some(Reason::Exhausted))
        .unwrap();
    assert!(
        over.to_string()
            .contains("namespace hostile has 32 modules that wait for a compiler"),
        "{over}"
    );

    // Whoever goes away gives its place up.
    for ask in waiting {
        ask.abort();
    }
    eventually("nothing waits", || async {
        (compiles().await.waiting == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_namespace_that_is_none_is_refused() {
    let _alone = alone().await;
    let node = Node::start().await;
    for namespace in ["Team_A", "", "a.b"] {
        let refused = put(&node, namespace, make::prints("x")).await.unwrap_err();
        assert_eq!(refused.reason(), Some(Reason::BadRequest), "{refused}");
    }
    let wasm = make::prints("x");
    let (client, digest) = (node.client(), crate::harness::sha256(&wasm));
    let nobody = client.put_module(None, &digest, wasm.into());
    assert!(nobody.await.unwrap().compile_ms > 0);
}

/// Descriptors, threads and children of a process.
fn takes(pid: u32) -> (usize, usize, usize) {
    let count = |what: &str| {
        let entries = std::fs::read_dir(format!("/proc/{pid}/{what}")).unwrap();
        entries.count()
    };
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    (count("fd"), count("task"), children.split(' ').count() - 1)
}

#[tokio::test]
async fn e02_what_the_warden_takes_is_bounded_under_bombs_and_as_before_after_them() {
    let _alone = alone().await;
    let node = Node::with(&["--compile-timeout-seconds", "2"]).await;
    neighbour_runs(&node, "before").await;
    let before = takes(node.pid());
    let bomb = make::nests_loops(1000);
    let bombs: Vec<_> = (0..200)
        .map(|number| {
            let namespaces = ["a", "b", "c", "d", "e", "f", "g", "h"];
            let namespace = namespaces[usize::from(number) % namespaces.len()];
            ask(&node, namespace, make::again(bomb.clone(), number))
        })
        .collect();
    eventually("all wait", || async {
        let compiles = node.client().info().await.unwrap().compiles;
        (compiles.running + compiles.waiting == 200).then_some(())
    })
    .await;
    let (descriptors, threads, children) = takes(node.pid());
    println!("{before:?} before, {:?} with 200 bombs", takes(node.pid()));
    // A connection and the bytes of each module, and what two compilers need.
    assert!(descriptors <= before.0 + 2 * 200 + 16, "{descriptors}");
    assert!(threads <= 1 + budget::WARDEN_THREADS.usize(), "{threads}");
    assert!(children <= before.2 + 2, "{children}");
    for bomb in bombs {
        bomb.abort();
    }
    eventually("it has what it had", || async {
        let (descriptors, _, children) = takes(node.pid());
        (descriptors <= before.0 + 2 && children <= before.2).then_some(())
    })
    .await;
}
