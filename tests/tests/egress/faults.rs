//! The gateway ends, hangs or is not there: VMs live on, and may try again.

use std::time::Duration;

use crate::machine::{Machine, NAMESPACE, asking, plain_rule, rule, until};
use agentvm_tests::internet::network::alone;
use agentvm_tests::internet::upstream::{self, Script, ok};

/// An answer that begins and never ends.
fn hanging() -> Script {
    let begins = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegins".to_vec();
    vec![
        (Duration::ZERO, begins),
        (Duration::from_hours(1), b"ends".to_vec()),
    ]
}

async fn with_two_hosts(name: &str) -> (Machine, upstream::Seen) {
    let machine = Machine::start(name).await;
    machine.dns.addresses("slow.example.com", &["93.184.215.5"]);
    machine.dns.addresses("api.example.com", &["93.184.215.6"]);
    let slow = upstream::plain("93.184.215.5:80", hanging()).await;
    let acceptor = machine.authority.acceptor("api.example.com");
    upstream::secure("93.184.215.6:443", ok("fine"), acceptor).await;
    (machine, slow)
}

async fn allow(machine: &Machine, uid: &str) {
    let rules = vec![
        plain_rule("slow.example.com", &[80]),
        rule("api.example.com", &["GET"], &["*"]),
    ];
    machine.allow(NAMESPACE, uid, rules).await;
}

#[test]
fn a_gateway_that_is_killed_fails_what_is_in_flight_and_the_vm_goes_on_with_the_next() {
    alone(async || {
        let (mut machine, slow) = with_two_hosts("eg-killed").await;
        allow(&machine, "u-1").await;
        let args = [
            "GET https://api.example.com/before",
            "HOLD http://slow.example.com/",
            "RETRY https://api.example.com/after",
        ];
        let cell = machine.begin("u-1", asking(&args)).await;
        until("the answer has begun", async || slow.written() > 0).await;
        machine.crash_gateway();
        until("the guest is told", async || {
            let lines = machine.lines(&cell, "u-1").await;
            lines
                .iter()
                .any(|line| line.ends_with(", then internal-error"))
        })
        .await;
        machine.start_gateway().await;
        // It knows no VM yet: what comes now is denied, until it is told the rules again.
        allow(&machine, "u-1").await;
        let end = machine.end(&cell, "u-1").await.end.unwrap();
        let lines = machine.lines(&cell, "u-1").await;
        assert_eq!(end.exit_code, Some(0), "{lines:?}");
        assert!(lines[0].ends_with(": 200  fine"), "{lines:?}");
        assert!(lines.last().unwrap().ends_with(": 200  fine"), "{lines:?}");
    });
}

#[test]
fn without_a_gateway_a_vm_runs_and_its_requests_fail_with_a_code() {
    alone(async || {
        let mut machine = Machine::without_gateway("eg-away").await;
        machine.dns.addresses("api.example.com", &["93.184.215.6"]);
        let acceptor = machine.authority.acceptor("api.example.com");
        let seen = upstream::secure("93.184.215.6:443", ok("fine"), acceptor).await;
        let url = "GET https://api.example.com/";
        let lines = machine.ask("u-1", &[url, "SAY bye"]).await;
        assert!(lines[0].ends_with(": internal-error"), "{lines:?}");
        assert_eq!(lines[1], "SAY bye: said");
        assert_eq!(seen.connections(), 0);
        machine.start_gateway().await;
        let rules = vec![rule("api.example.com", &["GET"], &["*"])];
        machine.allow(NAMESPACE, "u-2", rules).await;
        let lines = machine.ask("u-2", &[url]).await;
        assert!(lines[0].ends_with(": 200  fine"), "{lines:?}");
    });
}

#[test]
fn a_warden_that_was_told_of_no_gateway_gives_no_channel() {
    alone(async || {
        let dir = agentvm_tests::scratch::dir("eg-nowhere").unwrap();
        let machine = Machine::with_warden_flags(dir, &[]).await;
        let lines = machine.ask("u-1", &["GET https://api.example.com/"]).await;
        assert!(lines[0].ends_with(": HTTP-request-denied"), "{lines:?}");
        assert_eq!(machine.dns.asked(), Vec::<String>::new());
    });
}

#[test]
fn what_a_vm_gives_up_or_goes_on_sending_closes_nobodys_channel() {
    alone(async || {
        let (machine, slow) = with_two_hosts("eg-abandon").await;
        for uid in ["u-1", "u-2"] {
            allow(&machine, uid).await;
        }
        let hold = ["HOLD http://slow.example.com/"];
        let neighbour = machine.begin("u-1", asking(&hold)).await;
        until("its answer has begun", async || slow.written() > 0).await;
        // More than HTTP/2 forgives on one connection by default.
        let args = [
            "ABANDON 600 http://slow.example.com/",
            "PESTER 1100 https://api.example.com/denied",
            "GET https://api.example.com/",
        ];
        let lines = machine.ask("u-2", &args).await;
        assert!(lines[2].ends_with(": 200  fine"), "{lines:?}");
        assert_eq!(machine.lines(&neighbour, "u-1").await, ["holding"]);
        assert_eq!(machine.gateway().info().await.unwrap().channels, 1);
    });
}

#[test]
fn f27_a_vm_with_all_the_requests_that_it_may_have_stalls_no_other() {
    alone(async || {
        let (machine, slow) = with_two_hosts("eg-crowd").await;
        for uid in ["u-1", "u-2"] {
            allow(&machine, uid).await;
        }
        let hoard = ["CROWD 64 http://slow.example.com/"];
        let hoarder = machine.begin("u-1", asking(&hoard)).await;
        until("it has all it may", async || slow.connections() >= 32).await;
        let args = ["GET https://api.example.com/"; 20];
        let lines = machine.ask("u-2", &args).await;
        assert!(
            lines.iter().all(|line| line.ends_with(": 200  fine")),
            "{lines:?}"
        );
        assert_eq!(slow.connections(), 32);
        // Its end ends them all.
        let stopped = agentvm_policy::EndReason::Stopped;
        hoarder
            .delete_vm("u-1", Duration::ZERO, stopped)
            .await
            .unwrap();
        until("the hosts are let go", async || slow.open() == 0).await;
    });
}
