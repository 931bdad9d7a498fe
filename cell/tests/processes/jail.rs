//! The jail as the kernel shows it from outside, and the refusal to start without it.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags,
    SocketType,
};

use crate::harness::Node;
use crate::wat;

/// What `/proc` says of a process, as one text.
fn facts(pid: u32) -> String {
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
    let text = read("status") + &read("limits");
    text.lines()
        .map(|line| line.split_ascii_whitespace().collect::<Vec<_>>().join(" ") + "\n")
        .collect()
}

fn assert_jailed(pid: u32) {
    let facts = facts(pid);
    for line in [
        "NoNewPrivs: 1",
        "Seccomp: 2",
        "CapPrm: 0000000000000000",
        "CapEff: 0000000000000000",
        "CapInh: 0000000000000000",
        "CapAmb: 0000000000000000",
        "Max core file size 0 0 bytes",
    ] {
        assert!(facts.contains(line), "{line} is missing in:\n{facts}");
    }
    // As root the bounding set can be emptied too; without privileges it stays, and is no use.
    if rustix::process::geteuid().is_root() {
        assert!(facts.contains("CapBnd: 0000000000000000"), "{facts}");
    }
}

#[tokio::test]
async fn h09_a_cell_is_jailed_and_dumps_no_core_and_the_warden_can_be_told_apart() {
    let node = Node::start().await;
    let cell = node.cell("team-a").await;
    assert_jailed(cell.facts.pid);
    assert!(
        facts(node.pid()).contains("Seccomp: 0"),
        "the test would not notice a missing jail"
    );
    let info = node.client().info().await.unwrap();
    assert_eq!(info.jail, agentvm_cell_api::warden::JailLevel::Full);
    assert_eq!(info.jail_message, "");
}

#[test]
fn a_compiler_is_jailed_and_limited_before_it_gets_a_module() {
    let (mut compiler, ours) = compiler(7, 256);
    let facts = facts(compiler.id());
    assert!(facts.contains("Max cpu time 7 8 seconds"), "{facts}");
    assert!(!facts.contains("Max address space unlimited"), "{facts}");
    drop(ours);
    assert!(
        compiler.wait().unwrap().success(),
        "without a module it just ends"
    );
}

#[test]
fn e02_a_compiler_ends_by_the_signal_of_its_cpu_time() {
    // More memory than the module takes in that time.
    let (mut compiler, ours) = compiler(1, 4096);
    let [module, code] =
        ["module", "code"].map(|name| memfd_create(name, MemfdFlags::CLOEXEC).unwrap());
    rustix::io::write(&module, &wat::nests_loops(1000)).unwrap();
    let descriptors = [module.as_fd(), code.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    assert!(ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)));
    let message = [IoSlice::new(b"\"compile\"")];
    rustix::net::sendmsg(&ours, &message, &mut ancillary, SendFlags::empty()).unwrap();
    let status = compiler.wait().unwrap();
    assert_eq!(status.signal(), Some(libc::SIGXCPU), "{status}");
}

/// A compiler with this much CPU time and memory that waits for its module, and its channel.
fn compiler(cpu_seconds: u32, memory_mib: u32) -> (Child, OwnedFd) {
    let kind = SocketType::SEQPACKET;
    let (ours, theirs): (OwnedFd, OwnedFd) =
        rustix::net::socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).unwrap();
    let compiler = Command::new(env!("CARGO_BIN_EXE_agentvm-cell"))
        .args(["compile", "--memory-mib", &memory_mib.to_string()])
        .args(["--cpu-seconds", &cpu_seconds.to_string()])
        .env_clear()
        .stdin(Stdio::from(theirs))
        .spawn()
        .unwrap();
    let mut said = [0; 256];
    let (length, _) = rustix::net::recv(&ours, &mut said, RecvFlags::empty()).unwrap();
    assert_eq!(&said[..length], b"\"jailed\"");
    assert_jailed(compiler.id());
    (compiler, ours)
}

#[test]
fn a_cell_without_a_warden_ends() {
    let ended = Command::new(env!("CARGO_BIN_EXE_agentvm-cell"))
        .args(["cell", "--namespace", "team-a", "--max-vms", "1"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(!ended.success());
}
