//! The election's thin half: reads and writes the Lease.

use std::time::{Duration, Instant};

use agentvm_crds::answer::sentence;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::PostParams;
use kube::core::ObjectMeta;
use kube::{Api, Client, ResourceExt as _};
use tokio::time::{sleep, timeout, timeout_at};
use tracing::{info, warn};

use super::{Act, Election, Record};

/// The Lease's name.
pub const NAME: &str = "agentvm-operator";

/// One candidate at work.
#[derive(Clone, Debug)]
pub struct Candidate {
    api: Api<Lease>,
    election: Election,
}

impl Candidate {
    /// A candidate for the Lease in `namespace`.
    pub fn new(client: Client, namespace: &str, election: Election) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            election,
        }
    }

    /// Returns when this candidate leads. `on_contact` is called whenever the Lease was read.
    pub async fn acquire(&mut self, on_contact: impl Fn()) {
        loop {
            match timeout(self.election.timings().renew, self.round()).await {
                Ok(Ok(())) => on_contact(),
                Ok(Err(error)) => {
                    warn!(
                        error = sentence(&error),
                        "the Lease can't be read or written"
                    );
                }
                Err(_) => warn!("the API server does not answer"),
            }
            if self.election.leads(Instant::now()) {
                info!(identity = self.election.identity(), "leading");
                return;
            }
            sleep(self.election.timings().retry).await;
        }
    }

    /// Renews; returns when this candidate leads no more.
    pub async fn hold(&mut self) {
        while let Some(until) = self.election.leads_until() {
            let round = async {
                sleep(self.election.timings().retry).await;
                self.round().await
            };
            match timeout_at(until.into(), round).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => warn!(error = sentence(&error), "the Lease was not renewed"),
                Err(_) => break,
            }
            if !self.election.leads(Instant::now()) {
                break;
            }
        }
        self.election.step_down();
        warn!(identity = self.election.identity(), "leading no more");
    }

    /// Gives the Lease back, so that the next leader need not wait; within 2 s or not at all.
    pub async fn release(&mut self) {
        self.election.step_down();
        let released = timeout(Duration::from_secs(2), async {
            let lease = self.api.get(NAME).await?;
            let ours = record(&lease).holder == self.election.identity();
            if ours {
                self.api
                    .replace(NAME, &PostParams::default(), &released(lease))
                    .await?;
            }
            Ok::<_, kube::Error>(ours)
        });
        match released.await {
            Ok(Ok(true)) => info!("the Lease is given back"),
            Ok(Ok(false)) => {}
            Ok(Err(error)) => warn!(error = sentence(&error), "the Lease was not given back"),
            Err(_) => warn!("the Lease was not given back: the API server does not answer"),
        }
    }

    async fn round(&mut self) -> Result<(), kube::Error> {
        let lease = self.api.get_opt(NAME).await?;
        let act = self
            .election
            .read(lease.as_ref().map(record), Instant::now());
        let sent_at = Instant::now();
        let parameters = PostParams::default();
        let written = match (act, lease) {
            (Act::Wait, _) => return Ok(()),
            (Act::Renew, Some(lease)) => {
                self.api
                    .replace(NAME, &parameters, &self.renewed(lease))
                    .await
            }
            (Act::Take | Act::Create, Some(lease)) => {
                self.api
                    .replace(NAME, &parameters, &self.taken(lease))
                    .await
            }
            (Act::Create | Act::Take | Act::Renew, None) => {
                self.api
                    .create(&parameters, &self.taken(Lease::default()))
                    .await
            }
        };
        match written {
            Ok(_) => self.election.wrote(sent_at),
            // Another was faster; the next read says who.
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn renewed(&self, mut lease: Lease) -> Lease {
        let spec = lease.spec.get_or_insert_default();
        spec.renew_time = Some(MicroTime(Timestamp::now()));
        spec.lease_duration_seconds = i32::try_from(self.election.timings().lease.as_secs()).ok();
        lease
    }

    fn taken(&self, lease: Lease) -> Lease {
        let before = lease.spec.unwrap_or_default();
        let now = MicroTime(Timestamp::now());
        self.renewed(Lease {
            metadata: ObjectMeta {
                name: Some(NAME.to_owned()),
                resource_version: lease.metadata.resource_version,
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.election.identity().to_owned()),
                acquire_time: Some(now),
                lease_transitions: Some(
                    before
                        .lease_transitions
                        .map_or(0, |count| count.saturating_add(1)),
                ),
                ..LeaseSpec::default()
            }),
        })
    }
}

fn record(lease: &Lease) -> Record {
    let spec = lease.spec.clone().unwrap_or_default();
    let seconds = spec
        .lease_duration_seconds
        .and_then(|seconds| u64::try_from(seconds).ok());
    Record {
        holder: spec.holder_identity.unwrap_or_default(),
        duration: Duration::from_secs(seconds.unwrap_or_default()),
        version: lease.resource_version().unwrap_or_default(),
    }
}

fn released(mut lease: Lease) -> Lease {
    let spec = lease.spec.get_or_insert_default();
    spec.holder_identity = None;
    spec.lease_duration_seconds = Some(1);
    spec.renew_time = Some(MicroTime(Timestamp::now()));
    lease
}
