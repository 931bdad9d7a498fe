//! The container's memory runs out: one cell goes, the others stay.

use std::path::Path;

use agentvm_cell_api::cell::VmState;

use crate::harness::{Node, eventually, gone, spec};
use crate::wat;

/// Writes what the kernel shows of a group with a limit of 100 MB, in both versions of the
/// interface: this machine may have either.
fn show_used(root: &Path, bytes: u64) {
    let write = |path: &str, text: &str| {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        // Renamed into place: the warden must never read half of it.
        let draft = path.with_extension("draft");
        std::fs::write(&draft, text).unwrap();
        std::fs::rename(&draft, &path).unwrap();
    };
    write("cgroup.controllers", "memory pids\n");
    for directory in ["", "memory/"] {
        write(
            &format!("{directory}memory.stat"),
            "inactive_file 0\ntotal_inactive_file 0\n",
        );
    }
    write("memory.current", &format!("{bytes}\n"));
    write("memory.max", "100000000\n");
    write("memory/memory.usage_in_bytes", &format!("{bytes}\n"));
    write("memory/memory.limit_in_bytes", "100000000\n");
}

#[tokio::test]
async fn d10_the_largest_cell_is_ended_before_the_container_is_and_its_neighbour_stays() {
    let groups = tempfile::tempdir().unwrap();
    show_used(groups.path(), 50_000_000);
    let node = Node::with(&["--cgroup-dir", groups.path().to_str().unwrap()]).await;
    let (large, small) = (node.cell("large").await, node.cell("small").await);
    let module = node.compile(&wat::fills_memory()).await;
    let mut hungry = spec(&module);
    hungry.grants.limits.memory_bytes = 64 << 20;
    large.put("u-large", &hungry).await;
    let waits = node.compile(&wat::waits()).await;
    small.put("u-small", &spec(&waits)).await;
    eventually("its memory is full", || async {
        large.log("u-large").await.pop()
    })
    .await;
    let before = small.reaches("u-small", VmState::Running).await;

    show_used(groups.path(), 95_000_000);
    gone(large.facts.pid).await;
    show_used(groups.path(), 50_000_000);
    eventually("only the neighbour is listed", || async {
        let cells = node.client().cells().await.unwrap().cells;
        (cells == [small.facts.clone()]).then_some(())
    })
    .await;
    assert_eq!(small.client.vm("u-small").await.unwrap().unwrap(), before);
}
