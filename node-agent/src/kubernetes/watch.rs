//! Watches: this node's `AgentVM`s, every policy, every namespace's labels.
//!
//! A list is taken over when it is complete, so that what a broken watch missed is found by
//! comparison. An object that can't be decoded is named and does not end the watch.

use std::collections::BTreeMap;

use agentvm_crds::answer::watch_sentence;
use agentvm_crds::{AgentPolicy, AgentVM, served};
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::Namespace;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{Config, Error, Event, watcher};
use kube::{Api, Client, Resource, ResourceExt as _};

use crate::agent::{Input, Inputs};
use crate::catalogue::{Change, Labels};

/// Follows the `AgentVM`s that are assigned to `node`, in `namespaces` or in all.
pub async fn agent_vms(client: Client, node: String, namespaces: Vec<String>, inputs: Inputs) {
    let config = Config::default().fields(&format!("status.assignment.nodeName={node}"));
    let mut events = quiet(served::watch::<DeserializeGuard<AgentVM>>(
        &client,
        &namespaces,
        &config,
    ));
    let mut listed = Vec::new();
    while let Some(event) = events.next().await {
        let change = match event {
            Event::Init => {
                listed.clear();
                continue;
            }
            Event::InitApply(object) => {
                listed.extend(decoded(object));
                continue;
            }
            Event::InitDone => Change::AllVms(std::mem::take(&mut listed)),
            Event::Apply(object) => match decoded(object) {
                Some(Ok(vm)) => Change::Vm(Box::new(vm)),
                Some(Err(uid)) => Change::Undecodable { uid },
                None => continue,
            },
            Event::Delete(object) => match object.meta().uid.clone() {
                Some(uid) => Change::VmLeft { uid },
                None => continue,
            },
        };
        if inputs.send(Input::Change(Box::new(change))).await.is_err() {
            return;
        }
    }
}

/// Follows every `AgentPolicy`.
pub async fn policies(client: Client, inputs: Inputs) {
    let api: Api<DeserializeGuard<AgentPolicy>> = Api::all(client);
    let mut events = quiet(watcher(api, Config::default()).default_backoff());
    let mut known = Known::default();
    while let Some(event) = events.next().await {
        let change = known.take_in(event, |object| {
            let name = object.name_any();
            let policy = object.0.map_err(|error| {
                tracing::warn!(policy = %name, error = %error.error, "policy can't be decoded");
                name.clone()
            });
            (name, policy)
        });
        if change.is_some() {
            let all = known.objects.values().cloned().collect();
            if inputs
                .send(Input::Change(Box::new(Change::Policies(all))))
                .await
                .is_err()
            {
                return;
            }
        }
    }
}

/// Follows every namespace's labels.
pub async fn namespaces(client: Client, inputs: Inputs) {
    let api: Api<PartialObjectMeta<Namespace>> = Api::all(client);
    let mut events = quiet(watcher(api, Config::default()).default_backoff());
    let mut known = Known::<Labels>::default();
    while let Some(event) = events.next().await {
        let change = known.take_in(event, |object: PartialObjectMeta<Namespace>| {
            (
                object.name_any(),
                object.metadata.labels.unwrap_or_default(),
            )
        });
        let change = match change {
            None => continue,
            Some(Part::All) => Change::Namespaces(known.objects.clone()),
            Some(Part::One(name)) => {
                let labels = known.objects.get(&name).cloned();
                Change::Namespace { name, labels }
            }
        };
        if inputs.send(Input::Change(Box::new(change))).await.is_err() {
            return;
        }
    }
}

/// Objects by name as a watch tells them.
#[derive(Debug)]
struct Known<T> {
    objects: BTreeMap<String, T>,
    listed: BTreeMap<String, T>,
}

impl<T> Default for Known<T> {
    fn default() -> Self {
        Self {
            objects: BTreeMap::new(),
            listed: BTreeMap::new(),
        }
    }
}

/// What an event changed.
#[derive(Debug)]
enum Part {
    All,
    One(String),
}

impl<T> Known<T> {
    /// Takes an event in; yields what changed.
    fn take_in<K>(&mut self, event: Event<K>, read: impl Fn(K) -> (String, T)) -> Option<Part> {
        match event {
            Event::Init => {
                self.listed.clear();
                None
            }
            Event::InitApply(object) => {
                let (name, value) = read(object);
                self.listed.insert(name, value);
                None
            }
            Event::InitDone => {
                self.objects = std::mem::take(&mut self.listed);
                Some(Part::All)
            }
            Event::Apply(object) => {
                let (name, value) = read(object);
                self.objects.insert(name.clone(), value);
                Some(Part::One(name))
            }
            Event::Delete(object) => {
                let (name, _) = read(object);
                self.objects.remove(&name);
                Some(Part::One(name))
            }
        }
    }
}

/// The watch's events; what breaks it is logged, and the watch takes itself up again.
fn quiet<K>(
    events: impl Stream<Item = Result<Event<K>, Error>> + Send + 'static,
) -> std::pin::Pin<Box<dyn Stream<Item = Event<K>> + Send>>
where
    K: Send + 'static,
{
    events
        .inspect_err(|error| tracing::warn!(error = watch_sentence(error), "watch was broken"))
        .filter_map(|event| async move { event.ok() })
        .boxed()
}

/// An object, or the UID of one that can't be decoded.
fn decoded(object: DeserializeGuard<AgentVM>) -> Option<Result<AgentVM, String>> {
    match object.0 {
        Ok(mut vm) => {
            // Larger than all the rest, and nobody here reads it.
            vm.metadata.managed_fields = None;
            Some(Ok(vm))
        }
        Err(invalid) => {
            let meta = invalid.metadata;
            tracing::warn!(namespace = ?meta.namespace, vm = ?meta.name, error = %invalid.error, "AgentVM can't be decoded");
            meta.uid.map(Err)
        }
    }
}
