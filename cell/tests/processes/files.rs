//! Mounts over the socket: made, used, swapped, counted, never shown, given back.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use agentvm_cell_api::cell::{Usage, VmSpec, VmState};
use agentvm_cell_api::mounts::{FileContent, Files, Mount, MountSource, digest};
use agentvm_cell_api::problem::Reason;
use agentvm_cell_api::warden::Module;
use agentvm_policy::EndReason;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::harness::{Node, TestCell, eventually, spec};
use crate::wat;

const MIB: u64 = 1 << 20;

/// A writable directory.
pub(crate) fn work() -> Mount {
    Mount {
        path: "/work".to_owned(),
        read_only: false,
        source: MountSource::EmptyDir {
            size_limit_bytes: None,
            archive: None,
        },
    }
}

fn settings(text: &str) -> Mount {
    let content = FileContent {
        mode: 0o444,
        data: format!("{text}\n").into_bytes().into(),
    };
    let files: Files = BTreeMap::from([("app.conf".to_owned(), content)]);
    Mount {
        path: "/etc/app".to_owned(),
        read_only: true,
        source: MountSource::Files {
            sha256: digest(&files),
            files: Some(files),
        },
    }
}

fn mounting(module: &Module, mounts: &[Mount]) -> VmSpec {
    let mut spec = spec(module);
    spec.mounts = mounts.to_vec();
    spec
}

async fn usage(cell: &TestCell, uid: &str) -> Usage {
    cell.client.stats().await.unwrap().vms.remove(uid).unwrap()
}

/// Waits until the VM has printed `lines`.
async fn prints(cell: &TestCell, uid: &str, lines: &[&str]) {
    eventually(&format!("{uid} prints {lines:?}"), || async {
        let log = cell.log(uid).await;
        let text: Vec<&str> = log.iter().filter_map(|line| line.text.as_deref()).collect();
        (text == lines).then_some(())
    })
    .await;
}

