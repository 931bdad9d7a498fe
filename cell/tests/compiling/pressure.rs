//! Memory that runs out: bombs go before cells, and a flood is seen before the container is full.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use agentvm_cell_api::cell::VmState;
use agentvm_cell_api::problem::Reason;
use agentvm_cell_api::warden::CellEnd;
use tempfile::TempDir;

use crate::harness::{Node, eventually, gone, spec};
use crate::{alone, ask, make, put};

const MIB: u64 = 1 << 20;

/// Plays the kernel of a container: shows what a warden and its children really hold as the
/// memory of a group with a limit.
struct Container {
    groups: TempDir,
    limit: u64,
    /// The warden; 0 before there is one.
    pid: Arc<AtomicU64>,
    most: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    counts: Option<JoinHandle<()>>,
}

impl Container {
    fn with(limit_mib: u64) -> Self {
        let groups = tempfile::tempdir().unwrap();
        let limit = limit_mib * MIB;
        show(
            groups.path(),
            "memory.stat",
            "inactive_file 0\ntotal_inactive_file 0\n",
        );
        show(groups.path(), "cgroup.controllers", "memory pids\n");
        for name in ["memory.max", "memory.limit_in_bytes"] {
            show(groups.path(), name, &format!("{limit}\n"));
        }
        let (pid, most, stop) = (
            Arc::<AtomicU64>::default(),
            Arc::<AtomicU64>::default(),
            Arc::<AtomicBool>::default(),
        );
        show_used(groups.path(), 0);
        let counts = std::thread::spawn({
            let (root, pid, most, stop) = (
                groups.path().to_owned(),
                pid.clone(),
                most.clone(),
                stop.clone(),
            );
            move || {
                while !stop.load(Ordering::Relaxed) {
                    let used = held(pid.load(Ordering::Relaxed));
                    most.fetch_max(used, Ordering::Relaxed);
                    show_used(&root, used);
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        });
        Self {
            groups,
            limit,
            pid,
            most,
            stop,
            counts: Some(counts),
        }
    }

    /// A warden in the container.
    async fn node(&self, flags: &[&str]) -> Node {
        let root = self.groups.path().to_str().unwrap();
        let node = Node::with(&[&["--cgroup-dir", root], flags].concat()).await;
        self.pid.store(u64::from(node.pid()), Ordering::Relaxed);
        node
    }

    /// The most that was held at any time, in percent of the limit.
    fn most_percent(&self) -> u64 {
        self.most.load(Ordering::Relaxed) * 100 / self.limit
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ended = self.counts.take().map(JoinHandle::join);
    }
}

/// Writes a file of a group, in both versions of the interface, in one step.
fn show(root: &Path, name: &str, text: &str) {
    for directory in ["", "memory"] {
        let path = root.join(directory).join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let draft = path.with_extension("draft");
        std::fs::write(&draft, text).unwrap();
        std::fs::rename(&draft, &path).unwrap();
    }
}

fn show_used(root: &Path, bytes: u64) {
    for name in ["memory.current", "memory.usage_in_bytes"] {
        show(root, name, &format!("{bytes}\n"));
    }
}

/// What a process and its children hold, each alone.
fn held(pid: u64) -> u64 {
    if pid == 0 {
        return 0;
    }
    let children = PathBuf::from(format!("/proc/{pid}/task/{pid}/children"));
    let children = std::fs::read_to_string(children).unwrap_or_default();
    let all = children.split(' ').filter_map(|child| child.parse().ok());
    all.chain([pid]).map(private).sum()
}

fn private(pid: u64) -> u64 {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    let pages = |field: usize| -> u64 {
        let number = statm.split(' ').nth(field);
        number.and_then(|text| text.parse().ok()).unwrap_or(0)
    };
    pages(1).saturating_sub(pages(2)) * 4096
}

#[tokio::test]
async fn d10_many_vms_that_fill_their_memory_at_once_are_seen_before_the_container_is_full() {
    let _alone = alone().await;
    let container = Container::with(800);
    let node = container.node(&[]).await;
    let (hostile, healthy) = (node.cell("hostile").await, node.cell("healthy").await);
    let waits = put(&node, "healthy", make::fills(1)).await.unwrap();
    healthy.put("u-healthy", &spec(&waits)).await;
    let before = healthy.reaches("u-healthy", VmState::Running).await;

    let fills = put(&node, "hostile", make::fills(60)).await.unwrap();
    let mut hungry = spec(&fills);
    hungry.grants.limits.memory_bytes = 64 * MIB;
    hungry.grants.limits.cpu_millicores = 64_000;
    for number in 0..24 {
        let uid = format!("u-{number}");
        // The cell may be gone by now.
        let _asked = hostile.client.put_vm(&uid, &hungry).await;
    }
    gone(hostile.facts.pid).await;
    println!(
        "at most {} % of the limit were held",
        container.most_percent()
    );
    assert!(
        container.most_percent() < 100,
        "{}",
        container.most_percent()
    );

    let record = eventually("its end is listed", || async {
        node.client().cells().await.unwrap().ended.pop()
    })
    .await;
    assert_eq!(record.namespace, "hostile");
    assert_eq!(record.instance, hostile.facts.instance);
    assert_eq!(record.reason, CellEnd::MemoryPressure);
    for part in ["800 MiB", "88 %", "namespace hostile held", "promised"] {
        assert!(record.message.contains(part), "{part}: {}", record.message);
    }
    let left = node.client().cells().await.unwrap().cells;
    assert_eq!(left, std::slice::from_ref(&healthy.facts));
    let after = healthy.client.vm("u-healthy").await.unwrap().unwrap();
    assert_eq!(
        (after.state, after.started_unix_ms),
        (before.state, before.started_unix_ms)
    );
}

#[tokio::test]
async fn e02_under_memory_pressure_a_bombs_compiler_goes_before_any_cell() {
    let _alone = alone().await;
    let container = Container::with(220);
    let node = container.node(&[]).await;
    let healthy = node.cell("healthy").await;
    let fills = put(&node, "healthy", make::fills(60)).await.unwrap();
    let mut large = spec(&fills);
    large.grants.limits.memory_bytes = 64 * MIB;
    healthy.put("u-healthy", &large).await;
    let before = healthy.reaches("u-healthy", VmState::Running).await;
    eventually("its memory is full", || async {
        (container.most.load(Ordering::Relaxed) > 60 * MIB).then_some(())
    })
    .await;

    let refused = ask(&node, "hostile", make::nests_loops(1000))
        .await
        .unwrap();
    let refused = refused.unwrap_err();
    println!(
        "at most {} % of the limit were held: {refused}",
        container.most_percent()
    );
    assert_eq!(refused.reason(), Some(Reason::Exhausted), "{refused}");
    assert!(refused.to_string().contains("short of memory"), "{refused}");
    let compiles = node.client().info().await.unwrap().compiles;
    assert_eq!(compiles.refused, 0, "it may be tried again");
    let cells = node.client().cells().await.unwrap();
    assert_eq!((cells.cells.len(), cells.ended), (1, Vec::new()));
    let after = healthy.client.vm("u-healthy").await.unwrap().unwrap();
    assert_eq!(
        (after.state, after.started_unix_ms),
        (before.state, before.started_unix_ms)
    );
}

#[tokio::test]
async fn d10_the_kernel_knows_that_compilers_and_cells_go_before_the_warden() {
    let _alone = alone().await;
    let node = Node::start().await;
    let cell = node.cell("team-a").await;
    let score = |pid: u32| -> i32 {
        let text = std::fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap();
        text.trim().parse().unwrap()
    };
    assert!(score(cell.facts.pid) > score(node.pid()));
}

#[tokio::test]
async fn the_list_says_how_cells_have_ended_and_their_number_is_bounded() {
    let _alone = alone().await;
    let node = Node::with(&["--max-cells", "2"]).await;
    assert_eq!(node.client().info().await.unwrap().max_cells, 2);
    let (first, second) = (node.cell("first").await, node.cell("second").await);
    let refused = node.client().start_cell("third").await.unwrap_err();
    assert_eq!(refused.reason(), Some(Reason::Exhausted), "{refused}");
    assert!(refused.to_string().contains("--max-cells"), "{refused}");
    assert_eq!(node.cell("first").await.facts, first.facts);

    node.client().stop_cell("first").await.unwrap();
    crate::harness::kill(second.facts.pid, rustix::process::Signal::KILL);
    let ended = eventually("both are listed", || async {
        let list = node.client().cells().await.unwrap();
        (list.ended.len() == 2).then_some(list.ended)
    })
    .await;
    let said: Vec<_> = ended
        .iter()
        .map(|cell| (cell.instance.as_str(), cell.reason))
        .collect();
    let expected = [
        (first.facts.instance.as_str(), CellEnd::Stopped),
        (second.facts.instance.as_str(), CellEnd::Exited),
    ];
    assert_eq!(said, expected);
    assert!(ended[1].message.contains("SIGKILL"), "{}", ended[1].message);
    node.cell("third").await;
}
