//! The life of VMs in one cell.

use std::time::{Duration, Instant};

use agentvm_cell_api::cell::VmState;
use agentvm_cell_api::problem::Reason;
use agentvm_cell_api::warden::ModuleKind;
use agentvm_policy::EndReason;

use crate::harness::{Node, eventually, spec};
use crate::wat;

#[tokio::test]
async fn a_guest_that_prints_ends_as_completed_with_its_line_in_both_logs() {
    let node = Node::start().await;
    let module = node.compile(&wat::prints("hello")).await;
    let cell = node.cell("team-a").await;
    let status = cell.put("u-1", &spec(&module)).await;
    assert_eq!(
        (status.uid.as_str(), status.spec.name.as_str()),
        ("u-1", "heron")
    );

    assert_eq!(cell.ends("u-1").await, (EndReason::Completed, Some(0)));
    let line = eventually("a line on stdout", || async {
        node.lines().into_iter().next()
    })
    .await;
    assert_eq!(line.text.as_deref(), Some("hello"));
    assert_eq!(
        (line.namespace.as_str(), line.vm.as_str(), line.uid.as_str()),
        ("team-a", "heron", "u-1")
    );
    assert_eq!(
        cell.log("u-1").await,
        [line],
        "who has seen the end finds the last line"
    );
    let usage = cell
        .client
        .stats()
        .await
        .unwrap()
        .vms
        .remove("u-1")
        .unwrap();
    assert_eq!(
        (usage.log_bytes, usage.log_dropped_bytes, usage.memory_bytes),
        (6, 0, 0)
    );
    assert!(usage.fuel > 0 && usage.cpu_ns > 0 && usage.start_latency_ns > 0);
}

#[tokio::test]
async fn a_guest_that_exits_with_3_ends_as_error_with_code_3() {
    let node = Node::start().await;
    let module = node.compile(&wat::exits(3)).await;
    let cell = node.cell("team-a").await;
    cell.put("u-1", &spec(&module)).await;
    assert_eq!(cell.ends("u-1").await, (EndReason::Error, Some(3)));
}

#[tokio::test]
async fn a_component_runs_in_the_same_jail() {
    let node = Node::start().await;
    let module = node.compile(&wat::component()).await;
    assert_eq!(module.kind, ModuleKind::Component);
    let cell = node.cell("team-a").await;
    let mut component = spec(&module);
    component.kind = ModuleKind::Component;
    cell.put("u-1", &component).await;
    let end = cell.reaches("u-1", VmState::Ended).await.end.unwrap();
    assert_eq!(end.reason, EndReason::Completed, "{end:?}");
}

#[tokio::test]
async fn an_ended_vm_is_kept_until_it_is_deleted_and_then_forgotten_with_its_log() {
    let node = Node::start().await;
    let module = node.compile(&wat::prints("hello")).await;
    let cell = node.cell("team-a").await;
    cell.put("u-1", &spec(&module)).await;
    cell.ends("u-1").await;
    let deleted = cell
        .client
        .delete_vm("u-1", Duration::ZERO, EndReason::Stopped)
        .await
        .unwrap();
    assert_eq!(deleted.unwrap().end.unwrap().reason, EndReason::Completed);
    assert_eq!(cell.client.vm("u-1").await.unwrap(), None);
    assert_eq!(
        cell.client.log("u-1").await.unwrap_err().reason(),
        Some(Reason::NotFound)
    );
    assert_eq!(
        cell.client.list_vms(0, Duration::ZERO).await.unwrap().vms,
        []
    );
    assert!(
        crate::harness::is_empty(&node.log_dir()),
        "log files have no names"
    );
}

