//! The way out as guests have it, over the real control channel and real HTTP/2, to a gateway that
//! answers what a test says.

use std::convert::Infallible;
use std::future::Future;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as StdStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use agentvm_cell_api::gateway::{ERROR_HEADER, VM_HEADER};
use agentvm_cell_api::problem::{Problem, Reason};
use agentvm_policy::budget;
use agentvm_policy::egress::Code;
use agentvm_runtime::Body;
use bytes::Bytes;
use futures::future::join_all;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::*;
use crate::control::{self, Answer, FromCell, Outcome, ToCell};
use crate::guards::{Guard, switch_off};

const WITHIN: Duration = Duration::from_secs(20);

/// A body without an end.
type Endless = UnsyncBoxBody<Bytes, Infallible>;

/// The warden and the gateway of a test.
struct Far {
    /// Channels that were given.
    channels: AtomicUsize,
    /// The gateway's ends, by which they are cut.
    serving: Mutex<Vec<JoinHandle<()>>>,
    /// What the warden refuses channels with.
    refusal: Mutex<Option<Reason>>,
    /// Requests for which nothing comes.
    hanging: AtomicUsize,
    /// Those of them that the cell gave up.
    given_up: AtomicUsize,
}

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

async fn warden(channel: control::Channel, far: Arc<Far>) {
    while let Ok(Some((FromCell::Request { id, .. }, _))) = channel.receive().await {
        let (near, other) = StdStream::pair().unwrap();
        let outcome = match *far.refusal.lock().unwrap() {
            Some(reason) => Outcome::Refused(Problem {
                reason,
                message: "not here".to_owned(),
            }),
            None => Outcome::Gateway,
        };
        if matches!(outcome, Outcome::Gateway) {
            far.channels.fetch_add(1, Ordering::SeqCst);
            far.serve(other);
        }
        let answer = ToCell::Answer(Answer { id, outcome });
        channel.send(&answer, &[near.as_fd()]).await.unwrap();
    }
}

