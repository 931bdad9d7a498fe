//! The examples as a person runs them: `agentvm run`, a program in each language, and a host that
//! takes down what reaches it.

use std::fs;
use std::path::{Path, PathBuf};

use agentvm_tests::built::binary;
use agentvm_tests::program::output_of;
use agentvm_tests::{cache, guests, scratch, workspace};

use crate::machine::here;
use crate::sentinels::Sentinels;
use agentvm_tests::internet::authority::Authority;
use agentvm_tests::internet::dns::{self, Dns};
use agentvm_tests::internet::network::alone;
use agentvm_tests::internet::upstream::{self, ok};

/// The key in the Secret of each example.
const KEY: &str = "change-me";
const PAGE: &str = "a page of thirty-one characters";

/// What no rule allows, in the order of the programs.
const DENIED: [&str; 5] = [
    "GET https://example.com/admin: ",
    "POST https://example.com/: ",
    "GET http://example.com/: ",
    "GET https://www.example.com/: ",
    "GET http://169.254.169.254/latest/meta-data/: ",
];

/// Runs the example of a language; `says` is how its program tells of a refusal.
fn example(language: &'static str, make: fn(&Path) -> PathBuf, says: &'static str) {
    let guests = workspace::root().join("examples/guests");
    let module = make(&guests);
    alone(async move || {
        let dir = scratch::dir(&format!("ex-{language}")).unwrap();
        let dns = Dns::start().await;
        dns.addresses("example.com", &["93.184.215.14"]);
        let authority = Authority::default();
        authority.write(&dir.join("roots.pem"));
        let acceptor = authority.acceptor("example.com");
        let seen = upstream::secure("93.184.215.14:443", ok(PAGE), acceptor).await;
        let clear = upstream::plain("93.184.215.14:80", ok(PAGE)).await;
        let sentinels = Sentinels::listen().await;

        let (folder, network) = (dir.clone(), here());
        let running = tokio::task::spawn_blocking(move || {
            let mut command = std::process::Command::new("nsenter");
            command
                .arg(network)
                .arg("--")
                .arg(binary("agentvm").unwrap())
                .args(["run", "-f"])
                .arg(workspace::root().join(format!("examples/network/{language}.yaml")))
                .arg("--module")
                .arg(format!(
                    "localhost:5000/fetch-{language}:v1={}",
                    module.display()
                ))
                .arg("--root-certificates")
                .arg(folder.join("roots.pem"))
                .args(["--name-server", &dns::ADDRESS.to_string(), "--access-log"])
                .arg(folder.join("access.log"))
                .arg("--state-dir")
                .arg(cache::dir().unwrap().join("egress-state"));
            output_of(&mut command).unwrap()
        });
        let output = running.await.unwrap();
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{stdout}{stderr}");

        let lines: Vec<&str> = stdout.lines().collect();
        assert_eq!(lines.len(), DENIED.len() + 1, "{stdout}{stderr}");
        let told = lines[0].strip_prefix("GET https://example.com/: 200");
        assert!(
            told.is_some_and(|told| told.ends_with(", 31 bytes")),
            "{stdout}"
        );
        for (line, asked) in lines[1..].iter().zip(DENIED) {
            assert!(line.starts_with(asked) && line.ends_with(says), "{line}");
        }

        // The host has had one request, with the key in it, and nobody else anything.
        let requests = seen.requests();
        assert_eq!(requests.len(), 1, "{requests:?}");
        let first = requests[0].split("\r\n").next();
        assert_eq!(first, Some("GET / HTTP/1.1"));
        let sent = requests[0].to_ascii_lowercase();
        assert!(
            sent.contains(&format!("\r\nauthorization: bearer {KEY}\r\n")),
            "{sent}"
        );
        assert_eq!(clear.connections(), 0);
        sentinels.assert_untouched();
        assert_eq!(dns.asked(), ["example.com"]);

        let access = fs::read_to_string(dir.join("access.log")).unwrap();
        let accesses: Vec<serde_json::Value> = access
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(accesses.len(), DENIED.len() + 1, "{access}");
        assert_eq!(accesses[0]["status"], 200, "{access}");
        for denied in &accesses[1..] {
            assert_eq!(denied["code"], "HTTP-request-denied", "{access}");
        }
        for said in [&stdout, &stderr, &access] {
            assert!(!said.contains(KEY), "{said}");
        }
        assert!(
            !access.contains("/admin") && !access.contains("meta-data"),
            "{access}"
        );
    });
}

#[test]
fn the_example_in_go_gets_what_it_may_and_nothing_else() {
    let make = |guests: &Path| guests::go_with_package("fetch", &guests.join("fetch")).unwrap();
    example("go", make, "agentvm: HTTP-request-denied");
}

#[test]
fn the_example_in_python_gets_what_it_may_and_nothing_else() {
    let make = |guests: &Path| {
        let folder = guests.join("fetch-python");
        guests::python("fetch-python", &folder, "fetch").unwrap()
    };
    example("python", make, "ErrorCode_HttpRequestDenied");
}

#[test]
fn the_example_in_javascript_gets_what_it_may_and_nothing_else() {
    let make = |guests: &Path| {
        let folder = guests.join("fetch-javascript");
        guests::javascript("fetch-javascript", &folder, &["fetch-event"]).unwrap()
    };
    example(
        "javascript",
        make,
        "NetworkError when attempting to fetch resource",
    );
}
