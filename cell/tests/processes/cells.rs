//! Cells as processes: one for each namespace, started, killed, replaced, ended.

use std::time::{Duration, Instant};

use agentvm_cell_api::cell::VmState;
use agentvm_cell_api::client::{CellClient, ClientError};
use agentvm_cell_api::problem::Reason;
use agentvm_policy::EndReason;
use rustix::process::Signal;

use crate::harness::{Node, eventually, gone, kill, spec};
use crate::wat;

#[tokio::test]
async fn each_namespace_has_a_cell_of_its_own_and_keeps_it() {
    let node = Node::start().await;
    let (a, b) = (node.cell("team-a").await, node.cell("team-b").await);
    assert_ne!(a.facts.pid, b.facts.pid);
    assert_ne!(a.facts.instance, b.facts.instance);
    assert_eq!(
        node.cell("team-a").await.facts,
        a.facts,
        "it is not started twice"
    );
    assert_eq!(
        node.client().cells().await.unwrap().cells,
        [a.facts, b.facts]
    );
}

#[tokio::test]
async fn a_cell_has_no_environment_and_only_the_descriptors_it_was_given() {
    let node = Node::start().await;
    let cell = node.cell("team-a").await;
    let environment = std::fs::read(format!("/proc/{}/environ", cell.facts.pid)).unwrap();
    assert_eq!(environment, b"");
    let descriptors = std::fs::read_dir(format!("/proc/{}/fd", cell.facts.pid)).unwrap();
    let open: Vec<String> = descriptors
        .filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok())
        .map(|target| target.to_string_lossy().into_owned())
        .collect();
    let known = [
        "socket:",
        "pipe:",
        "anon_inode:",
        "/dev/null",
        // Where a static program finds no `getrandom` by name: it gives what anyone may have.
        "/dev/urandom",
        "/dev/pts",
        "/dev/tty",
    ];
    let of_its_own = [
        format!("/proc/{}/stat", cell.facts.pid),
        format!("/proc/{}/pagemap", cell.facts.pid),
    ];
    for target in open {
        let expected = known.iter().any(|known| target.starts_with(known))
            || of_its_own.contains(&target)
            || target.contains("(deleted)") && !target.contains(".sock");
        assert!(
            expected || is_stderr_of_the_test(&target),
            "unexpected descriptor: {target}"
        );
    }
}

/// The test harness's own stderr is inherited, whatever it is.
fn is_stderr_of_the_test(target: &str) -> bool {
    std::fs::read_link("/proc/self/fd/2").is_ok_and(|stderr| stderr.to_string_lossy() == target)
}

#[tokio::test]
async fn l02_a_killed_cell_takes_its_own_vms_only_and_its_successor_is_another_instance() {
    let node = Node::start().await;
    let module = node.compile(&wat::waits()).await;
    let (a, b) = (node.cell("team-a").await, node.cell("team-b").await);
    a.put("u-a", &spec(&module)).await;
    b.put("u-b", &spec(&module)).await;
    let before = b.reaches("u-b", VmState::Running).await;

    kill(a.facts.pid, Signal::KILL);
    eventually("it left the list", || async {
        let cells = node.client().cells().await.unwrap().cells;
        (cells == [b.facts.clone()]).then_some(())
    })
    .await;
    let unreachable = a.client.vm("u-a").await.unwrap_err();
    assert!(
        matches!(unreachable, ClientError::Unreachable { .. }),
        "{unreachable}"
    );
    assert_eq!(b.client.vm("u-b").await.unwrap().unwrap(), before);

    let next = node.cell("team-a").await;
    assert_ne!(next.facts.instance, a.facts.instance);
    assert_eq!(
        next.client.list_vms(0, Duration::ZERO).await.unwrap().vms,
        []
    );
    next.put("u-a", &spec(&module)).await;
    next.reaches("u-a", VmState::Running).await;
}

#[tokio::test]
async fn a_deleted_cell_is_gone_with_its_socket_and_deleting_it_again_is_no_error() {
    let node = Node::start().await;
    let module = node.compile(&wat::spins()).await;
    let cell = node.cell("team-a").await;
    cell.put("u-1", &spec(&module)).await;
    node.client().stop_cell("team-a").await.unwrap();
    assert!(!std::path::Path::new(&cell.facts.socket).exists());
    gone(cell.facts.pid).await;
    assert_eq!(node.client().cells().await.unwrap().cells, []);
    node.client().stop_cell("team-a").await.unwrap();
}

