//! Step 3: what is to be done about one VM. Pure.
//!
//! | VM | its node | what happens |
//! | --- | --- | --- |
//! | ended | any | kept until its TTL is over, then deleted |
//! | refused, no node | - | `Failed`, until spec or policies change |
//! | `suspend`, no node | - | `Suspended`; holds no room |
//! | accepted, no node | - | placed |
//! | any, assigned | heard from | conditions only |
//! | any, assigned | silent | stays (a cut-off agent goes on running it); the condition says so |
//! | any, assigned | tainted, and it must leave | its agent is told to let go of it |
//! | asks for more memory by now | without that room | its agent is told to let go of it |
//! | any, released by its agent | any | placed again with the next epoch |
//! | `suspend`, assigned | gone, out of service | stays; placed again when it is resumed |
//! | `OnFailure`, `Always` | gone, out of service | placed again with the next epoch |
//! | `Never` that its agent had stopped (`Suspended`) | gone, out of service | placed again |
//! | `Never` otherwise, or refused by now | gone, out of service | `Failed`, reason `Evicted` |
//!
//! `Never` promises at most one run, and a node that is gone can't say whether it ran.

use agentvm_crds::agentvm::{EffectiveStatus, Phase, RestartPolicy};
use agentvm_crds::conditions::AcceptedReason;
use agentvm_policy::Refusal;
use kube::Resource as _;

use crate::dereference::Dereferenced;
use crate::nodes::Standing;
use crate::place::Demand;
use crate::validate::Validated;
use crate::world::{is_over, is_released};

/// The next step for one VM.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// Nothing: it is being deleted.
    Leave,
    /// It has ended: it goes when its time to live is over.
    Expire,
    /// Its status is brought up to date.
    Report(View),
    /// It gets a node.
    Place(Order),
    /// It is ended, since it can't be known how far it got.
    Evict(Eviction),
}

/// What a status is to say where no node is picked.
#[derive(Clone, Debug, PartialEq)]
pub enum View {
    /// Refused, without a node.
    Refused {
        /// `InvalidSpec` or `PolicyRefused`.
        reason: AcceptedReason,
        /// The sentence.
        message: String,
        /// What was decided.
        effective: Option<EffectiveStatus>,
    },
    /// Suspended, without a node.
    Suspended {
        /// What it would be granted.
        effective: EffectiveStatus,
    },
    /// On its node.
    Assigned {
        /// Why it would be refused by now.
        refused: Option<(AcceptedReason, String)>,
        /// How its node stands.
        standing: Standing,
    },
    /// On a node that must let go of it.
    Leaving {
        /// Why.
        why: String,
    },
}

/// A VM that needs a node.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    /// What it needs.
    pub demand: Box<Demand>,
    /// What it may do.
    pub effective: EffectiveStatus,
    /// What `Audit` policies would have refused.
    pub audited: Vec<Refusal>,
    /// The epoch of the assignment to come.
    pub epoch: i64,
    /// The node that it lost.
    pub lost: Option<Lost>,
}

/// A VM that ends with its node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Eviction {
    /// The node that it lost.
    pub lost: Lost,
    /// Why it is not placed again.
    pub because: &'static str,
}

/// A node that is not coming back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Its name.
    pub node: String,
    /// What happened to it.
    pub how: &'static str,
}

/// Decides.
pub fn decide(object: &Dereferenced, validated: Validated) -> Decision {
    let vm = &object.vm;
    if vm.meta().deletion_timestamp.is_some() {
        return Decision::Leave;
    }
    if is_over(vm) {
        return Decision::Expire;
    }
    if is_released(vm) {
        return lost(object, validated, "let go of it", Standing::Fresh);
    }
    if let (Some(Standing::Fresh | Standing::Silent), Some(why)) = (object.standing, &object.evict)
    {
        return Decision::Report(View::Leaving { why: why.clone() });
    }
    match object.standing {
        None => unassigned(object, validated),
        Some(Standing::Gone) => lost(
            object,
            validated,
            "has no Node object any more",
            Standing::Gone,
        ),
        Some(Standing::OutOfService) => lost(
            object,
            validated,
            "is out of service",
            Standing::OutOfService,
        ),
        Some(standing @ (Standing::Fresh | Standing::Silent)) => {
            match (&object.holding.outgrown, &validated) {
                (Some(why), Validated::Accepted { .. }) => {
                    Decision::Report(View::Leaving { why: why.clone() })
                }
                (None, _) | (_, Validated::Refused { .. }) => assigned(validated, standing),
            }
        }
    }
}

fn unassigned(object: &Dereferenced, validated: Validated) -> Decision {
    match validated {
        Validated::Refused {
            reason,
            message,
            effective,
        } => Decision::Report(View::Refused {
            reason,
            message,
            effective,
        }),
        Validated::Accepted { effective, .. } if object.vm.spec.suspend => {
            Decision::Report(View::Suspended { effective })
        }
        Validated::Accepted {
            demand,
            effective,
            audited,
        } => Decision::Place(Order {
            demand,
            effective,
            audited,
            epoch: 1,
            lost: None,
        }),
    }
}

fn assigned(validated: Validated, standing: Standing) -> Decision {
    let refused = match validated {
        Validated::Refused {
            reason, message, ..
        } => Some((reason, message)),
        Validated::Accepted { .. } => None,
    };
    Decision::Report(View::Assigned { refused, standing })
}

fn lost(
    object: &Dereferenced,
    validated: Validated,
    how: &'static str,
    standing: Standing,
) -> Decision {
    let vm = &object.vm;
    let Some(assignment) = vm.assignment() else {
        return Decision::Leave;
    };
    if vm.spec.suspend {
        return assigned(validated, standing);
    }
    let lost = Lost {
        node: assignment.node_name.clone(),
        how,
    };
    if is_released(vm) && matches!(validated, Validated::Refused { .. }) {
        return assigned(validated, standing);
    }
    let once = match vm.spec.restart_policy {
        // Its agent releases only what may run once more, or never ran.
        RestartPolicy::Never if is_released(vm) => false,
        RestartPolicy::Never => vm.phase() != Some(Phase::Suspended),
        RestartPolicy::OnFailure | RestartPolicy::Always => false,
    };
    match validated {
        Validated::Refused { .. } => Decision::Evict(Eviction {
            lost,
            because: "its spec is refused by now",
        }),
        Validated::Accepted { .. } if once => Decision::Evict(Eviction {
            lost,
            because: "restartPolicy Never allows no second run",
        }),
        Validated::Accepted {
            demand,
            effective,
            audited,
        } => Decision::Place(Order {
            demand,
            effective,
            audited,
            epoch: assignment.epoch.saturating_add(1),
            lost: Some(lost),
        }),
    }
}

#[cfg(test)]
mod tests;
