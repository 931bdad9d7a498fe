//! What events wake, and that room is never promised twice: the worlds of these tests.

mod cells;
mod guards;
mod raised;
mod room;
mod wakes;

use std::time::Instant;

use agentvm_crds::AgentVM;
use agentvm_crds::agentnode::{AgentNode, JailLevel};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use serde_json::{Value, json};

use super::{Key, Placement, Wake, World};
use crate::decoded::Decoded;
use crate::place::Demand;
use crate::resources::Resources;

const MIB: u64 = 1 << 20;

pub(super) fn key(name: &str) -> Key {
    Key {
        namespace: "lab".into(),
        name: name.into(),
    }
}

fn vm(name: &str, status: &Value) -> Decoded<AgentVM> {
    serde_json::from_value(json!({
        "apiVersion": "agentvm.dev/v1alpha1", "kind": "AgentVM",
        "metadata": {"name": name, "namespace": "lab", "uid": format!("uid-{name}")},
        "spec": {"image": "r/a", "limits": {"memory": "64Mi", "cpu": "100m"}},
        "status": status,
    }))
    .unwrap()
}

fn assigned(name: &str, node: &str, phase: &str) -> Decoded<AgentVM> {
    vm(
        name,
        &json!({"phase": phase, "assignment": {"nodeName": node, "epoch": 1}}),
    )
}

fn demand() -> Demand {
    Demand {
        resources: Resources {
            memory_bytes: 64 * MIB,
            cpu_millicores: 100,
            vms: 1,
        },
        ..Demand::default()
    }
}

fn lease(at: Timestamp) -> Lease {
    Lease {
        spec: Some(LeaseSpec {
            holder_identity: Some("boot-1".into()),
            lease_duration_seconds: Some(40),
            renew_time: Some(MicroTime(at)),
            ..LeaseSpec::default()
        }),
        ..Lease::default()
    }
}

fn add_node(world: &mut World, name: &str, memory: &str, now: Instant) -> Vec<Wake> {
    let offer = Offer {
        memory,
        ..Offer::default()
    };
    add_node_of(world, name, &offer, now)
}

/// What the agent of a node says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offer<'a> {
    pub(super) memory: &'a str,
    pub(super) cpu_millicores: u64,
    pub(super) vms: u64,
    /// How many cells there may be, and how many VMs in each; an old agent does not say.
    pub(super) cells: Option<(u64, u64)>,
    /// The namespaces whose cells are in use.
    pub(super) in_use: &'a [&'a str],
}

impl Default for Offer<'_> {
    fn default() -> Self {
        Self {
            memory: "64Gi",
            cpu_millicores: 64_000,
            vms: 1_000,
            cells: None,
            in_use: &[],
        }
    }
}

impl Offer<'_> {
    fn object(&self, name: &str) -> Decoded<AgentNode> {
        let cpu = format!("{}m", self.cpu_millicores);
        let mut allocatable = json!({"memory": self.memory, "cpu": cpu, "vms": self.vms});
        if let Some((cells, vms_each)) = self.cells {
            allocatable["cells"] = json!(cells);
            allocatable["vmsPerCell"] = json!(vms_each);
        }
        serde_json::from_value(json!({
            "apiVersion": "agentvm.dev/v1alpha1", "kind": "AgentNode", "metadata": {"name": name}, "spec": {},
            "status": {
                "allocatable": allocatable,
                "cells": self.in_use,
                "jail": {"level": "Full"},
                "conditions": [{
                    "type": "Ready", "status": "True", "reason": "Ready", "message": "",
                    "lastTransitionTime": "2026-01-01T00:00:00Z",
                }],
            },
        }))
        .unwrap()
    }
}

/// A node with that offer.
pub(super) fn add_node_of(
    world: &mut World,
    name: &str,
    offer: &Offer<'_>,
    now: Instant,
) -> Vec<Wake> {
    vec![
        world.node(name, Some(&Node::default()), now),
        world.agent_node(name, Some(&offer.object(name))),
        world.lease(
            &format!("node-{name}"),
            Some(&lease(Timestamp::UNIX_EPOCH)),
            now,
            Timestamp::UNIX_EPOCH,
        ),
    ]
}

/// A world with one node with room for `vms` VMs.
fn room_for(vms: u64, now: Instant) -> World {
    let mut world = World::new(JailLevel::Full);
    add_node(&mut world, "n1", &format!("{}Mi", vms * 64), now);
    world
}

fn place(world: &mut World, name: &str, now: Instant) -> Placement {
    world.place_or_wait(&key(name), &format!("uid-{name}"), 1, &demand(), now)
}
