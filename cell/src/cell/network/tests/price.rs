//! What requests cost the VM that makes them, beside what driving the channel takes.

use std::sync::atomic::AtomicU64;

use tokio::sync::oneshot;

use super::*;
use crate::guards::{Guard, switch_off};

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
