//! The document of the sockets, held against the gateway: every `curl` line of its in it is run.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests: a panic is the report"
)]

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A gateway that ends with the test.
struct Gateway(Child);

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ended_already = self.0.kill();
        let _reaped = self.0.wait();
    }
}

impl Gateway {
    fn start(dir: &Path) -> Self {
        let gateway = Command::new(env!("CARGO_BIN_EXE_agentvm-gateway"))
            .arg("--dir")
            .arg(dir)
            .args(["--name-server", "127.0.0.1", "--root-certificates"])
            .arg(roots(dir))
            .stdin(Stdio::null())
            .spawn();
        let mut gateway = Self(gateway.unwrap());
        let deadline = Instant::now() + Duration::from_secs(20);
        while UnixStream::connect(dir.join("gateway.sock")).is_err() {
            if let Some(status) = gateway.0.try_wait().unwrap() {
                panic!("it ended: {status}");
            }
            assert!(Instant::now() < deadline, "it does not serve");
            std::thread::sleep(Duration::from_millis(5));
        }
        gateway
    }
}

/// An authority of the test's own: the machine may have none.
fn roots(dir: &Path) -> std::path::PathBuf {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let path = dir.join("roots.pem");
    std::fs::write(&path, params.self_signed(&key).unwrap().pem()).unwrap();
    path
}

#[test]
fn every_curl_line_in_the_document_answers_what_it_says() {
    let dir = tempfile::tempdir().unwrap();
    let _gateway = Gateway::start(dir.path());
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/socket-api.md");
    let document = std::fs::read_to_string(document).unwrap();
    let (_, rules) = document.split_once("`rules.json` below").unwrap();
    let rules = rules.split("```json\n").nth(1).unwrap();
    let rules = rules.split("```").next().unwrap();
    std::fs::write(dir.path().join("rules.json"), rules).unwrap();

    let lines = document
        .lines()
        .filter_map(|line| line.strip_prefix("$ "))
        .filter(|line| line.contains("$GATEWAY"));
    let lines: Vec<&str> = lines.collect();
    assert!(lines.len() > 10, "the document has lost its lines");
    for line in lines {
        let (command, expected) = line.rsplit_once('#').unwrap();
        let command = format!("{} -o body -w '%{{http_code}}'", command.trim());
        let run = Command::new("sh")
            .args(["-c", &command])
            .current_dir(dir.path())
            .env("GATEWAY", dir.path().join("gateway.sock"))
            .output()
            .unwrap();
        let status = String::from_utf8(run.stdout).unwrap();
        let body = std::fs::read_to_string(dir.path().join("body")).unwrap_or_default();
        assert_eq!(status, expected.trim(), "{line}\nanswered {body}");
        assert!(!body.contains("not-a-real-key"), "{line}: {body}");
    }
}

#[test]
fn h04_a_body_that_is_not_understood_is_not_quoted() {
    let dir = tempfile::tempdir().unwrap();
    let _gateway = Gateway::start(dir.path());
    for body in [
        r#"{"namespace": "CANARY", "name": {}"#,
        r#"{"rules": "CANARY"}"#,
        r#"{"CANARY": 1}"#,
        "CANARY",
    ] {
        let said = Command::new("curl")
            .args(["-s", "-X", "PUT", "-d", body, "--unix-socket"])
            .arg(dir.path().join("gateway.sock"))
            .arg("http://gateway/v1/vms/u-1")
            .output()
            .unwrap();
        let said = String::from_utf8(said.stdout).unwrap();
        assert!(said.contains("BadRequest"), "{said}");
        assert!(!said.contains("CANARY"), "{said}");
    }
}
