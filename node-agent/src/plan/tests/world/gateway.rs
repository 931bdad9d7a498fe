//! The node's gateway.

use std::collections::BTreeMap;

use agentvm_cell_api::gateway;
use agentvm_crds::conditions::ImageReason;

use super::World;
use crate::mounts::{Content, Contents};
use crate::observed::{Given, Held, Notice, Outcome};
use crate::plan::PutRules;
use crate::problem::{Problem, StartReason};

/// A gateway's process.
#[derive(Debug)]
pub(in crate::plan::tests) struct FakeGateway {
    pub(in crate::plan::tests) instance: String,
    /// The VMs that have rules there, with what each has used.
    pub(in crate::plan::tests) vms: BTreeMap<String, (gateway::Vm, gateway::Usage)>,
    /// How often it was given rules.
    pub(in crate::plan::tests) puts: usize,
}

impl World {
    /// A gateway's process starts, or another one in its place.
    pub(in crate::plan::tests) fn gateway_starts(&mut self, instance: &str) {
        if self.gateway.take().is_some() {
            self.notice(Notice::GatewayAway);
        }
        self.gateway = Some(FakeGateway {
            instance: instance.to_owned(),
            vms: BTreeMap::new(),
            puts: 0,
        });
        self.tell_gateway();
    }

    /// The agent meets the gateway.
    pub(in crate::plan::tests) fn tell_gateway(&mut self) {
        if let Some(FakeGateway { instance, vms, .. }) = &self.gateway {
            let used = vms.iter();
            let used = used.map(|(uid, (_, used))| (uid.clone(), used.clone()));
            let (instance, vms) = (instance.clone(), used.collect());
            self.notice(Notice::GatewayUp { instance, vms });
        }
    }

    /// The gateway's process ends.
    pub(in crate::plan::tests) fn gateway_dies(&mut self) {
        self.gateway = None;
        self.notice(Notice::GatewayAway);
    }

    /// The gateway is asked what its VMs use.
    pub(in crate::plan::tests) fn measure_network(&mut self) {
        if let Some(FakeGateway { instance, vms, .. }) = &self.gateway {
            let used = vms.iter();
            let used = used.map(|(uid, (_, used))| (uid.clone(), used.clone()));
            let (instance, vms) = (instance.clone(), used.collect());
            self.notice(Notice::NetworkUsed { instance, vms });
        }
    }

    /// The rules that the gateway has for a VM.
    pub(in crate::plan::tests) fn rules(&self, uid: &str) -> Option<&gateway::Vm> {
        Some(&self.gateway.as_ref()?.vms.get(uid)?.0)
    }

    pub(super) fn drop_rules(&mut self, uid: String) -> Outcome {
        self.done.push("DropRules");
        let result = match &mut self.gateway {
            Some(gateway) => Ok(gateway.vms.remove(&uid).map(|(_, used)| used)),
            None => Err("no answer".to_owned()),
        };
        Outcome::RulesTaken { uid, result }
    }

    pub(super) fn put_rules(&mut self, put: &PutRules) -> Given {
        let away = || {
            let reason = StartReason::Image(ImageReason::GatewayUnavailable);
            Problem::new(reason, "the gateway does not answer")
        };
        let instance = put.instance.clone().ok_or_else(away)?;
        let objects = put.terms.objects(&put.want.namespace);
        let contents: Contents = objects
            .into_iter()
            .map(|object| {
                let read = || self.contents.get(&object).cloned();
                let content = put.known.get(&object).cloned().or_else(read);
                (object, content.unwrap_or(Content::Missing))
            })
            .collect();
        let (namespace, name) = (&put.want.namespace, &put.want.name);
        let filled = put.terms.fill(namespace, name, &contents, put.run);
        let gateway = self.gateway.as_mut().ok_or_else(away)?;
        gateway.puts += 1;
        let entry = gateway.vms.entry(put.want.uid.clone());
        let entry = entry.or_insert_with(|| (filled.vm.clone(), gateway::Usage::default()));
        entry.0 = filled.vm;
        Ok(Held {
            instance,
            terms: put.terms.clone(),
            contents,
            lacking: filled.lacking,
        })
    }
}
