//! The document of the sockets, held against them: every `curl` line in it is run.

use std::path::Path;
use std::process::Command;

use crate::harness::{Node, sha256};
use crate::wat;

#[tokio::test]
async fn every_curl_line_in_the_document_answers_what_it_says() {
    let node = Node::start().await;
    let directory = tempfile::tempdir().unwrap();
    let wasm = wat::prints("hello");
    let sha = sha256(&wasm);
    std::fs::write(directory.path().join("hello.wasm"), &wasm).unwrap();
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/socket-api.md");
    let document = std::fs::read_to_string(document).unwrap();
    let vm = document
        .split("```json\n")
        .nth(1)
        .unwrap()
        .split("```")
        .next()
        .unwrap();
    std::fs::write(directory.path().join("vm.json"), vm.replace("SHA", &sha)).unwrap();

    let lines: Vec<&str> = document
        .lines()
        .filter_map(|line| line.strip_prefix("$ "))
        // The gateway's are run by its own crate.
        .filter(|line| !line.contains("$GATEWAY"))
        .collect();
    assert!(lines.len() > 15, "the document has lost its lines");
    for line in lines {
        let (command, expected) = line.rsplit_once('#').unwrap();
        let run = Command::new("sh")
            .args([
                "-c",
                &format!("{} -o body -w '%{{http_code}}'", command.trim()),
            ])
            .current_dir(directory.path())
            .env("WARDEN", node.client().socket())
            .env("CELL", node.run_dir().join("cells/team-a.sock"))
            .env("SHA", &sha)
            .output()
            .unwrap();
        let status = String::from_utf8(run.stdout).unwrap();
        let expected = expected.trim();
        let fits = status == expected || expected == "20x" && status.starts_with("20");
        let body = std::fs::read_to_string(directory.path().join("body")).unwrap_or_default();
        assert!(
            fits,
            "{line}\nanswered {status:?}: {body}{}",
            String::from_utf8_lossy(&run.stderr)
        );
    }
}
