//! Modules that shall break whoever compiles them, given to the real warden.
//!
//! A program of its own, so that nothing else of these tests runs beside the bombs.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that meets the unexpected must fail where it does"
)]

mod bombs;
mod huge;
mod make;
mod names;
mod pressure;
mod shapes;

#[expect(dead_code, reason = "the other tests of these processes need more")]
#[path = "../processes/harness.rs"]
mod harness;

use agentvm_cell_api::client::ClientError;
use agentvm_cell_api::warden::Module;
use agentvm_policy::EndReason;
use tokio::sync::{Mutex, MutexGuard};
use tokio::task::JoinHandle;

use crate::harness::{Node, sha256, spec};

/// One test bombs at a time.
async fn alone() -> MutexGuard<'static, ()> {
    static BOMBS: Mutex<()> = Mutex::const_new(());
    BOMBS.lock().await
}

/// Asks for a module on behalf of a namespace, and waits for the answer.
async fn put(node: &Node, namespace: &str, wasm: Vec<u8>) -> Result<Module, ClientError> {
    node.client()
        .put_module(Some(namespace), &sha256(&wasm), wasm.into())
        .await
}

/// Asks for a module on behalf of a namespace, beside everything else.
fn ask(
    node: &Node,
    namespace: &'static str,
    wasm: Vec<u8>,
) -> JoinHandle<Result<Module, ClientError>> {
    let client = node.client();
    tokio::spawn(async move {
        let digest = sha256(&wasm);
        client
            .put_module(Some(namespace), &digest, wasm.into())
            .await
    })
}

/// A module of a healthy namespace is compiled and runs to its end.
async fn neighbour_runs(node: &Node, line: &str) {
    let module = put(node, "neighbour", make::prints(line)).await.unwrap();
    let cell = node.cell("neighbour").await;
    let uid = format!("u-{line}");
    cell.put(&uid, &spec(&module)).await;
    assert_eq!(cell.ends(&uid).await, (EndReason::Completed, Some(0)));
}
