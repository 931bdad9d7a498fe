//! Sends one request, whichever interface it came by.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use agentvm_policy::egress::Code;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use tokio::time::timeout;

use super::body::{Kept, Received, Sent};
use super::deadlines::Deadlines;
use super::slot::{Carried, Held};
use super::{Body, Egress, headers};
use crate::budget::{Budget, Closed};
use crate::host::Host;
use crate::turn::thread_cpu;

/// What carries a VM's requests, and on whose account.
#[derive(Clone)]
pub(crate) struct Way {
    egress: Arc<dyn Egress>,
    budget: Arc<Budget>,
}

impl Host {
    /// The way out, where there is one.
    ///
    /// # Errors
    ///
    /// [`Code::Denied`] where the VM has no network; it is counted.
    pub(crate) fn way_out(&self) -> Result<Way, Code> {
        let budget = &self.shared.budget;
        let Some(egress) = &self.egress else {
            budget.denials.add(Closed::Network);
            return Err(Code::Denied);
        };
        Ok(Way {
            egress: Arc::clone(egress),
            budget: Arc::clone(budget),
        })
    }
}

impl Way {
    /// Sends `request`. What is returned resolves with the answer's headers; it is for a task of
    /// its own, and dropping that gives the request up. It keeps `held`, and so does the answer's
    /// body.
    pub(crate) fn send(
        &self,
        request: Request<Body>,
        held: Option<Held>,
        deadlines: Deadlines,
    ) -> impl Future<Output = Result<Response<Body>, Code>> + Send + 'static {
        let Self { egress, budget } = self.clone();
        let answer = async move {
            let carried = Carried::take(&budget).await;
            let sent = Arc::clone(&carried);
            let request = request.map(|body| Sent::new(body, sent).boxed_unsync());
            let mut answer = egress.send(request).await?;
            tidy(answer.headers_mut())?;
            let kept = Kept::new(held, carried);
            Ok(answer.map(|body| Received::new(body, kept, deadlines.idle).boxed_unsync()))
        };
        let answer = async move {
            match deadlines.answer {
                Some(within) => timeout(within, answer)
                    .await
                    .unwrap_or(Err(Code::ResponseTimeout)),
                None => answer.await,
            }
        };
        Charged {
            work: Box::pin(answer),
            budget: Arc::clone(&self.budget),
        }
    }
}

/// Leaves of an answer's headers what is the guest's.
fn tidy(received: &mut http::HeaderMap) -> Result<(), Code> {
    if !headers::fit(received) {
        return Err(Code::ResponseHeaderSize);
    }
    let forbidden: Vec<_> = received
        .keys()
        .filter(|name| headers::is_forbidden(name))
        .cloned()
        .collect();
    for name in forbidden {
        received.remove(name);
    }
    Ok(())
}

/// Work for a VM in a task of its own: the CPU time of it is the VM's.
struct Charged<T> {
    work: Pin<Box<dyn Future<Output = T> + Send>>,
    budget: Arc<Budget>,
}

impl<T> Future for Charged<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let before = thread_cpu();
        let polled = self.work.as_mut().poll(context);
        self.budget.charge_cpu(thread_cpu().saturating_sub(before));
        polled
    }
}