#[tokio::test]
async fn a_guest_that_is_deleted_sees_its_stdin_close_and_uses_its_grace() {
    let node = Node::start().await;
    let module = node.compile(&wat::waits()).await;
    let cell = node.cell("team-a").await;
    cell.put("u-1", &spec(&module)).await;
    eventually("it is ready", || async { cell.log("u-1").await.pop() }).await;

    let minute = Duration::from_mins(1);
    let asked = Instant::now();
    let stopping = cell
        .client
        .delete_vm("u-1", minute, EndReason::Stopped)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(stopping.state, VmState::Stopping);
    assert_eq!(cell.ends("u-1").await, (EndReason::Stopped, Some(0)));
    assert!(
        asked.elapsed() < minute / 2,
        "it did not wait for its grace to pass"
    );
    let texts = eventually("it said bye", || async {
        let texts: Vec<_> = cell
            .log("u-1")
            .await
            .into_iter()
            .filter_map(|line| line.text)
            .collect();
        (texts.len() == 2).then_some(texts)
    })
    .await;
    assert_eq!(texts, ["ready", "bye"]);
}

#[tokio::test]
async fn a_guest_that_ignores_its_grace_is_stopped_when_it_is_over() {
    let node = Node::start().await;
    let module = node.compile(&wat::spins()).await;
    let cell = node.cell("team-a").await;
    cell.put("u-1", &spec(&module)).await;
    cell.reaches("u-1", VmState::Running).await;
    let asked = Instant::now();
    let grace = Duration::from_millis(300);
    cell.client
        .delete_vm("u-1", grace, EndReason::Evicted)
        .await
        .unwrap();
    assert_eq!(cell.ends("u-1").await, (EndReason::Evicted, None));
    let took = asked.elapsed();
    assert!(
        (grace..grace + Duration::from_secs(2)).contains(&took),
        "{took:?}"
    );
}

#[tokio::test]
async fn a_later_delete_shortens_the_grace() {
    let node = Node::start().await;
    let module = node.compile(&wat::spins()).await;
    let cell = node.cell("team-a").await;
    cell.put("u-1", &spec(&module)).await;
    cell.reaches("u-1", VmState::Running).await;
    let hour = Duration::from_hours(1);
    cell.client
        .delete_vm("u-1", hour, EndReason::Stopped)
        .await
        .unwrap();
    cell.client
        .delete_vm("u-1", Duration::ZERO, EndReason::Evicted)
        .await
        .unwrap();
    assert_eq!(cell.ends("u-1").await, (EndReason::Evicted, None));
}

#[tokio::test]
async fn the_same_put_twice_runs_one_vm_and_another_epoch_or_attempt_is_refused() {
    let node = Node::start().await;
    let module = node.compile(&wat::waits()).await;
    let cell = node.cell("team-a").await;
    let mut spec = spec(&module);
    (spec.epoch, spec.attempt) = (5, 5);
    cell.put("u-1", &spec).await;
    let running = cell.reaches("u-1", VmState::Running).await;
    let again = cell.put("u-1", &spec).await;
    assert_eq!(again.started_unix_ms, running.started_unix_ms);
    for (epoch, attempt) in [(4, 5), (6, 5), (5, 4), (5, 6)] {
        (spec.epoch, spec.attempt) = (epoch, attempt);
        let refused = cell.client.put_vm("u-1", &spec).await.unwrap_err();
        assert_eq!(
            refused.reason(),
            Some(Reason::Conflict),
            "epoch {epoch} attempt {attempt}"
        );
    }
}

