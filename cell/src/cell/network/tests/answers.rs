//! What a request comes to: an answer, or the code of a refusal.

use agentvm_cell_api::problem::Reason;

use super::*;

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
