//! The container's memory, or the host's, runs out: files stop growing, and nobody ends for it.
//!
//! Who ends when there is even less is in the tests `compiling`, under `pressure`.

use std::path::Path;

use agentvm_cell_api::cell::VmState;

use crate::files::work;
use crate::harness::{Node, TestCell, eventually, spec};
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
async fn b09_files_stop_growing_under_memory_pressure_are_marked_and_grow_again_after_it() {
    let groups = tempfile::tempdir().unwrap();
    show_used(groups.path(), 50_000_000);
    let node = Node::with(&["--cgroup-dir", groups.path().to_str().unwrap()]).await;
    let grows = node.compile(&wat::files::grows("work/log")).await;
    let cell = node.cell("team-a").await;
    let mut spec = spec(&grows);
    spec.mounts = vec![work()];
    spec.grants.limits.storage_bytes = 1 << 30;
    cell.put("u-1", &spec).await;
    let said = |cell: &TestCell, lines: &'static [&'static str]| {
        let client = cell.client.clone();
        eventually("the guest says so", move || {
            let client = client.clone();
            async move {
                let log = client.log("u-1").await.unwrap();
                let log = String::from_utf8(log.to_vec()).unwrap();
                let said: Vec<&str> = ["refused", "grown", "refused"]
                    .into_iter()
                    .take(log.lines().count())
                    .collect();
                (said == lines).then_some(())
            }
        })
    };
    let marked = |cell: &TestCell, uid: &'static str, marked: bool| {
        let client = cell.client.clone();
        eventually("the mark is as it should be", move || {
            let client = client.clone();
            async move {
                let vm = client.vm(uid).await.unwrap().unwrap();
                (vm.storage_pressure == marked).then_some(vm)
            }
        })
    };
    let running = cell.reaches("u-1", VmState::Running).await;
    assert!(!running.storage_pressure);

    show_used(groups.path(), 81_000_000);
    said(&cell, &["refused"]).await;
    let pressed = marked(&cell, "u-1", true).await;
    assert!(
        pressed.version > running.version,
        "who follows the list hears of it"
    );
    // A VM and a cell that come now are under pressure as well.
    let waits = node.compile(&wat::waits()).await;
    let mut idle = crate::harness::spec(&waits);
    idle.mounts = vec![work()];
    cell.put("u-2", &idle).await;
    marked(&cell, "u-2", true).await;
    let late = node.cell("team-b").await;
    late.put("u-3", &idle).await;
    marked(&late, "u-3", true).await;
    // One without files has nothing that could grow.
    let bare = cell.put("u-4", &crate::harness::spec(&waits)).await;
    assert!(!bare.storage_pressure);
    let usage = cell.client.stats().await.unwrap().vms;
    assert!(usage["u-1"].filesystem.host > 0, "{usage:?}");

    show_used(groups.path(), 70_000_000);
    said(&cell, &["refused", "grown"]).await;
    marked(&cell, "u-1", false).await;
    marked(&late, "u-3", false).await;
}

/// Lets a process have `bytes` of address space, or no bound.
fn bound_address_space(pid: u32, bytes: Option<u64>) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap());
    let bound = rustix::process::Rlimit {
        current: bytes,
        maximum: None,
    };
    rustix::process::prlimit(pid, rustix::process::Resource::As, bound).unwrap();
}

#[tokio::test]
async fn d11_memory_that_the_host_refuses_is_an_errno_and_a_mark_and_ends_nobody() {
    let node = Node::start().await;
    let fills = node
        .compile(&wat::files::fills_until_refused("work/big"))
        .await;
    let waits = node.compile(&wat::waits()).await;
    let cell = node.cell("team-a").await;
    let neighbour = spec(&waits);
    cell.put("u-neighbour", &neighbour).await;
    let neighbour = cell.reaches("u-neighbour", VmState::Running).await;
    // Loads the code and starts threads.
    let mut small = spec(&fills);
    small.mounts = vec![work()];
    cell.put("u-warm", &small).await;
    eventually("its own limit is used up", || async {
        cell.log("u-warm").await.pop()
    })
    .await;

    let mapped = std::fs::read_to_string(format!("/proc/{}/statm", cell.facts.pid)).unwrap();
    let pages: u64 = mapped.split(' ').next().unwrap().parse().unwrap();
    bound_address_space(cell.facts.pid, Some(pages * 4096 + (32 << 20)));
    let mut large = small;
    large.grants.limits.storage_bytes = 1 << 30;
    cell.put("u-1", &large).await;
    eventually("the host refuses", || async { cell.log("u-1").await.pop() }).await;
    eventually("the mark is there", || async {
        let vm = cell.client.vm("u-1").await.unwrap().unwrap();
        vm.storage_pressure.then_some(())
    })
    .await;
    let usage = cell.client.stats().await.unwrap().vms;
    assert!(usage["u-1"].filesystem.host >= 1, "{usage:?}");
    assert_eq!(usage["u-1"].filesystem.quota, 0, "{usage:?}");
    assert!(usage["u-1"].storage_bytes < 100 << 20, "{usage:?}");

    bound_address_space(cell.facts.pid, None);
    let stopped = cell.client.delete_vm(
        "u-1",
        std::time::Duration::from_secs(10),
        agentvm_policy::EndReason::Stopped,
    );
    stopped.await.unwrap();
    // 48 is ENOMEM.
    let (_, code) = cell.ends("u-1").await;
    assert_eq!(code, Some(48));
    let after = cell.client.vm("u-neighbour").await.unwrap().unwrap();
    assert_eq!(after, neighbour);
}

/// Modules that a warden holds in memory.
fn held(node: &Node) -> usize {
    let descriptors = std::fs::read_dir(format!("/proc/{}/fd", node.pid())).unwrap();
    let targets = descriptors.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok());
    targets
        .filter(|target| target.to_string_lossy().contains("memfd:"))
        .count()
}

#[tokio::test]
async fn d10_machine_code_that_is_on_disk_too_goes_before_anybody_ends() {
    let groups = tempfile::tempdir().unwrap();
    show_used(groups.path(), 50_000_000);
    let node = Node::with(&["--cgroup-dir", groups.path().to_str().unwrap()]).await;
    let module = node.compile(&wat::waits()).await;
    assert_eq!(held(&node), 1);
    show_used(groups.path(), 95_000_000);
    eventually("it is dropped", || async {
        (held(&node) == 0).then_some(())
    })
    .await;
    show_used(groups.path(), 50_000_000);
    let cell = node.cell("team-a").await;
    cell.put("u-1", &spec(&module)).await;
    cell.reaches("u-1", VmState::Running).await;
    assert_eq!(held(&node), 1, "it was read from disk");
}
