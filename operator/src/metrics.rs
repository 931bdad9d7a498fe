//! What the operator counts: `agentvm_operator_*`.

use std::time::Duration;

use agentvm_crds::conditions::AcceptedReason;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::error::Error;
use crate::world::Census;

/// Reconciles by outcome: a closed list.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Outcome {
    outcome: &'static str,
}

/// Refusals by reason: a closed list.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Reason {
    reason: &'static str,
}

/// By watched kind: a closed list.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Kind {
    kind: &'static str,
}

/// By the policy's name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct PolicyName {
    policy: String,
}

/// By whether the node is heard from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct NodeState {
    state: &'static str,
}

macro_rules! metrics {
    ($($(#[doc = $help:literal])* $field:ident: $kind:ty = $new:expr, $name:literal;)+) => {
        /// Every metric; shared by all tasks.
        #[derive(Debug)]
        pub struct Metrics {
            $($(#[doc = $help])* pub $field: $kind,)+
        }

        impl Metrics {
            /// Registers every metric in `registry`.
            pub fn register(registry: &mut Registry) -> Self {
                $(
                    let $field: $kind = $new;
                    registry.register($name, concat!($($help),*).trim().trim_end_matches('.'), $field.clone());
                )+
                Self { $($field,)+ }
            }
        }
    };
}

metrics! {
    /// Whether this process is the leader.
    leader: Gauge = Gauge::default(), "agentvm_operator_leader";
    /// How often this process became the leader.
    leaderships: Counter = Counter::default(), "agentvm_operator_leaderships";
    /// Reconciles by outcome.
    reconciles: Family<Outcome, Counter> = Family::default(), "agentvm_operator_reconciles";
    /// Seconds that a reconcile took.
    reconcile_seconds: Histogram = histogram(), "agentvm_operator_reconcile_seconds";
    /// Seconds that the write of an assignment took.
    assign_seconds: Histogram = histogram(), "agentvm_operator_assign_write_seconds";
    /// Seconds from the first sight of a VM to its first assignment.
    first_assignment_seconds: Histogram = histogram(), "agentvm_operator_first_assignment_seconds";
    /// Assignments to a first node.
    assignments: Counter = Counter::default(), "agentvm_operator_assignments";
    /// Assignments to another node after one was lost.
    reassignments: Counter = Counter::default(), "agentvm_operator_reassignments";
    /// VMs ended because their node was lost.
    evicted: Counter = Counter::default(), "agentvm_operator_evictions";
    /// Objects deleted because their time to live was over.
    expired: Counter = Counter::default(), "agentvm_operator_expirations";
    /// Refusals by reason.
    refusals: Family<Reason, Counter> = Family::default(), "agentvm_operator_refusals";
    /// Requests that a policy in Audit mode would have refused.
    policy_audited: Family<PolicyName, Counter> = Family::default(), "agentvm_operator_policy_audited";
    /// Objects that could not be decoded, counted for each of their states.
    undecodable_seen: Counter = Counter::default(), "agentvm_operator_undecodable_objects_seen";
    /// VMs that can't be decoded now.
    undecodable: Gauge = Gauge::default(), "agentvm_operator_undecodable_vms";
    /// VMs known now.
    vms: Gauge = Gauge::default(), "agentvm_operator_vms";
    /// VMs that fit on no node now.
    waiting: Gauge = Gauge::default(), "agentvm_operator_unschedulable_vms";
    /// VMs whose last reconcile failed.
    failing: Gauge = Gauge::default(), "agentvm_operator_failing_vms";
    /// Nodes with an agent, by whether it is heard from.
    nodes: Family<NodeState, Gauge> = Family::default(), "agentvm_operator_nodes";
    /// Errors of watches by kind.
    watch_errors: Family<Kind, Counter> = Family::default(), "agentvm_operator_watch_errors";
    /// Events that were not written.
    events_lost: Counter = Counter::default(), "agentvm_operator_events_lost";
}

impl Metrics {
    /// Counts a reconcile.
    pub fn reconciled<T>(&self, outcome: &Result<T, Error>, took: Duration) {
        let outcome = outcome
            .as_ref()
            .map_or_else(|error| error.class().as_str(), |_| "ok");
        self.reconciles.get_or_create(&Outcome { outcome }).inc();
        self.reconcile_seconds.observe(took.as_secs_f64());
    }

    /// Counts an assignment.
    pub fn assigned(&self, again: bool, since_first_seen: Option<Duration>) {
        if again {
            self.reassignments.inc();
            return;
        }
        self.assignments.inc();
        if let Some(waited) = since_first_seen {
            self.first_assignment_seconds.observe(waited.as_secs_f64());
        }
    }

    /// Counts a refusal.
    pub fn refused(&self, reason: AcceptedReason) {
        self.refusals
            .get_or_create(&Reason {
                reason: reason.as_str(),
            })
            .inc();
    }

    /// Counts what an `Audit` policy would have refused.
    pub fn audited(&self, policy: &str) {
        self.policy_audited
            .get_or_create(&PolicyName {
                policy: policy.to_owned(),
            })
            .inc();
    }

    /// Counts an error of a watch.
    pub fn watch_failed(&self, kind: &'static str) {
        self.watch_errors.get_or_create(&Kind { kind }).inc();
    }

    /// Sets the gauges.
    pub fn count(&self, census: Census, failing: usize) {
        let Census {
            vms,
            waiting,
            undecodable,
            nodes_fresh,
            nodes_silent,
        } = census;
        let set = |gauge: &Gauge, value: usize| gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        set(&self.vms, vms);
        set(&self.waiting, waiting);
        set(&self.undecodable, undecodable);
        set(&self.failing, failing);
        set(
            &self.nodes.get_or_create(&NodeState { state: "fresh" }),
            nodes_fresh,
        );
        set(
            &self.nodes.get_or_create(&NodeState { state: "silent" }),
            nodes_silent,
        );
    }
}

/// 1 ms to 33 s.
fn histogram() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 16))
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::Metrics;

    #[test]
    fn every_metric_has_the_prefix_and_a_help_text() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        metrics.watch_failed("AgentVM");
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in text.lines().filter(|line| !line.starts_with("# EOF")) {
            assert!(
                line.trim_start_matches("# HELP ")
                    .trim_start_matches("# TYPE ")
                    .starts_with("agentvm_operator_"),
                "{line}"
            );
        }
        assert!(
            text.contains("agentvm_operator_watch_errors_total{kind=\"AgentVM\"} 1"),
            "{text}"
        );
    }
}