/// The bytes that a socket answers.
fn raw(cell: &TestCell, path: &str) -> String {
    let mut socket = UnixStream::connect(&cell.facts.socket).unwrap();
    write!(
        socket,
        "GET {path} HTTP/1.1\r\nhost: cell\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer
}

#[tokio::test]
async fn a_change_of_files_reaches_the_guest_while_it_runs() {
    let node = Node::start().await;
    let module = node
        .compile(&wat::files::prints_when_changed("etc/app/app.conf"))
        .await;
    let cell = node.cell("team-a").await;
    let mut spec = mounting(&module, &[work(), settings("heron")]);
    let started = cell.put("u-1", &spec).await;
    assert_eq!(started.spec, spec.without_files());
    prints(&cell, "u-1", &["heron"]).await;

    spec.mounts = vec![work(), settings("egret")];
    let updated = cell.put("u-1", &spec).await;
    assert_eq!(updated.spec, spec.without_files());
    assert!(updated.version > started.version);
    prints(&cell, "u-1", &["heron", "egret"]).await;

    // What is echoed can be sent back, with other limits.
    let mut echoed = updated.spec;
    echoed.grants.limits.cpu_millicores = 500;
    assert_eq!(cell.put("u-1", &echoed).await.spec, echoed);
}

#[tokio::test]
async fn files_that_do_not_fit_are_refused_and_the_old_ones_stay() {
    let node = Node::start().await;
    let module = node
        .compile(&wat::files::prints_when_changed("etc/app/app.conf"))
        .await;
    let cell = node.cell("team-a").await;
    let mut spec = mounting(&module, &[settings("heron")]);
    spec.grants.limits.storage_bytes = 64 << 10;
    cell.put("u-1", &spec).await;
    prints(&cell, "u-1", &["heron"]).await;

    let mut large = spec.clone();
    large.mounts = vec![settings(&"x".repeat(100 << 10))];
    large.grants.limits.cpu_millicores = 777;
    let refused = cell.client.put_vm("u-1", &large).await.unwrap_err();
    assert_eq!(refused.reason(), Some(Reason::NoSpace));
    assert!(refused.to_string().contains("/etc/app"), "{refused}");
    assert!(refused.to_string().contains("limits.storage"), "{refused}");
    let held = cell.client.vm("u-1").await.unwrap().unwrap().spec;
    assert_eq!(held.mounts, spec.without_files().mounts);
    assert_eq!(held.grants.limits.cpu_millicores, 777, "the rest holds");

    spec.mounts = vec![settings("egret")];
    cell.put("u-1", &spec).await;
    prints(&cell, "u-1", &["heron", "egret"]).await;
}

#[tokio::test]
async fn mounts_that_cannot_be_made_start_nothing() {
    let node = Node::start().await;
    let module = node.compile(&wat::waits()).await;
    let cell = node.cell("team-a").await;
    let mut relative = work();
    relative.path = "work".to_owned();
    let mut other = settings("heron");
    other.source = match settings("egret").source {
        MountSource::Files { files, .. } => MountSource::Files {
            sha256: settings("heron").sha256().unwrap().to_owned(),
            files,
        },
        source @ MountSource::EmptyDir { .. } => source,
    };
    for (mount, reason, says) in [
        (relative, Reason::InvalidMounts, "must be absolute"),
        (other, Reason::InvalidMounts, "SHA-256"),
        (
            settings("heron").without_files(),
            Reason::InvalidMounts,
            "does not bring them",
        ),
        (
            settings(&"x".repeat(2 << 20)),
            Reason::NoSpace,
            "limits.storage",
        ),
    ] {
        let refused = cell
            .client
            .put_vm("u-1", &mounting(&module, &[mount]))
            .await
            .unwrap_err();
        assert_eq!(refused.reason(), Some(reason), "{refused}");
        assert!(refused.to_string().contains(says), "{refused}");
        assert_eq!(cell.client.vm("u-1").await.unwrap(), None);
    }
    // A mount can't come or go while the VM runs.
    cell.put("u-1", &mounting(&module, &[work()])).await;
    let more = mounting(&module, &[work(), settings("heron")]);
    let refused = cell.client.put_vm("u-1", &more).await.unwrap_err();
    assert_eq!(refused.reason(), Some(Reason::Conflict));
}

#[tokio::test]
async fn a_body_that_is_too_long_is_refused_with_a_sentence() {
    let node = Node::start().await;
    let module = node.compile(&wat::waits()).await;
    let cell = node.cell("team-a").await;
    let huge = mounting(&module, &[settings(&"x".repeat(25 << 20))]);
    match cell.client.put_vm("u-1", &huge).await {
        Err(refused) if refused.reason() == Some(Reason::BadRequest) => {
            assert!(
                refused.to_string().contains("more than 32 MiB"),
                "{refused}"
            );
        }
        // The cell may close the connection before all of it is sent.
        Err(refused) => assert_eq!(refused.reason(), None, "{refused}"),
        Ok(status) => panic!("started: {status:?}"),
    }
}

#[tokio::test]
async fn what_files_hold_is_counted_and_is_nothing_after_the_end() {
    let node = Node::start().await;
    let module = node.compile(&wat::files::fills("work/big", 2)).await;
    let cell = node.cell("team-a").await;
    let mut spec = mounting(&module, &[work()]);
    spec.grants.limits.storage_bytes = 3 * MIB;
    cell.put("u-1", &spec).await;
    prints(&cell, "u-1", &["full"]).await;
    let held = usage(&cell, "u-1").await;
    assert!((2 * MIB..3 * MIB).contains(&held.storage_bytes), "{held:?}");
    assert_eq!(held.inodes, 1, "the file: {held:?}");
    assert!(held.filesystem.ok >= 32, "{held:?}");

    cell.client
        .delete_vm("u-1", Duration::from_secs(10), EndReason::Stopped)
        .await
        .unwrap();
    let end = cell.reaches("u-1", VmState::Ended).await.end.unwrap().usage;
    assert_eq!((end.storage_bytes, end.inodes), (0, 0));
    assert!(end.storage_peak_bytes >= held.storage_bytes, "{end:?}");
    assert!(end.filesystem.ok >= held.filesystem.ok, "{end:?}");
}

#[tokio::test]
async fn files_that_are_kept_are_counted_until_they_are_deleted() {
    let node = Node::start().await;
    let module = node.compile(&wat::files::fills("work/big", 1)).await;
    let cell = node.cell("team-a").await;
    let mut spec = mounting(&module, &[work()]);
    spec.grants.limits.storage_bytes = 2 * MIB;
    spec.keep_files = true;
    cell.put("u-1", &spec).await;
    prints(&cell, "u-1", &["full"]).await;
    let stop = || {
        cell.client
            .delete_vm("u-1", Duration::from_secs(10), EndReason::Stopped)
    };
    stop().await.unwrap();
    let end = cell.reaches("u-1", VmState::Ended).await.end.unwrap();
    assert!(end.usage.storage_bytes >= MIB, "{end:?}");
    stop().await.unwrap();
    assert_eq!(cell.client.vm("u-1").await.unwrap(), None);
}

#[tokio::test]
async fn the_quota_reaches_the_guest_and_its_count() {
    let node = Node::start().await;
    // 51 is ENOSPC.
    let module = node.compile(&wat::files::fills("work/big", 8)).await;
    let cell = node.cell("team-a").await;
    cell.put("u-1", &mounting(&module, &[work()])).await;
    assert_eq!(cell.ends("u-1").await, (EndReason::Error, Some(51)));
    assert!(usage(&cell, "u-1").await.filesystem.quota >= 1);
}

#[tokio::test]
async fn the_memory_of_files_goes_back_to_the_system_after_the_end() {
    let node = Node::start().await;
    let module = node.compile(&wat::files::fills("work/big", 64)).await;
    let cell = node.cell("team-a").await;
    let resident = || async { cell.client.stats().await.unwrap().resident_bytes };
    let mut spec = mounting(&module, &[work()]);
    spec.grants.limits.storage_bytes = 80 * MIB;
    let mut before = 0;
    // The first one loads code and starts threads.
    for uid in ["u-warm", "u-1", "u-2"] {
        cell.put(uid, &spec).await;
        prints(&cell, uid, &["full"]).await;
        let during = resident().await;
        if before > 0 {
            assert!(
                during > before + 60 * MIB,
                "{during} during, {before} before"
            );
        }
        cell.client
            .delete_vm(uid, Duration::from_secs(10), EndReason::Stopped)
            .await
            .unwrap();
        cell.reaches(uid, VmState::Ended).await;
        let after = eventually("memory is given back", || async {
            let now = resident().await;
            (now + 60 * MIB < during).then_some(now)
        })
        .await;
        if before > 0 {
            let left = after.saturating_sub(before);
            assert!(left < 4 * MIB, "{left} bytes are left of 64 MiB");
            println!("resident: {before} before, {during} during, {after} after");
        }
        before = after;
    }
}

#[tokio::test]
async fn no_answer_and_no_log_has_a_files_bytes() {
    let canary = format!("canary-{}", std::process::id());
    let node = Node::start().await;
    let module = node.compile(&wat::waits()).await;
    let cell = node.cell("team-a").await;
    cell.put("u-1", &mounting(&module, &[settings(&canary)]))
        .await;
    cell.reaches("u-1", VmState::Running).await;
    let mut bad = mounting(&module, &[settings(&canary)]);
    bad.mounts[0].path = "etc".to_owned();
    let refused = cell.client.put_vm("u-2", &bad).await.unwrap_err();
    let mut broken = mounting(&module, &[settings(&canary)]);
    broken.epoch = 7;
    let conflict = cell.client.put_vm("u-1", &broken).await.unwrap_err();
    let said = [
        raw(&cell, "/v1/vms"),
        raw(&cell, "/v1/vms/u-1"),
        raw(&cell, "/v1/vms/u-1/log"),
        raw(&cell, "/v1/stats"),
        format!("{refused} {conflict}"),
        format!("{:?}", node.lines()),
    ];
    for text in &said {
        assert!(!text.contains(&canary), "{text}");
        assert!(!text.contains(&STANDARD.encode(&canary)), "{text}");
    }
    assert!(
        said[0].contains(settings(&canary).sha256().unwrap()),
        "{}",
        said[0]
    );
}