impl Far {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            channels: AtomicUsize::new(0),
            serving: Mutex::default(),
            refusal: Mutex::default(),
            hanging: AtomicUsize::new(0),
            given_up: AtomicUsize::new(0),
        })
    }

    fn serve(self: &Arc<Self>, stream: StdStream) {
        stream.set_nonblocking(true).unwrap();
        let stream = UnixStream::from_std(stream).unwrap();
        let far = self.clone();
        let service = service_fn(move |request| {
            let far = far.clone();
            async move { Ok::<_, Infallible>(far.answer(request).await) }
        });
        let serving = tokio::spawn(async move {
            let _cut = http2::Builder::new(TokioExecutor::new())
                .initial_stream_window_size(budget::STREAM_BYTES.u32())
                .initial_connection_window_size(budget::CHANNEL_BYTES.u32())
                .max_pending_accept_reset_streams(budget::CHANNEL_STREAMS.usize())
                .max_concurrent_streams(budget::CHANNEL_STREAMS.u32())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
        self.serving.lock().unwrap().push(serving);
    }

    /// Answers as the path says.
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<Endless> {
        let vm = request.headers()[VM_HEADER].clone();
        let answer = Response::builder().header("x-vm", vm);
        match request.uri().path() {
            "/echo" => answer.body(body(
                request.into_body().collect().await.unwrap().to_bytes(),
            )),
            "/hangs" => {
                self.hanging.fetch_add(1, Ordering::SeqCst);
                let _counted = CountedEnd(self);
                std::future::pending().await
            }
            "/endless" => {
                let chunk = || Ok(Frame::data(Bytes::from(vec![b'x'; 16 << 10])));
                let chunks = futures::stream::repeat_with(chunk);
                answer.body(StreamBody::new(chunks).boxed_unsync())
            }
            "/denied" => answer
                .header(ERROR_HEADER, Code::Denied.as_str())
                .body(body(Bytes::new())),
            _ => answer.body(body(Bytes::from_static(b"fine"))),
        }
        .unwrap()
    }

    /// Every channel breaks, as when the gateway is killed.
    fn cut(&self) {
        for serving in self.serving.lock().unwrap().drain(..) {
            serving.abort();
        }
    }
}

struct CountedEnd(Arc<Far>);

impl Drop for CountedEnd {
    fn drop(&mut self) {
        self.0.given_up.fetch_add(1, Ordering::SeqCst);
    }
}

fn body(bytes: Bytes) -> Endless {
    Full::new(bytes).boxed_unsync()
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

#[tokio::test]
async fn a_request_gets_its_answer_and_the_channel_is_opened_once_at_the_first_need() {
    let (network, far) = network();
    let vm = network.open("u-1", &grants(8)).unwrap();
    assert_eq!(far.channels.load(Ordering::SeqCst), 0);
    let answers = (0..8).map(|_| text(ask(&vm, "/echo", whole(b"heron"))));
    for answer in join_all(answers).await {
        assert_eq!(answer.unwrap(), "heron");
    }
    assert_eq!(far.channels.load(Ordering::SeqCst), 1);
    let answer = ask(&vm, "/", empty()).await.unwrap();
    assert_eq!(answer.headers()["x-vm"], "u-1");
}

#[tokio::test]
async fn a_vm_without_the_grant_has_no_way_out() {
    let (network, _far) = network();
    assert!(network.open("u-1", &Grants::default()).is_none());
    assert!(network.open("u\n1", &grants(1)).is_none());
}

#[tokio::test]
async fn what_the_gateway_refuses_is_its_code() {
    let (network, _far) = network();
    let vm = network.open("u-1", &grants(8)).unwrap();
    assert_eq!(text(ask(&vm, "/denied", empty())).await, Err(Code::Denied));
}

#[tokio::test]
async fn without_a_gateway_requests_are_denied_or_may_be_tried_again() {
    let (network, far) = network();
    let vm = network.open("u-1", &grants(8)).unwrap();
    *far.refusal.lock().unwrap() = Some(Reason::NotFound);
    assert_eq!(text(ask(&vm, "/", empty())).await, Err(Code::Denied));
    *far.refusal.lock().unwrap() = Some(Reason::Internal);
    assert_eq!(text(ask(&vm, "/", empty())).await, Err(Code::Internal));
    *far.refusal.lock().unwrap() = None;
    assert_eq!(text(ask(&vm, "/", empty())).await.unwrap(), "fine");
}

#[tokio::test]
async fn a_channel_that_breaks_fails_what_is_in_flight_and_the_next_request_gets_another() {
    let (network, far) = network();
    let vm = network.open("u-1", &grants(8)).unwrap();
    let mut hanging = Box::pin(text(ask(&vm, "/hangs", empty())));
    let endless = tokio::time::timeout(WITHIN, ask(&vm, "/endless", empty()));
    let endless = endless.await.unwrap().unwrap().into_body();
    assert!(futures::poll!(&mut hanging).is_pending());
    far.cut();
    assert_eq!(hanging.await, Err(Code::Internal));
    let rest = tokio::time::timeout(WITHIN, endless.collect())
        .await
        .unwrap();
    assert_eq!(rest.unwrap_err(), Code::Internal);
    assert_eq!(text(ask(&vm, "/", empty())).await.unwrap(), "fine");
    assert_eq!(far.channels.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_stream_that_nobody_reads_stalls_no_other() {
    let (network, _far) = network();
    let (slow, quick) = (grants(32), grants(1));
    let slow = network.open("u-1", &slow).unwrap();
    let quick = network.open("u-2", &quick).unwrap();
    let mut unread = Vec::new();
    for _ in 0..32 {
        unread.push(ask(&slow, "/endless", empty()).await.unwrap());
    }
    let (_never_tx, never) = mpsc::channel::<Result<Frame<Bytes>, Code>>(1);
    let stuck = StreamBody::new(futures::stream::unfold(never, |mut rx| async {
        rx.recv().await.map(|frame| (frame, rx))
    }));
    drop(unread.pop());
    let mut stuck = ask(&slow, "/echo", stuck.boxed_unsync());
    assert!(futures::poll!(&mut stuck).is_pending());
    for _ in 0..50 {
        assert_eq!(
            text(ask(&quick, "/echo", whole(b"heron"))).await.unwrap(),
            "heron"
        );
    }
}

#[tokio::test]
async fn requests_over_the_limit_wait_for_others_to_end() {
    let (network, far) = network();
    let vm = network.open("u-1", &grants(2)).unwrap();
    let first = ask(&vm, "/endless", empty()).await.unwrap();
    let _second = ask(&vm, "/endless", empty()).await.unwrap();
    let mut third = ask(&vm, "/", empty());
    let soon = Duration::from_millis(20);
    assert!(tokio::time::timeout(soon, &mut third).await.is_err());
    drop(first);
    assert_eq!(text(third).await.unwrap(), "fine");
    // A later grant of more holds at once.
    let _third = ask(&vm, "/endless", empty()).await.unwrap();
    let mut fourth = ask(&vm, "/", empty());
    assert!(tokio::time::timeout(soon, &mut fourth).await.is_err());
    vm.set_limits(&grants(3).limits);
    assert_eq!(text(fourth).await.unwrap(), "fine");
    assert_eq!(far.channels.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_crowd_of_requests_that_are_given_up_breaks_nobodys_channel() {
    let (network, far) = network();
    let vm = network.open("u-1", &grants(64)).unwrap();
    let neighbour = network.open("u-2", &grants(1)).unwrap();
    let mut beside = ask(&neighbour, "/endless", empty()).await.unwrap();
    for _ in 0..40 {
        let mut crowd: Vec<_> = (0..64).map(|_| ask(&vm, "/hangs", empty())).collect();
        for asked in &mut crowd {
            assert!(futures::poll!(asked).is_pending());
        }
        tokio::task::yield_now().await;
        drop(crowd);
        for _ in 0..8 {
            let unread = ask(&vm, "/endless", empty()).await.unwrap();
            drop(unread);
        }
        assert!(beside.frame().await.unwrap().is_ok());
    }
    assert_eq!(far.channels.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn the_end_of_a_vm_ends_its_requests_and_no_others() {
    let (network, far) = network();
    let vm = network.open("u-1", &grants(8)).unwrap();
    let neighbour = network.open("u-2", &grants(8)).unwrap();
    let mut beside = ask(&neighbour, "/endless", empty()).await.unwrap();
    let (_held_tx, held) = mpsc::channel::<Result<Frame<Bytes>, Code>>(1);
    let open = StreamBody::new(futures::stream::unfold(held, |mut rx| async {
        rx.recv().await.map(|frame| (frame, rx))
    }));
    let hanging = tokio::spawn(text(ask(&vm, "/hangs", open.boxed_unsync())));
    until("the gateway has it", || {
        far.hanging.load(Ordering::SeqCst) == 1
    })
    .await;
    vm.end();
    assert_eq!(hanging.await.unwrap(), Err(Code::Internal));
    until("the gateway is told", || {
        far.given_up.load(Ordering::SeqCst) == 1
    })
    .await;
    assert_eq!(text(ask(&vm, "/", empty())).await, Err(Code::Internal));
    assert!(beside.frame().await.unwrap().is_ok());
}

/// CPU time that a VM pays for a request of `bytes` that come back.
async fn paid_for(bytes: &'static [u8]) -> Duration {
    let (network, _far) = network();
    let vm = network.open("u-1", &grants(8)).unwrap();
    let paid = Arc::new(AtomicU64::new(0));
    let account = paid.clone();
    vm.charge_to(move |used| {
        let nanos = u64::try_from(used.as_nanos()).unwrap();
        account.fetch_add(nanos, Ordering::SeqCst);
    });
    text(ask(&vm, "/echo", whole(bytes))).await.unwrap();
    Duration::from_nanos(paid.load(Ordering::SeqCst))
}

fn block_on<F: Future>(future: F) -> F::Output {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap().block_on(future)
}

#[test]
fn b_a_vm_pays_for_its_requests_and_for_each_byte_of_them() {
    static BYTES: [u8; 256 << 10] = [b'x'; 256 << 10];
    let price = |bytes| tariff::request() + tariff::bytes(bytes) * 2;
    assert_eq!(block_on(paid_for(b"")), price(0));
    let (paid, most) = (block_on(paid_for(&BYTES)), price(BYTES.len()));
    assert!(
        paid <= most && paid + Duration::from_micros(1) > most,
        "{paid:?} of {most:?}"
    );
    let unguarded = switch_off(Guard::ChannelCharge, || block_on(paid_for(&BYTES)));
    assert_eq!(unguarded, Duration::ZERO);
}

/// CPU time of the task that drives the channel for each of `requests` requests, so many at once,
/// with `bytes` each way.
fn driven(requests: u32, at_once: usize, bytes: &'static [u8]) -> Duration {
    let (ours, theirs) = control::pair().unwrap();
    std::thread::spawn(move || {
        block_on(async { warden(control::Channel::new(theirs).unwrap(), Far::new()).await });
    });
    let (network_tx, network_rx) = std::sync::mpsc::channel();
    let (done_tx, done_rx) = oneshot::channel::<()>();
    let driver = std::thread::spawn(move || {
        block_on(async {
            network_tx.send(near(ours)).unwrap();
            done_rx.await.unwrap();
        });
        agentvm_runtime::thread_cpu()
    });
    let network = network_rx.recv().unwrap();
    let vm = network.open("u-1", &grants(1_000)).unwrap();
    block_on(async {
        for _ in 0..requests / u32::try_from(at_once).unwrap() {
            let answers = (0..at_once).map(|_| text(ask(&vm, "/echo", whole(bytes))));
            for answer in join_all(answers).await {
                assert_eq!(answer.unwrap().len(), bytes.len());
            }
        }
    });
    done_tx.send(()).unwrap();
    driver.join().unwrap() / requests
}

#[test]
#[ignore = "measures: run it alone, with --nocapture, on a machine that does nothing else"]
fn what_a_request_and_a_byte_cost() {
    static BYTES: [u8; 1 << 20] = [b'x'; 1 << 20];
    for at_once in [1, 50] {
        let cost = driven(20_000, at_once, b"");
        eprintln!(
            "{at_once} at once, no bodies: {cost:?}, price {:?}",
            tariff::request()
        );
    }
    for at_once in [1, 10] {
        for bytes in [1 << 10, 64 << 10, 1 << 20] {
            let body = &BYTES[..bytes];
            let cost = driven(1_000, at_once, body);
            let price = tariff::request() + tariff::bytes(bytes) * 2;
            eprintln!("{at_once} at once, {bytes} bytes each way: {cost:?}, price {price:?}");
        }
    }
}
