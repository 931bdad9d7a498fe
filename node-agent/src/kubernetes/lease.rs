//! The node's Lease: its heartbeat, and the proof that no other agent of that name runs.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::{Api, Client};

use super::objects::say;
use crate::clock::{self, Moment};

/// How long a Lease holds after its last renewal.
pub const DURATION: Duration = Duration::from_secs(40);
/// How often it is renewed.
pub const RENEW_EVERY: Duration = Duration::from_secs(10);
/// How often an agent that waits for another's Lease looks again.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How long one call may take.
const CALL_WITHIN: Duration = Duration::from_secs(8);

/// Another agent holds this node's Lease.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "Lease {name} is held by {holder}: another agent runs as this node; stop one of the two, or name them differently"
)]
pub struct TakenOver {
    name: String,
    holder: String,
}

/// The node's Lease and this agent's claim on it.
pub struct NodeLease {
    api: Api<Lease>,
    name: String,
    identity: String,
    /// The Lease as another agent last renewed it, and since when it has looked so.
    other: Option<(LeaseSpec, Moment)>,
}

impl std::fmt::Debug for NodeLease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeLease")
            .field("name", &self.name)
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

/// What to do about a Lease.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Claim {
    Take,
    Renew,
    WaitFor(String),
}

impl NodeLease {
    /// The Lease of `node` in `namespace`, claimed as `identity`.
    pub fn new(client: Client, namespace: &str, node: &str, identity: String) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            name: agentvm_crds::node_lease_name(node),
            identity,
            other: None,
        }
    }

    /// Waits until the Lease is this agent's.
    pub async fn acquire(&mut self) {
        loop {
            match self.attempt().await {
                Ok(None) => return,
                Ok(Some(holder)) => {
                    tracing::warn!(lease = %self.name, %holder, "another agent holds this node's Lease; no VM is run");
                }
                Err(error) => tracing::warn!(lease = %self.name, %error, "Lease can't be taken"),
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Renews the Lease for ever; ends only when another agent has taken it over. An API server
    /// that does not answer is no reason to stop: running VMs go on.
    pub async fn keep(&mut self) -> TakenOver {
        loop {
            tokio::time::sleep(RENEW_EVERY).await;
            match self.attempt().await {
                Ok(None) => {}
                Ok(Some(holder)) => {
                    return TakenOver {
                        name: self.name.clone(),
                        holder,
                    };
                }
                Err(error) => tracing::warn!(lease = %self.name, %error, "Lease was not renewed"),
            }
        }
    }

    /// Gives the Lease up, so that the next agent of this node need not wait for it to run out.
    /// Call it once nothing runs any more.
    pub async fn release(self) {
        let release = async {
            let Some(mut lease) = self.api.get_opt(&self.name).await? else {
                return Ok(());
            };
            let Some(spec) = &mut lease.spec else {
                return Ok(());
            };
            if spec.holder_identity.as_deref() != Some(self.identity.as_str()) {
                return Ok(());
            }
            spec.holder_identity = Some(String::new());
            let params = PostParams::default();
            self.api
                .replace(&self.name, &params, &lease)
                .await
                .map(|_| ())
        };
        match tokio::time::timeout(CALL_WITHIN, release).await {
            Ok(Ok(())) => tracing::info!(lease = %self.name, "Lease is given up"),
            Ok(Err(error)) => {
                tracing::warn!(lease = %self.name, error = %say(&error), "Lease was not given up");
            }
            Err(_elapsed) => tracing::warn!(lease = %self.name, "Lease was not given up in time"),
        }
    }

    /// Takes or renews the Lease; yields who else holds it.
    async fn attempt(&mut self) -> Result<Option<String>, String> {
        match tokio::time::timeout(CALL_WITHIN, self.attempt_once()).await {
            Ok(result) => result.map_err(|error| say(&error)),
            Err(_elapsed) => Err(format!("no answer within {CALL_WITHIN:?}")),
        }
    }

    async fn attempt_once(&mut self) -> Result<Option<String>, kube::Error> {
        let params = PostParams::default();
        let Some(mut lease) = self.api.get_opt(&self.name).await? else {
            let metadata = ObjectMeta {
                name: Some(self.name.clone()),
                ..ObjectMeta::default()
            };
            let spec = Some(renewed(None, &self.identity, Timestamp::now()));
            self.api.create(&params, &Lease { metadata, spec }).await?;
            return Ok(None);
        };
        let now = clock::now();
        let spec = lease.spec.take().unwrap_or_default();
        if self.other.as_ref().is_none_or(|(seen, _)| *seen != spec) {
            self.other = Some((spec.clone(), now));
        }
        let unchanged_since = self.other.as_ref().map_or(now, |(_, since)| *since);
        if let Claim::WaitFor(holder) =
            claim(&spec, &self.identity, now.saturating_sub(unchanged_since))
        {
            return Ok(Some(holder));
        }
        lease.spec = Some(renewed(Some(&spec), &self.identity, Timestamp::now()));
        // With its resource version: of two agents that try at once, one gets a conflict.
        self.api.replace(&self.name, &params, &lease).await?;
        Ok(None)
    }
}

/// What to do about a Lease that has looked the same for `unchanged`, by this agent's own clock.
fn claim(spec: &LeaseSpec, identity: &str, unchanged: Duration) -> Claim {
    let holder = spec.holder_identity.as_deref().unwrap_or_default();
    if holder == identity {
        return Claim::Renew;
    }
    if holder.is_empty() || is_same_place(holder, identity) {
        return Claim::Take;
    }
    let seconds = spec
        .lease_duration_seconds
        .and_then(|seconds| u64::try_from(seconds).ok());
    let duration = seconds.map_or(DURATION, Duration::from_secs);
    if unchanged >= duration {
        Claim::Take
    } else {
        Claim::WaitFor(holder.to_owned())
    }
}

/// True where the holder ran from this very run directory, before the machine was booted again.
fn is_same_place(holder: &str, identity: &str) -> bool {
    match (holder.split_once('_'), identity.split_once('_')) {
        (Some((_, there)), Some((_, here))) => there == here,
        (None | Some(_), _) => false,
    }
}

fn renewed(old: Option<&LeaseSpec>, identity: &str, now: Timestamp) -> LeaseSpec {
    let same_holder = old.is_some_and(|old| old.holder_identity.as_deref() == Some(identity));
    let transitions = old
        .and_then(|old| old.lease_transitions)
        .unwrap_or_default();
    LeaseSpec {
        holder_identity: Some(identity.to_owned()),
        lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
        acquire_time: old
            .filter(|_| same_holder)
            .map_or(Some(MicroTime(now)), |old| old.acquire_time.clone()),
        renew_time: Some(MicroTime(now)),
        lease_transitions: Some(if same_holder || old.is_none() {
            transitions
        } else {
            transitions.saturating_add(1)
        }),
        ..old.cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held_by(holder: &str) -> LeaseSpec {
        renewed(None, holder, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn a_fresh_holder_keeps_the_lease_until_it_stops_renewing() {
        let lease = held_by("bootA_dirA");
        let other = "bootB_dirB";
        let waiting = Claim::WaitFor("bootA_dirA".to_owned());
        assert_eq!(claim(&lease, other, Duration::ZERO), waiting);
        assert_eq!(claim(&lease, other, Duration::from_secs(39)), waiting);
        assert_eq!(claim(&lease, other, Duration::from_secs(40)), Claim::Take);
    }

    #[test]
    fn the_same_agent_goes_on_at_once_after_kill_and_after_reboot() {
        let lease = held_by("bootA_dirA");
        assert_eq!(claim(&lease, "bootA_dirA", Duration::ZERO), Claim::Renew);
        assert_eq!(claim(&lease, "bootB_dirA", Duration::ZERO), Claim::Take);
    }

    #[test]
    fn two_agents_of_one_machine_do_not_share_a_lease() {
        let lease = held_by("bootA_dirA");
        assert_eq!(
            claim(&lease, "bootA_dirB", Duration::ZERO),
            Claim::WaitFor("bootA_dirA".to_owned())
        );
    }

    #[test]
    fn a_takeover_counts_as_a_transition_and_a_renewal_does_not() {
        let first = held_by("a_1");
        let renewal = renewed(Some(&first), "a_1", Timestamp::now());
        assert_eq!(renewal.lease_transitions, Some(0));
        assert_eq!(renewal.acquire_time, first.acquire_time);
        let takeover = renewed(Some(&first), "b_2", Timestamp::now());
        assert_eq!(takeover.lease_transitions, Some(1));
        assert_ne!(takeover.acquire_time, first.acquire_time);
    }
}
