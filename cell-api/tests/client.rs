//! The client against sockets that answer well, badly, or not at all.
#![expect(
    clippy::unwrap_used,
    reason = "a test that meets the unexpected must fail where it does"
)]

use std::path::PathBuf;
use std::time::Duration;

use agentvm_cell_api::client::{CellClient, ClientError, WardenClient};
use agentvm_cell_api::problem::Reason;
use agentvm_policy::EndReason;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio::task::JoinHandle;

/// Answers one request with these bytes; yields the request's first line.
fn answer(bytes: String) -> (TempDir, PathBuf, JoinHandle<String>) {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("s");
    let listener = UnixListener::bind(&socket).unwrap();
    let asked = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 65_536];
        let length = stream.read(&mut request).await.unwrap();
        stream.write_all(bytes.as_bytes()).await.unwrap();
        let request = String::from_utf8_lossy(request.get(..length).unwrap()).into_owned();
        request.lines().next().unwrap_or_default().to_owned()
    });
    (directory, socket, asked)
}

fn http(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[tokio::test]
async fn an_answer_is_decoded() {
    let (_directory, socket, asked) = answer(http("200 OK", r#"{"version":7,"vms":[]}"#));
    let list = CellClient::new(socket)
        .list_vms(5, Duration::from_millis(20))
        .await
        .unwrap();
    assert_eq!((list.version, list.vms.len()), (7, 0));
    assert_eq!(
        asked.await.unwrap(),
        "GET /v1/vms?since=5&waitMs=20 HTTP/1.1"
    );
}

#[tokio::test]
async fn a_delete_names_grace_and_reason() {
    let missing = r#"{"reason":"NotFound","message":"no such VM"}"#;
    let (_directory, socket, asked) = answer(http("404 Not Found", missing));
    let client = CellClient::new(socket);
    let nothing = client
        .delete_vm("u-1", Duration::from_secs(2), EndReason::Evicted)
        .await
        .unwrap();
    assert_eq!(nothing, None, "what is not there is no error");
    assert_eq!(
        asked.await.unwrap(),
        "DELETE /v1/vms/u-1?graceMs=2000&reason=Evicted HTTP/1.1"
    );
}

#[tokio::test]
async fn a_refusal_carries_its_reason() {
    let problem = r#"{"reason":"Exhausted","message":"the cell is full"}"#;
    let (_directory, socket, _asked) = answer(http("503 Service Unavailable", problem));
    let refused = WardenClient::new(socket)
        .start_cell("team-a")
        .await
        .unwrap_err();
    assert_eq!(refused.reason(), Some(Reason::Exhausted));
    assert_eq!(refused.to_string(), "Exhausted: the cell is full");
}

#[tokio::test]
async fn an_answer_that_is_not_in_the_contract_is_told_apart() {
    for bytes in [
        http("200 OK", "{\"cells\": 7}"),
        http("200 OK", "not JSON"),
        http("500 Internal Server Error", "oops"),
        http(
            "503 Service Unavailable",
            r#"{"reason":"Unheard","message":"of"}"#,
        ),
    ] {
        let (_directory, socket, _asked) = answer(bytes.clone());
        let error = WardenClient::new(socket).cells().await.unwrap_err();
        assert!(
            matches!(error, ClientError::Protocol { .. }),
            "{bytes}: {error}"
        );
    }
}

#[tokio::test]
async fn a_socket_that_does_not_answer_is_unreachable_and_named() {
    let directory = tempfile::tempdir().unwrap();
    let nobody = directory.path().join("nobody");
    let error = WardenClient::new(&nobody).info().await.unwrap_err();
    assert!(matches!(error, ClientError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("nobody"), "{error}");

    for bytes in [
        "",
        "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{",
        "\0\0\0\0",
    ] {
        let (_directory, socket, _asked) = answer(bytes.to_owned());
        let error = WardenClient::new(socket).info().await.unwrap_err();
        assert!(
            matches!(error, ClientError::Unreachable { .. }),
            "{bytes:?}: {error}"
        );
    }
}