#[tokio::test]
async fn a_cell_that_is_asked_for_while_it_is_deleted_is_a_new_one() {
    let node = Node::start().await;
    let module = node.compile(&wat::waits()).await;
    let first = node.cell("team-a").await;
    first.put("u-1", &spec(&module)).await;
    let client = node.client();
    let deleting = tokio::spawn(async move { client.stop_cell("team-a").await });
    gone(first.facts.pid).await;
    let next = node.cell("team-a").await;
    assert_ne!(next.facts.instance, first.facts.instance);
    deleting.await.unwrap().unwrap();
    next.put("u-1", &spec(&module)).await;
    next.reaches("u-1", VmState::Running).await;
}

#[tokio::test]
async fn a_deleted_cell_has_written_what_its_guests_said() {
    let node = Node::start().await;
    let module = node.compile(&wat::prints("hello")).await;
    let cell = node.cell("team-a").await;
    for number in 0..20 {
        cell.put(&format!("u-{number}"), &spec(&module)).await;
    }
    for number in 0..20 {
        cell.ends(&format!("u-{number}")).await;
    }
    node.client().stop_cell("team-a").await.unwrap();
    eventually("every line is on stdout", || async {
        (node.lines().len() == 20).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_namespace_that_is_no_dns_label_gets_no_cell() {
    let node = Node::start().await;
    for namespace in ["Team", "a.b", "-a", "a%2F..%2Fb", "..", &"x".repeat(64)] {
        let refused = node.client().start_cell(namespace).await.unwrap_err();
        assert!(
            matches!(
                refused.reason(),
                Some(Reason::BadRequest | Reason::NotFound)
            ),
            "{namespace}: {refused}"
        );
    }
    assert_eq!(node.client().cells().await.unwrap().cells, []);
}

#[tokio::test]
async fn sockets_are_open_to_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let node = Node::start().await;
    let cell = node.cell("team-a").await;
    for path in [
        node.client().socket(),
        std::path::Path::new(&cell.facts.socket),
    ] {
        let mode = std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", path.display());
        let directory = std::fs::metadata(path.parent().unwrap())
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(directory & 0o777, 0o700, "{}", path.display());
    }
}

#[tokio::test]
async fn cells_of_a_warden_that_is_killed_end_with_it() {
    let node = Node::start().await;
    let module = node.compile(&wat::spins()).await;
    let (a, b) = (node.cell("team-a").await, node.cell("team-b").await);
    a.put("u-1", &spec(&module)).await;
    a.reaches("u-1", VmState::Running).await;
    let directory = node.kill();
    gone(a.facts.pid).await;
    gone(b.facts.pid).await;
    let next = Node::start_in(directory, &[]).await;
    assert_eq!(next.client().cells().await.unwrap().cells, []);
    next.cell("team-a").await;
}

#[tokio::test]
async fn l07_a_warden_that_is_told_to_stop_gives_guests_their_grace_and_ends_cleanly() {
    let mut node = Node::with(&["--grace-seconds", "20"]).await;
    let module = node.compile(&wat::waits()).await;
    let cell = node.cell("team-a").await;
    cell.put("u-1", &spec(&module)).await;
    cell.reaches("u-1", VmState::Running).await;
    let watcher = CellClient::new(&cell.facts.socket);
    let version = watcher.list_vms(0, Duration::ZERO).await.unwrap().version;
    let watching = tokio::spawn(async move {
        let mut since = version;
        loop {
            let list = watcher
                .list_vms(since, Duration::from_secs(20))
                .await
                .unwrap();
            since = list.version;
            if let Some(end) = list.vms.into_iter().find_map(|vm| vm.end) {
                return end;
            }
        }
    });
    let asked = Instant::now();
    node.signal(Signal::TERM);
    assert_eq!(watching.await.unwrap().reason, EndReason::Evicted);
    assert!(node.ended().await.success());
    assert!(asked.elapsed() < Duration::from_secs(15));
    gone(cell.facts.pid).await;
    assert!(
        node.lines()
            .iter()
            .any(|line| line.text.as_deref() == Some("bye"))
    );
}

#[tokio::test]
async fn l07_a_guest_that_ignores_its_grace_does_not_keep_the_warden() {
    let mut node = Node::with(&["--grace-seconds", "1"]).await;
    let module = node.compile(&wat::spins()).await;
    let cell = node.cell("team-a").await;
    cell.put("u-1", &spec(&module)).await;
    cell.reaches("u-1", VmState::Running).await;
    let asked = Instant::now();
    node.signal(Signal::TERM);
    assert!(node.ended().await.success());
    assert!(
        asked.elapsed() < Duration::from_secs(8),
        "{:?}",
        asked.elapsed()
    );
    gone(cell.facts.pid).await;
}
