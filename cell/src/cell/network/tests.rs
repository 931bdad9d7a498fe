//! The way out as guests have it, over the real control channel and real HTTP/2, to a gateway that
//! answers what a test says.

mod answers;
mod far;
mod price;
mod sharing;

use std::future::Future;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;

use agentvm_policy::egress::Code;
use agentvm_runtime::Body;
use bytes::Bytes;
use futures::future::join_all;
use http::Request;
use http_body_util::{BodyExt, Empty, Full};

use super::*;
use crate::control;

use self::far::{Far, warden};

const WITHIN: Duration = Duration::from_secs(20);

/// A cell's network, and what is at its far end.
fn network() -> (Network, Arc<Far>) {
    let (ours, theirs) = control::pair().unwrap();
    let far = Far::new();
    tokio::spawn(warden(control::Channel::new(theirs).unwrap(), far.clone()));
    (near(ours), far)
}

fn near(control: OwnedFd) -> Network {
    let (link, _orders, _growth) = Link::new(control::Channel::new(control).unwrap());
    Network::new(link)
}

fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

fn whole(bytes: &'static [u8]) -> Body {
    let full = Full::new(Bytes::from_static(bytes));
    full.map_err(|never| match never {}).boxed_unsync()
}

fn grants(connections: u64) -> Grants {
    Grants {
        network: true,
        limits: Limits {
            connections,
            ..Limits::default()
        },
        ..Grants::default()
    }
}

fn ask(vm: &VmNetwork, path: &str, body: Body) -> agentvm_runtime::Answer {
    let uri = format!("https://api.example.com{path}");
    vm.egress().send(Request::post(uri).body(body).unwrap())
}

async fn text(answer: agentvm_runtime::Answer) -> Result<String, Code> {
    let answer = tokio::time::timeout(WITHIN, answer).await.unwrap()?;
    let body = tokio::time::timeout(WITHIN, answer.into_body().collect());
    let bytes = body.await.unwrap()?.to_bytes();
    Ok(String::from_utf8(bytes.to_vec()).unwrap())
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let waited = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    assert!(tokio::time::timeout(WITHIN, waited).await.is_ok(), "{what}");
}

fn block_on<F: Future>(future: F) -> F::Output {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap().block_on(future)
}
