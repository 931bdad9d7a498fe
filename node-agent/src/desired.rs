//! What should run on this node, derived from objects, policies and namespace labels.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use agentvm_crds::AskedMount;
use agentvm_crds::agentvm::{AgentVMSpec, EffectiveStatus, RestartPolicy};
use agentvm_policy::{Grants, Verdict};

use crate::egress::Terms;
use crate::mounts::{self, Object};
use crate::source::Source;

/// UID of an object: the key of everything that the agent keeps.
pub type Uid = String;

/// Everything that should be, by UID.
#[derive(Clone, Debug, Default)]
pub struct Desired {
    /// VMs assigned to this node.
    pub vms: BTreeMap<Uid, Arc<Want>>,
    /// Objects that exist but can't be decoded: what runs for them is left alone.
    pub frozen: BTreeSet<Uid>,
}

/// One VM that is assigned to this node.
#[derive(Clone, Debug, PartialEq)]
pub struct Want {
    /// UID of the object.
    pub uid: Uid,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The generation that `spec` is.
    pub generation: i64,
    /// Which assignment of the object this is.
    pub epoch: u64,
    /// The specification as written.
    pub spec: Arc<AgentVMSpec>,
    /// Where its module comes from; `None` where the specification is invalid.
    pub source: Option<Source>,
    /// What it mounts; nothing where the specification is invalid.
    pub mounts: Vec<AskedMount>,
    /// What it may ask of hosts outside; `None` where it may not ask anything.
    pub terms: Option<Arc<Terms>>,
    /// Time between closing stdin and the stop.
    pub grace: Duration,
    /// What it may do.
    pub ruling: Ruling,
    /// The same as a status says it; `None` where the ruling is no verdict.
    pub effective: Option<Arc<EffectiveStatus>>,
    /// Why it must leave this node, if it must.
    pub evict: Option<String>,
    /// True where it was reported to have left: it is the operator's again.
    pub released: bool,
}

/// What the policies of a VM's namespace make of its request.
#[derive(Clone, Debug, PartialEq)]
pub enum Ruling {
    /// Not every rule that may hold is known yet: nothing is started.
    Unknown(String),
    /// The specification itself is wrong, and no policy can change that.
    Invalid(String),
    /// A policy does not allow what is asked, or the specification asks for nothing possible.
    Refused(Verdict),
    /// It may run with the verdict's grants and no more.
    Granted(Verdict),
}

impl Ruling {
    /// The verdict as a status says it, where there is one.
    pub fn effective(&self) -> Option<EffectiveStatus> {
        match self {
            Self::Granted(verdict) | Self::Refused(verdict) => Some(EffectiveStatus::from(verdict)),
            Self::Unknown(_) | Self::Invalid(_) => None,
        }
    }
}

impl Want {
    /// When a run that ended is followed by another.
    pub fn restart_policy(&self) -> RestartPolicy {
        self.spec.restart_policy
    }

    /// The objects whose content it is given, or the gateway for it.
    pub fn objects(&self) -> BTreeSet<Object> {
        let mut objects = mounts::objects(&self.namespace, &self.mounts);
        if let Some(terms) = &self.terms {
            objects.extend(terms.objects(&self.namespace));
        }
        objects
    }

    /// What it may do, where it may run at all.
    pub fn grants(&self) -> Option<&Grants> {
        match &self.ruling {
            Ruling::Granted(verdict) => Some(&verdict.grants),
            Ruling::Unknown(_) | Ruling::Invalid(_) | Ruling::Refused(_) => None,
        }
    }
}

