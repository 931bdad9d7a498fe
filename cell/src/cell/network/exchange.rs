//! One request of a VM and its answer.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use agentvm_policy::egress::Code;
use agentvm_policy::{Limits, budget};
use agentvm_runtime::{Answer, Body as GuestBody, Egress};
use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body_util::BodyExt;
use hyper::body::Frame;
use tokio_util::sync::CancellationToken;

use super::body::{Answered, Outgoing};
use super::channel::{Channel, code_of};
use super::headers;
use super::room::{Room, Share, Slot};
use super::tariff;

/// How long a request waits for its turn among those of its VM; the gateway goes on counting.
const TURN_WITHIN: Duration = budget::CONNECT_WITHIN.duration();

/// The requests of one VM.
#[derive(Debug)]
pub(super) struct Exchanges(Arc<Vm>);

#[derive(Debug)]
struct Vm {
    /// Its UID.
    name: HeaderValue,
    channel: Channel,
    share: Arc<Share>,
    /// Who pays.
    payer: OnceLock<Payer>,
    ended: CancellationToken,
}

struct Payer(Box<dyn Fn(Duration) + Send + Sync>);

impl fmt::Debug for Payer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Payer")
    }
}

/// What both bodies of an exchange share. Its slot is free when both are gone.
#[derive(Debug)]
pub(super) struct Flight {
    vm: Arc<Vm>,
    given_up: CancellationToken,
    _slot: Slot,
}

impl Exchanges {
    pub(super) fn new(
        name: HeaderValue,
        channel: Channel,
        room: &Arc<Room>,
        limits: &Limits,
    ) -> Self {
        Self(Arc::new(Vm {
            name,
            channel,
            share: Share::new(room, limits.connections),
            payer: OnceLock::new(),
            ended: CancellationToken::new(),
        }))
    }

    pub(super) fn charge_to(&self, charge: impl Fn(Duration) + Send + Sync + 'static) {
        let _the_first_one_pays = self.0.payer.set(Payer(Box::new(charge)));
    }

    pub(super) fn set_limits(&self, limits: &Limits) {
        self.0.share.set_most(limits.connections);
    }

    pub(super) fn end(&self) {
        self.0.ended.cancel();
    }
}

impl Egress for Exchanges {
    fn send(&self, request: Request<GuestBody>) -> Answer {
        let vm = self.0.clone();
        Box::pin(async move {
            let ended = vm.ended.clone();
            tokio::select! {
                biased;
                () = ended.cancelled() => Err(Code::Internal),
                answer = exchange(vm, request) => answer,
            }
        })
    }
}

/// Sends a request and waits for the headers of its answer. Dropping it gives the request up.
async fn exchange(vm: Arc<Vm>, request: Request<GuestBody>) -> Result<Response<GuestBody>, Code> {
    vm.pay(tariff::request());
    let request = headers::of_request(request, &vm.name)?;
    let slot = tokio::time::timeout(TURN_WITHIN, vm.share.take())
        .await
        .map_err(|_elapsed| Code::ConnectionLimit)?;
    let given_up = vm.ended.child_token();
    let guard = given_up.clone().drop_guard();
    let mut sender = vm.channel.sender().await?;
    let flight = Arc::new(Flight {
        vm,
        given_up,
        _slot: slot,
    });
    let request = request.map(|body| Outgoing::new(body, flight.clone()));
    let answer = sender.send_request(request).await;
    let answer = headers::of_answer(answer.map_err(|error| code_of(&error))?)?;
    Ok(answer.map(|body| Answered::new(body, flight, guard).boxed_unsync()))
}

impl Vm {
    fn pay(&self, price: Duration) {
        if let Some(Payer(charge)) = self.payer.get() {
            charge(price);
        }
    }
}

impl Flight {
    /// Resolves what waits for it where nobody waits for the answer any more.
    pub(super) fn given_up(&self) -> CancellationToken {
        self.given_up.clone()
    }

    /// Has the VM pay for a piece of a body.
    pub(super) fn charge(&self, frame: &Frame<Bytes>) {
        self.pay(tariff::bytes(frame.data_ref().map_or(0, Bytes::len)));
    }

    pub(super) fn pay(&self, price: Duration) {
        self.vm.pay(price);
    }
}