#[tokio::test]
async fn live_limits_change_while_the_guest_runs() {
    let node = Node::start().await;
    let module = node.compile(&wat::spins()).await;
    let cell = node.cell("team-a").await;
    let mut spec = spec(&module);
    cell.put("u-1", &spec).await;
    cell.reaches("u-1", VmState::Running).await;
    spec.grants.limits.cpu_millicores = 10;
    let updated = cell.put("u-1", &spec).await;
    assert_eq!(updated.spec.grants.limits.cpu_millicores, 10);
    eventually("it is throttled", || async {
        let usage = cell
            .client
            .stats()
            .await
            .unwrap()
            .vms
            .remove("u-1")
            .unwrap();
        (usage.throttled_ns > 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_list_waits_for_the_next_change_and_holds_what_changed_only() {
    let node = Node::start().await;
    let module = node.compile(&wat::waits()).await;
    let cell = node.cell("team-a").await;
    let all = cell
        .client
        .list_vms(0, Duration::from_mins(1))
        .await
        .unwrap();
    assert!(
        all.vms.is_empty() && all.version > 0,
        "an empty cell answers at once, with a version"
    );
    cell.put("u-1", &spec(&module)).await;
    let running = cell.reaches("u-1", VmState::Running).await;

    let (client, since) = (cell.client.clone(), running.version);
    let waiting = tokio::spawn(async move { client.list_vms(since, Duration::from_mins(1)).await });
    cell.put("u-2", &spec(&module)).await;
    let changed = waiting.await.unwrap().unwrap();
    let uids: Vec<_> = changed.vms.iter().map(|vm| vm.uid.as_str()).collect();
    assert_eq!(uids, ["u-2"]);

    cell.reaches("u-2", VmState::Running).await;
    let latest = cell.client.list_vms(0, Duration::ZERO).await.unwrap();
    assert_eq!(latest.vms.len(), 2);
    let asked = Instant::now();
    let wait = Duration::from_millis(200);
    let nothing = cell.client.list_vms(latest.version, wait).await.unwrap();
    assert!(nothing.vms.is_empty() && asked.elapsed() >= wait);
    let of_another_cell = cell
        .client
        .list_vms(latest.version + 1000, Duration::from_mins(1))
        .await;
    assert_eq!(
        of_another_cell.unwrap().vms.len(),
        2,
        "a version from another life asks for all"
    );
}

#[tokio::test]
async fn a_full_cell_refuses_one_more_and_takes_it_when_one_has_ended() {
    let node = Node::with(&["--max-vms-per-cell", "2"]).await;
    let module = node.compile(&wat::waits()).await;
    let cell = node.cell("team-a").await;
    cell.put("u-1", &spec(&module)).await;
    cell.put("u-2", &spec(&module)).await;
    let refused = cell.client.put_vm("u-3", &spec(&module)).await.unwrap_err();
    assert_eq!(refused.reason(), Some(Reason::Exhausted));
    cell.client
        .delete_vm("u-1", Duration::ZERO, EndReason::Stopped)
        .await
        .unwrap();
    cell.ends("u-1").await;
    cell.put("u-3", &spec(&module)).await;
    cell.reaches("u-3", VmState::Running).await;
}

#[tokio::test]
async fn requests_that_make_no_sense_are_refused_with_a_reason() {
    let node = Node::start().await;
    let module = node.compile(&wat::prints("hello")).await;
    let cell = node.cell("team-a").await;
    let mut missing = spec(&module);
    missing.module = "0".repeat(64);
    let mut wrong_kind = spec(&module);
    wrong_kind.kind = ModuleKind::Component;
    let mut nameless = spec(&module);
    nameless.name = "a\nb".to_owned();
    for (uid, spec, reason) in [
        ("u-1", &missing, Reason::NotFound),
        ("u-1", &wrong_kind, Reason::BadRequest),
        ("u-1", &nameless, Reason::BadRequest),
        ("..%2Fu", &spec(&module), Reason::BadRequest),
    ] {
        let refused = cell.client.put_vm(uid, spec).await.unwrap_err();
        assert_eq!(refused.reason(), Some(reason), "{uid} {spec:?}");
    }
    let refused = cell
        .client
        .delete_vm("u-1", Duration::ZERO, EndReason::Completed)
        .await;
    assert_eq!(refused.unwrap_err().reason(), Some(Reason::BadRequest));
    assert_eq!(
        cell.client.list_vms(0, Duration::ZERO).await.unwrap().vms,
        []
    );
}