/// True where a VM that runs by `a` must be run again to follow `b`.
///
/// Every field of the specification is named, so that a new one is decided here.
pub fn needs_another_run(a: &AgentVMSpec, b: &AgentVMSpec) -> bool {
    let AgentVMSpec {
        args,
        env,
        mounts,
        capabilities,
        limits,
        // Immutable by the API server's rules.
        image: _,
        module: _,
        restart_policy: _,
        // Live.
        suspend: _,
        termination_grace_period: _,
        ttl_after_finished: _,
        // For the next placement.
        node_selector: _,
        tolerations: _,
    } = a;
    let of_limits = |spec: &Option<agentvm_crds::agentvm::LimitsSpec>| {
        let limits = spec.clone().unwrap_or_default();
        // `cpu`, `log_rate`, `log_total` and those of the network are live.
        (
            limits.memory,
            limits.fuel,
            limits.timeout,
            limits.storage,
            limits.inodes,
            limits.open_files,
        )
    };
    // The network is live.
    let clock = |capabilities: &Option<agentvm_crds::agentvm::Capabilities>| {
        capabilities.as_ref().and_then(|asked| asked.clock.clone())
    };
    *args != b.args
        || *env != b.env
        || *mounts != b.mounts
        || clock(capabilities) != clock(&b.capabilities)
        || of_limits(limits) != of_limits(&b.limits)
}

#[cfg(test)]
mod tests {
    use agentvm_crds::mutability::{Mutability, TABLE};
    use serde_json::{Value, json};

    use super::*;

    fn spec(field: &str, value: &Value) -> AgentVMSpec {
        let mut object = json!({"spec": {}});
        let target = field
            .split('.')
            .fold(&mut object, |object, name| &mut object[name]);
        *target = value.clone();
        serde_json::from_value(object["spec"].take()).unwrap()
    }

    #[test]
    fn a_vm_runs_again_for_the_fields_that_the_table_says_and_for_no_other() {
        let samples = [
            ("spec.image", json!("a"), json!("b")),
            (
                "spec.module",
                json!({"configMap": {"name": "m", "key": "a"}}),
                json!({"configMap": {"name": "m", "key": "b"}}),
            ),
            ("spec.args", json!(["a"]), json!(["b"])),
            ("spec.env", json!([{"name": "A", "value": "a"}]), json!([])),
            (
                "spec.mounts",
                json!([{"path": "/a", "emptyDir": {}}]),
                json!([{"path": "/a", "emptyDir": {"sizeLimit": "1Mi"}}]),
            ),
            (
                "spec.capabilities.clock",
                json!({"resolution": "1ms"}),
                json!({"resolution": "1us"}),
            ),
            (
                "spec.capabilities.network",
                json!({"egress": []}),
                json!({"egress": [{"host": "api.example.com", "methods": ["GET"], "paths": ["*"]}]}),
            ),
            ("spec.limits.memory", json!("1Mi"), json!("2Mi")),
            ("spec.limits.cpu", json!("100m"), json!("200m")),
            ("spec.limits.fuel", json!("1M"), json!("2M")),
            ("spec.limits.timeout", json!("1s"), json!("2s")),
            ("spec.limits.logRate", json!("1Ki"), json!("2Ki")),
            ("spec.limits.logTotal", json!("1Mi"), json!("2Mi")),
            ("spec.limits.storage", json!("1Mi"), json!("2Mi")),
            ("spec.limits.inodes", json!("16"), json!("1k")),
            ("spec.limits.openFiles", json!("8"), json!("64")),
            ("spec.limits.connections", json!("8"), json!("64")),
            ("spec.limits.egress", json!("8"), json!("64")),
            ("spec.limits.egressRate", json!("1Ki"), json!("2Ki")),
            ("spec.suspend", json!(false), json!(true)),
            ("spec.restartPolicy", json!("Never"), json!("Always")),
            ("spec.terminationGracePeriod", json!("1s"), json!("2s")),
            ("spec.ttlAfterFinished", json!("1s"), json!("2s")),
            ("spec.nodeSelector", json!({"a": "b"}), json!({})),
            (
                "spec.tolerations",
                json!([{"operator": "Exists"}]),
                json!([]),
            ),
        ];
        let fields = samples.each_ref().map(|(field, ..)| *field);
        let mut table = TABLE.map(|(field, _)| field);
        let mut named = fields;
        table.sort_unstable();
        named.sort_unstable();
        assert_eq!(named, table);
        for (field, before, after) in samples {
            let again = agentvm_crds::mutability::of(field) == Some(Mutability::Restart);
            let (before, after) = (spec(field, &before), spec(field, &after));
            assert_eq!(needs_another_run(&before, &after), again, "{field}");
            assert!(!needs_another_run(&after, &after), "{field}");
        }
    }
}
