//! The program itself, jailed: what the agent tells it, what cells get by their channels, and what
//! it tells of it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use agentvm_cell_api::client::GatewayClient;
use agentvm_cell_api::gateway::{
    CHANNELS, Channel, ERROR_HEADER, Inject, Limits, Node, Rule, VM_HEADER, Vm,
};
use agentvm_policy::egress::RuleText;
use agentvm_tests::built::binary;
use agentvm_tests::scratch;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustix::process::{Pid, Signal, kill_process};
use rustix::time::{ClockId, clock_gettime};
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;

use crate::world::{Got, until};
use agentvm_tests::internet::dns::{self, Dns};
use agentvm_tests::internet::network::alone;
use agentvm_tests::internet::upstream::{deaf, ok, plain};

const CANARY: &str = "CANARY-5f0e";

/// A running gateway. It dies with the test.
struct Program {
    dir: PathBuf,
    child: Child,
    agent: GatewayClient,
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

impl Program {
    /// Starts it in this thread's network, where it knows its node.
    async fn start(name: &str) -> Self {
        let dir = scratch::dir(name).unwrap();
        let program = Self::in_dir(&dir).await;
        program.agent.put_node(&Node::default()).await.unwrap();
        program
    }

    async fn in_dir(dir: &Path) -> Self {
        let roots = dir.join("roots.pem");
        std::fs::write(&roots, authority()).unwrap();
        let child = Command::new(binary("agentvm-gateway").unwrap())
            .arg("--dir")
            .arg(dir.join("gateway"))
            .args(["--name-server", &dns::ADDRESS.to_string()])
            .arg("--root-certificates")
            .arg(roots)
            .arg("--access-log")
            .arg(dir.join("access.log"))
            .env("HTTP_PROXY", "http://93.184.9.9:3128")
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let agent = GatewayClient::of_dir(&dir.join("gateway"));
        let program = Self {
            dir: dir.to_owned(),
            child,
            agent,
        };
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        while let Err(error) = program.agent.info().await {
            assert!(tokio::time::Instant::now() < deadline, "no answer: {error}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        program
    }

    /// What a cell of `namespace` speaks by.
    async fn channel(&self, namespace: &str) -> http2::SendRequest<Empty<Bytes>> {
        let path = self.dir.join("gateway").join(CHANNELS);
        let mut stream = UnixStream::connect(path).await.unwrap();
        let channel = Channel {
            namespace: namespace.to_owned(),
        };
        let mut line = serde_json::to_vec(&channel).unwrap();
        line.push(b'\n');
        stream.write_all(&line).await.unwrap();
        let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (sender, connection) = handshake.await.unwrap();
        tokio::spawn(connection);
        sender
    }

    fn access_log(&self) -> String {
        std::fs::read_to_string(self.dir.join("access.log")).unwrap()
    }

    fn terminate(&self) {
        let pid = i32::try_from(self.child.id()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), Signal::TERM).unwrap();
    }

    /// Waits for its end, and not for ever.
    async fn end(&mut self) -> ExitStatus {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(tokio::time::Instant::now() < deadline, "it does not end");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn authority() -> String {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.self_signed(&key).unwrap().pem()
}

/// A VM of `namespace` that may read everything of `host`, by HTTP.
fn vm(namespace: &str, host: &str) -> Vm {
    Vm {
        namespace: namespace.to_owned(),
        name: "crane".to_owned(),
        rules: vec![Rule {
            allow: RuleText {
                scheme: Some("http".to_owned()),
                ..RuleText::new(host, &["GET"], &["*"])
            },
            inject: Vec::new(),
        }],
        networks: Vec::new(),
        limits: Limits {
            connections: 8,
            egress_bytes: 1 << 20,
            egress_bytes_per_second: 1 << 20,
        },
        fence_deadline_boottime_ms: None,
    }
}

async fn get(channel: &mut http2::SendRequest<Empty<Bytes>>, uid: &str, url: &str) -> Got {
    let request = Request::get(url)
        .header(VM_HEADER, uid)
        .body(Empty::new())
        .unwrap();
    let Ok(answer) = channel.send_request(request).await else {
        return Got::default();
    };
    let (parts, body) = answer.into_parts();
    let error = parts.headers.get(ERROR_HEADER);
    let body = body.collect().await.ok();
    Got {
        error: error.map(|code| code.to_str().unwrap().to_owned()),
        status: parts.status.as_u16(),
        headers: parts.headers,
        body: body.map(|body| String::from_utf8_lossy(&body.to_bytes()).into_owned()),
    }
}

fn boottime_ms() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    u64::try_from(now.tv_sec * 1000 + now.tv_nsec / 1_000_000).unwrap()
}

#[test]
fn a_jailed_gateway_carries_what_is_allowed_and_tells_of_both_what_it_did_and_what_it_denied() {
    alone(|| async {
        let dns = Dns::start().await;
        dns.addresses("a.heron.example", &["93.184.0.1"]);
        let seen = plain("93.184.0.1:80", ok("from outside")).await;
        let program = Program::start("carries").await;
        let info = program.agent.info().await.unwrap();
        assert_eq!(info.jail_message, "");
        let allowed = vm("heron", "a.heron.example");
        program.agent.put_vm("u1", &allowed).await.unwrap();
        let mut channel = program.channel("heron").await;

        let url = format!("http://a.heron.example/path-{CANARY}?query={CANARY}");
        let got = get(&mut channel, "u1", &url).await;
        assert_eq!(got.body.as_deref(), Some("from outside"));
        for _ in 0..3 {
            let url = format!("http://b.heron.example/{CANARY}");
            let got = get(&mut channel, "u1", &url).await;
            got.refused_as("HTTP-request-denied");
        }
        assert_eq!(seen.connections(), 1);
        assert_eq!(dns.asked().len(), 1, "{:?}", dns.asked());

        until(|| program.access_log().lines().count() == 4).await;
        let log = program.access_log();
        assert!(!log.contains(CANARY), "{log}");
        let lines: Vec<serde_json::Value> = log
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let first = &lines[0];
        assert_eq!(
            (&first["namespace"], &first["vm"], &first["uid"]),
            (&"heron".into(), &"crane".into(), &"u1".into())
        );
        assert_eq!(first["host"], "a.heron.example");
        assert_eq!((&first["status"], &first["rule"]), (&200.into(), &0.into()));
        assert_eq!(first["receivedBytes"], "from outside".len());
        assert_eq!(lines[1]["code"], "HTTP-request-denied");

        let usage = program.agent.vms().await.unwrap().vms;
        assert_eq!(usage["u1"].answered, 1);
        assert_eq!(usage["u1"].refused["HTTP-request-denied"], 3);
        let reports = program.agent.reports(0, Duration::from_secs(20)).await;
        let denials = reports.unwrap().denials;
        assert_eq!(denials.len(), 1, "one for all of a window: {denials:?}");
        assert_eq!(denials[0].uid, "u1");
        assert_eq!(denials[0].host, "b.heron.example");
        let message = &denials[0].message;
        assert!(
            message.starts_with("GET http://b.heron.example:80 was denied: "),
            "{message}"
        );
        assert!(!message.contains(CANARY), "{message}");
    });
}

#[test]
fn a_channel_speaks_for_the_vms_of_its_namespace_alone() {
    alone(|| async {
        let dns = Dns::start().await;
        dns.addresses("a.heron.example", &["93.184.0.1"]);
        let seen = plain("93.184.0.1:80", ok("")).await;
        let program = Program::start("namespaces").await;
        let allowed = vm("heron", "a.heron.example");
        program.agent.put_vm("u1", &allowed).await.unwrap();
        let theirs = vm("egret", "a.heron.example");
        let stolen = program.agent.put_vm("u1", &theirs).await.unwrap_err();
        let stolen = stolen.to_string();
        assert!(stolen.contains("another namespace"), "{stolen}");
        let mut foreign = program.channel("egret").await;
        let got = get(&mut foreign, "u1", "http://a.heron.example/").await;
        got.refused_as("HTTP-request-denied");
        assert_eq!((seen.connections(), dns.asked().len()), (0, 0));
    });
}

#[test]
fn f01_rules_that_cannot_be_read_and_rules_that_are_taken_away_reach_nobody() {
    alone(|| async {
        let dns = Dns::start().await;
        dns.addresses("a.heron.example", &["93.184.0.1"]);
        let seen = plain("93.184.0.1:80", ok("")).await;
        let program = Program::start("bad-rules").await;
        let mut channel = program.channel("heron").await;
        let url = "http://a.heron.example/";
        get(&mut channel, "u1", url)
            .await
            .refused_as("HTTP-request-denied");
        let allowed = vm("heron", "a.heron.example");
        let mut bad = allowed.clone();
        bad.rules[0].inject.push(Inject {
            header: "authorization".to_owned(),
            template: "{}".to_owned(),
            key: CANARY.to_owned().into(),
        });
        for round in 1..=2 {
            program.agent.put_vm("u1", &allowed).await.unwrap();
            assert_eq!(get(&mut channel, "u1", url).await.status, 200, "{round}");
            let refused = program.agent.put_vm("u1", &bad).await.unwrap_err();
            assert!(!refused.to_string().contains(CANARY), "{refused}");
            get(&mut channel, "u1", url)
                .await
                .refused_as("HTTP-request-denied");
        }
        program.agent.put_vm("u1", &allowed).await.unwrap();
        let used = program.agent.delete_vm("u1").await.unwrap().unwrap();
        assert_eq!(used.answered, 2);
        get(&mut channel, "u1", url)
            .await
            .refused_as("HTTP-request-denied");
        assert_eq!(seen.messages().iter().map(Vec::len).sum::<usize>(), 2);
    });
}

#[test]
fn a_fence_deadline_ends_a_vms_requests_without_an_agent() {
    alone(|| async {
        let dns = Dns::start().await;
        dns.addresses("a.heron.example", &["93.184.0.1"]);
        let seen = deaf("93.184.0.1:80");
        let program = Program::start("fence").await;
        let mut fenced = vm("heron", "a.heron.example");
        let deadline = boottime_ms() + 1500;
        fenced.fence_deadline_boottime_ms = Some(deadline);
        program.agent.put_vm("u1", &fenced).await.unwrap();
        let mut channel = program.channel("heron").await;
        let url = "http://a.heron.example/";
        let in_flight = get(&mut channel, "u1", url).await;
        let now = boottime_ms();
        assert!(now >= deadline, "it ended {} ms early", deadline - now);
        assert!(now < deadline + 5000, "it ended {} ms late", now - deadline);
        assert!(in_flight.error.is_some(), "{in_flight:?}");
        assert_eq!(seen.connections(), 1);
        get(&mut channel, "u1", url)
            .await
            .refused_as("HTTP-request-denied");
        assert_eq!(seen.connections(), 1);
    });
}

#[test]
fn what_is_in_flight_when_it_is_told_to_stop_may_be_tried_again_and_the_next_one_knows_no_rules() {
    alone(|| async {
        let dns = Dns::start().await;
        dns.addresses("a.heron.example", &["93.184.0.1"]);
        let seen = deaf("93.184.0.1:80");
        let mut program = Program::start("stops").await;
        let before = program.agent.info().await.unwrap();
        let allowed = vm("heron", "a.heron.example");
        program.agent.put_vm("u1", &allowed).await.unwrap();
        let mut channel = program.channel("heron").await;
        let waiting =
            tokio::spawn(async move { get(&mut channel, "u1", "http://a.heron.example/").await });
        until(|| seen.connections() == 1).await;
        program.terminate();
        waiting.await.unwrap().refused_as("internal-error");
        assert!(program.end().await.success());

        let next = Program::in_dir(&program.dir).await;
        let after = next.agent.info().await.unwrap();
        assert_ne!(after.instance, before.instance);
        let refused = next.agent.put_vm("u1", &allowed).await.unwrap_err();
        assert!(refused.to_string().contains("PUT /v1/node"), "{refused}");
        let mut channel = next.channel("heron").await;
        let got = get(&mut channel, "u1", "http://a.heron.example/").await;
        got.refused_as("HTTP-request-denied");
    });
}

#[test]
fn a_cell_that_asks_for_channel_after_channel_has_two() {
    alone(|| async {
        let _dns = Dns::start().await;
        let program = Program::start("channels").await;
        let mut first = program.channel("heron").await;
        let url = "http://a.heron.example/";
        get(&mut first, "u1", url)
            .await
            .refused_as("HTTP-request-denied");
        let mut others = Vec::new();
        for _ in 0..5 {
            let mut channel = program.channel("heron").await;
            get(&mut channel, "u1", url)
                .await
                .refused_as("HTTP-request-denied");
            others.push(channel);
        }
        until(|| first.is_closed()).await;
        let mut another = program.channel("egret").await;
        get(&mut another, "u1", url)
            .await
            .refused_as("HTTP-request-denied");
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        while program.agent.info().await.unwrap().channels != 3 {
            assert!(tokio::time::Instant::now() < deadline, "too many are open");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let mut last = others.pop().unwrap();
        get(&mut last, "u1", url)
            .await
            .refused_as("HTTP-request-denied");
    });
}
