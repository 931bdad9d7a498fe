//! One channel for many: what a VM does with its requests harms no other's.

use http_body_util::StreamBody;
use hyper::body::Frame;
use tokio::sync::mpsc;

use super::*;

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
