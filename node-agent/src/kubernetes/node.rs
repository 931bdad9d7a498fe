//! The node's `AgentNode`: what it can run, kept up to date.

use std::time::Duration;

use agentvm_cell_api::client::{GatewayClient, WardenClient};
use agentvm_cell_api::gateway;
use agentvm_cell_api::warden::{Info, JailLevel};
use agentvm_crds::agentnode::{AgentNode, AgentNodeStatus, Jail, JailLevel as Level, NodeCapacity};
use agentvm_policy::LimitField;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, Resource as _};
use serde_json::{Value, json};

use super::FIELD_MANAGER;
use super::objects::say;
use crate::agent::{self, Inputs};
use crate::capacity::Capacity;

/// How often the warden is asked for its facts.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Bytes.
const MIB: u64 = 1 << 20;

/// Reports one node.
#[derive(Clone)]
pub struct NodeReporter {
    client: Client,
    warden: WardenClient,
    gateway: Option<GatewayClient>,
    agent: Inputs,
    name: String,
    capacity: Capacity,
}

impl std::fmt::Debug for NodeReporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeReporter")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl NodeReporter {
    /// Reports `name` with what was given as its capacity.
    pub fn new(
        client: Client,
        warden: WardenClient,
        agent: Inputs,
        name: &str,
        capacity: Capacity,
    ) -> Self {
        Self {
            client,
            warden,
            gateway: None,
            agent,
            name: name.to_owned(),
            capacity,
        }
    }

    /// The same, for a node with a gateway.
    #[must_use]
    pub fn with_gateway(self, gateway: Option<GatewayClient>) -> Self {
        Self { gateway, ..self }
    }

    /// Reports whenever something changed, for ever.
    pub async fn run(self) {
        let mut told: Option<AgentNodeStatus> = None;
        loop {
            let mut status = self.status().await;
            keep_transitions(&mut status, told.as_ref());
            if told.as_ref() != Some(&status) {
                match self.report(&status).await {
                    Ok(()) => told = Some(status),
                    Err(error) => {
                        tracing::warn!(node = %self.name, error = %say(&error), "AgentNode was not written");
                    }
                }
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Reports once more, at once: before the node lets go of its VMs, nobody may place any here.
    pub async fn report_now(&self) {
        if let Err(error) = self.report(&self.status().await).await {
            tracing::warn!(node = %self.name, error = %say(&error), "AgentNode was not written");
        }
    }

    async fn status(&self) -> AgentNodeStatus {
        let info = self.warden.info().await.map_err(|error| error.to_string());
        let gateway = match &self.gateway {
            Some(gateway) => Some(gateway.info().await.map_err(|error| error.to_string())),
            None => None,
        };
        AgentNodeStatus {
            cells: self.cells_in_use().await,
            ..self.status_of(info, gateway)
        }
    }

    /// The namespaces whose cells are in use, sorted. Before the agent knows what runs, a cell that
    /// runs may be.
    async fn cells_in_use(&self) -> Vec<String> {
        let snapshot = agent::look(&self.agent).await;
        if let Some(known) = snapshot.filter(|snapshot| snapshot.surveyed) {
            return known.cells_in_use.into_iter().collect();
        }
        let cells = self.warden.cells().await.unwrap_or_default().cells;
        cells.into_iter().map(|cell| cell.namespace).collect()
    }

    fn status_of(
        &self,
        info: Result<Info, String>,
        gateway: Option<Result<gateway::Info, String>>,
    ) -> AgentNodeStatus {
        let (ready, reason, message) = match &info {
            Ok(info) if info.stopping => (
                "False",
                "PodEnds",
                "the pod ends, and its VMs with it".to_owned(),
            ),
            Ok(_) => ("True", "WardenAnswers", "the warden answers".to_owned()),
            Err(error) => (
                "False",
                "WardenSilent",
                agentvm_crds::conditions::sentence(&format!(
                    "the warden does not answer, and why it ended is the last line in the log of the node pod's container cells: {error}"
                )),
            ),
        };
        let info = info.ok();
        let mut conditions = vec![
            condition("Ready", ready, reason, message),
            gateway_answers(gateway),
        ];
        let shortage = info.as_ref().map(|info| info.shortage.as_str());
        if let Some(shortage) = shortage.filter(|shortage| !shortage.is_empty()) {
            let message = agentvm_crds::conditions::sentence(shortage);
            conditions.push(condition("Constrained", "True", "TooFewMaps", message));
        }
        AgentNodeStatus {
            allocatable: info.as_ref().map(|info| allocatable(&self.capacity, info)),
            jail: info.as_ref().map(|info| Jail {
                level: level(info.jail),
                message: info.jail_message.clone(),
            }),
            engine: info.as_ref().map(|info| info.engine.clone()),
            version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            conditions,
            ..AgentNodeStatus::default()
        }
    }

    async fn report(&self, status: &AgentNodeStatus) -> Result<(), kube::Error> {
        let api: Api<AgentNode> = Api::all(self.client.clone());
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let owner = self.owner().await?;
        let object = self.body(&json!({"spec": {}}), owner.as_ref());
        api.patch(&self.name, &params, &Patch::Apply(object))
            .await?;
        let object = self.body(&json!({"status": status}), None);
        api.patch_status(&self.name, &params, &Patch::Apply(object))
            .await?;
        Ok(())
    }

    /// The core Node, which takes the `AgentNode` with it when it goes; `None` where there is none.
    async fn owner(&self) -> Result<Option<Value>, kube::Error> {
        let api: Api<Node> = Api::all(self.client.clone());
        let node = api.get_opt(&self.name).await?;
        Ok(node
            .and_then(|node| node.metadata.uid)
            .map(|uid| json!({"apiVersion": "v1", "kind": "Node", "name": self.name, "uid": uid})))
    }

    fn body(&self, part: &Value, owner: Option<&Value>) -> Value {
        let mut object = json!({
            "apiVersion": AgentNode::api_version(&()),
            "kind": AgentNode::kind(&()),
            "metadata": {"name": self.name, "ownerReferences": owner.into_iter().collect::<Vec<_>>()},
        });
        if let (Some(object), Some(part)) = (object.as_object_mut(), part.as_object()) {
            object.extend(part.clone());
        }
        object
    }
}

/// Whether VMs that ask for network can run here.
fn gateway_answers(gateway: Option<Result<gateway::Info, String>>) -> Condition {
    let (status, reason, message) = match gateway {
        Some(Ok(gateway::Info { jail_message, .. })) if jail_message.is_empty() => {
            ("True", "GatewayAnswers", "the gateway answers".to_owned())
        }
        Some(Ok(gateway::Info { jail_message, .. })) => {
            let message = format!("the gateway answers; its jail lacks something: {jail_message}");
            ("True", "GatewayAnswers", message)
        }
        Some(Err(error)) => {
            let message = format!(
                "the gateway does not answer: VMs that ask for network do not start, and why it ended is the last line in the log of the node pod's container gateway: {error}"
            );
            ("False", "GatewaySilent", message)
        }
        None => {
            let message = "this node has no gateway: VMs that ask for network do not start here";
            ("False", "NoGateway", message.to_owned())
        }
    };
    let message = agentvm_crds::conditions::sentence(&message);
    condition("Gateway", status, reason, message)
}

fn condition(kind: &str, status: &str, reason: &str, message: String) -> Condition {
    Condition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message,
        last_transition_time: Time(Timestamp::now()),
        observed_generation: None,
    }
}

fn allocatable(capacity: &Capacity, info: &Info) -> NodeCapacity {
    let decided = capacity.decide(info);
    NodeCapacity {
        memory: k8s_openapi::apimachinery::pkg::api::resource::Quantity(
            LimitField::Memory.show(whole_mib(decided.memory_bytes)),
        ),
        cpu: k8s_openapi::apimachinery::pkg::api::resource::Quantity(
            LimitField::Cpu.show(decided.cpu_millicores),
        ),
        vms: i64::from(decided.vms),
        cells: decided.cells.map(i64::from),
        vms_per_cell: Some(i64::from(decided.vms_per_cell)),
    }
}

/// Less by the part of a MiB: nobody reads ten digits.
const fn whole_mib(bytes: u64) -> u64 {
    if bytes < MIB {
        bytes
    } else {
        bytes / MIB * MIB
    }
}

const fn level(level: JailLevel) -> Level {
    match level {
        JailLevel::None => Level::None,
        JailLevel::Partial => Level::Partial,
        JailLevel::Full => Level::Full,
    }
}

/// A condition whose status stayed keeps the time of its last transition.
fn keep_transitions(status: &mut AgentNodeStatus, told: Option<&AgentNodeStatus>) {
    for condition in &mut status.conditions {
        let before = told.and_then(|told| {
            told.conditions
                .iter()
                .find(|old| old.type_ == condition.type_)
        });
        if let Some(before) = before.filter(|before| before.status == condition.status) {
            condition.last_transition_time = before.last_transition_time.clone();
        }
    }
}
