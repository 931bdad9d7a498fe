//! Compiling and the cache of compiled code.

use std::time::{Duration, Instant};

use agentvm_cell_api::problem::Reason;
use agentvm_policy::EndReason;

use crate::harness::{Node, sha256, spec};
use crate::wat;

#[tokio::test]
async fn a_module_is_compiled_once_and_found_again_by_the_next_warden() {
    let node = Node::start().await;
    let wasm = wat::prints("hello");
    assert_eq!(node.client().module(&sha256(&wasm)).await.unwrap(), None);
    let first = node.compile(&wasm).await;
    assert!(first.compile_ms > 0 && first.compiled_bytes > 0);
    assert_eq!(node.compile(&wasm).await.compile_ms, 0);
    let next = Node::start_in(node.kill(), &[]).await;
    assert_eq!(
        next.client()
            .module(&first.sha256)
            .await
            .unwrap()
            .unwrap()
            .compile_ms,
        0
    );
    let compiles = next.client().info().await.unwrap().compiles;
    assert_eq!((compiles.succeeded, compiles.rejected_entries), (0, 0));
}

#[tokio::test]
async fn e04_an_altered_entry_is_compiled_anew_and_counted_and_never_run() {
    let node = Node::start().await;
    let wasm = wat::prints("hello");
    let module = node.compile(&wasm).await;
    let entries = node.cache_entries();
    assert_eq!(entries.len(), 1);
    let mut bytes = std::fs::read(&entries[0]).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&entries[0], bytes).unwrap();

    let node = Node::start_in(node.kill(), &[]).await;
    let cell = node.cell("team-a").await;
    let refused = cell.client.put_vm("u-1", &spec(&module)).await.unwrap_err();
    assert_eq!(refused.reason(), Some(Reason::NotFound));
    assert_eq!(
        node.client()
            .info()
            .await
            .unwrap()
            .compiles
            .rejected_entries,
        1
    );
    assert!(node.compile(&wasm).await.compile_ms > 0);
    cell.put("u-1", &spec(&module)).await;
    assert_eq!(cell.ends("u-1").await, (EndReason::Completed, Some(0)));
}

#[tokio::test]
async fn e04_an_entry_that_another_wardens_key_signed_is_refused() {
    let foreign = Node::start().await;
    let wasm = wat::prints("hello");
    foreign.compile(&wasm).await;
    let entry = foreign.cache_entries().remove(0);

    let node = Node::start().await;
    let place = node
        .cache()
        .join(entry.strip_prefix(foreign.cache()).unwrap());
    std::fs::create_dir_all(place.parent().unwrap()).unwrap();
    std::fs::copy(&entry, &place).unwrap();
    assert_eq!(node.client().module(&sha256(&wasm)).await.unwrap(), None);
    assert_eq!(
        node.client()
            .info()
            .await
            .unwrap()
            .compiles
            .rejected_entries,
        1
    );
    assert!(!place.exists(), "it is thrown away");
    assert!(node.compile(&wasm).await.compile_ms > 0);
}

#[tokio::test]
async fn e07_bytes_with_another_digest_are_refused() {
    let node = Node::start().await;
    let (good, other) = (wat::prints("hello"), wat::prints("jello"));
    let refused = node
        .client()
        .put_module(Some("team-b"), &sha256(&good), other.into())
        .await
        .unwrap_err();
    assert_eq!(refused.reason(), Some(Reason::BadRequest));
    assert_eq!(node.client().module(&sha256(&good)).await.unwrap(), None);
}

#[tokio::test]
async fn e01_bad_modules_are_refused_with_their_reason_and_not_compiled_twice() {
    let node = Node::start().await;
    let truncated = wat::prints("hello")[..40].to_vec();
    let elf = b"\x7fELF\x02\x01\x01".to_vec();
    for (wasm, reason) in [
        (Vec::new(), Reason::InvalidModule),
        (truncated, Reason::InvalidModule),
        (elf, Reason::InvalidModule),
        (wat::imports_a_system_call(), Reason::MissingImports),
    ] {
        let before = node.client().info().await.unwrap().compiles.refused;
        for _ in 0..2 {
            let refused = node
                .client()
                .put_module(Some("team-b"), &sha256(&wasm), wasm.clone().into())
                .await;
            assert_eq!(refused.unwrap_err().reason(), Some(reason), "{wasm:?}");
        }
        let after = node.client().info().await.unwrap().compiles.refused;
        assert_eq!(after, before + 1, "the second time it is remembered");
    }
    assert!(node.cache_entries().is_empty());
}

#[tokio::test]
async fn a_module_above_the_size_limit_is_refused() {
    let node = Node::with(&["--max-module-mib", "1"]).await;
    let large = vec![0; (1 << 20) + 1];
    let refused = node
        .client()
        .put_module(Some("team-b"), &sha256(&large), large.into())
        .await
        .unwrap_err();
    assert_eq!(refused.reason(), Some(Reason::CompileLimit));
}

#[tokio::test]
async fn e02_a_compile_bomb_ends_at_the_limit_while_neighbours_compile_and_start() {
    let node = Node::with(&["--compile-timeout-seconds", "3"]).await;
    let bomb = wat::nests_loops(1000);
    assert!(bomb.len() < 20_000, "it is small: {} bytes", bomb.len());
    let (client, digest) = (node.client(), sha256(&bomb));
    let asked = Instant::now();
    let bombing = tokio::spawn(async move {
        client
            .put_module(Some("team-b"), &digest, bomb.into())
            .await
    });

    let module = node.compile(&wat::prints("hello")).await;
    let cell = node.cell("team-a").await;
    cell.put("u-1", &spec(&module)).await;
    assert_eq!(cell.ends("u-1").await, (EndReason::Completed, Some(0)));
    assert!(!bombing.is_finished(), "the neighbour did not wait for it");

    let refused = bombing.await.unwrap().unwrap_err();
    assert_eq!(refused.reason(), Some(Reason::CompileLimit), "{refused}");
    assert!(
        asked.elapsed() < Duration::from_secs(6),
        "{:?}",
        asked.elapsed()
    );
    let bomb = wat::nests_loops(1000);
    let asked = Instant::now();
    let refused = node
        .client()
        .put_module(Some("team-b"), &sha256(&bomb), bomb.into())
        .await
        .unwrap_err();
    assert_eq!(refused.reason(), Some(Reason::CompileLimit));
    assert!(
        asked.elapsed() < Duration::from_secs(1),
        "the second time it is remembered"
    );
}

#[tokio::test]
async fn e02_a_compiler_that_takes_too_much_memory_ends_and_nothing_else() {
    let node = Node::with(&["--compile-memory-mib", "8"]).await;
    let bomb = wat::nests_loops(400);
    let refused = node
        .client()
        .put_module(Some("team-b"), &sha256(&bomb), bomb.into())
        .await
        .unwrap_err();
    assert_eq!(refused.reason(), Some(Reason::CompileLimit), "{refused}");
    assert!(refused.to_string().contains("8 MiB"), "{refused}");
}
