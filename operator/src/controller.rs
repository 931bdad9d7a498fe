//! What a leader runs: six watches, the reconciler, and two small tasks that wake VMs.
//!
//! | task | reads | does |
//! | --- | --- | --- |
//! | one watch each for Node, `AgentNode`, Lease, Namespace, `AgentPolicy` | the API server | tells the world |
//! | watch of `AgentVM` | the API server, once the others are complete | fills the store, tells the world |
//! | ticker | the world | wakes the VMs of a node whose Lease ran out, when it runs out |
//! | retrier | the world | wakes waiting VMs that fit since room was freed or a node changed |
//! | reconciler | the queue, the store | the pipeline, at most `concurrency` VMs at once |

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use agentvm_crds::answer::watch_sentence;
use agentvm_crds::{AgentNode, AgentPolicy, AgentVM, served};
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Namespace, Node};
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::{WatchStreamExt as _, controller, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{debug, info, warn};

use crate::context::Context;
use crate::decoded::Decoded;
use crate::feed::{Feed, Id, Seen};
use crate::reconcile::{reconcile, retry};
use crate::settings::Settings;
use crate::world::{Cause, Key, Wake};

/// Waking waiting VMs at most this often bounds the work where very many wait.
const RETRY_EVERY: Duration = Duration::from_millis(20);

/// Runs until it is dropped, which stops everything that it started.
pub async fn run(context: Arc<Context>, settings: &Settings, synced: impl Fn()) {
    let Settings {
        system_namespace,
        namespaces,
        concurrency,
        ..
    } = settings;
    let mut tasks = JoinSet::new();
    let complete = Complete::default();
    let client = context.client.clone();
    start_cluster_watches(&mut tasks, &context, &client, system_namespace, &complete);
    complete.all(5).await;
    let writer = Writer::<Decoded<AgentVM>>::default();
    let store = writer.as_reader();
    tasks.spawn(watch_vms(
        served::watch(&client, namespaces, &watcher::Config::default()),
        writer,
        Arc::clone(&context),
        complete.clone(),
    ));
    complete.all(6).await;
    info!("caches are complete, reconciling");
    synced();
    tasks.spawn(tick(Arc::clone(&context)));
    tasks.spawn(retry_waiting(Arc::clone(&context)));
    tasks.spawn(reconcile_all(Arc::clone(&context), store, *concurrency));
    while let Some(ended) = tasks.join_next().await {
        // None of them ends by itself.
        warn!(?ended, "a task of the controller ended");
    }
}

fn start_cluster_watches(
    tasks: &mut JoinSet<()>,
    context: &Arc<Context>,
    client: &Client,
    system_namespace: &str,
    complete: &Complete,
) {
    let leases: Api<Lease> = Api::namespaced(client.clone(), system_namespace);
    tasks.spawn(watch_kind(
        "Node",
        Api::all(client.clone()),
        context,
        complete,
        |context, seen: Seen<Node>| match seen {
            Seen::There(node) => context
                .world()
                .node(&name(&*node), Some(&node), Instant::now()),
            Seen::Gone(id) => context.world().node(&id.name, None, Instant::now()),
            Seen::Complete => Wake::default(),
        },
    ));
    tasks.spawn(watch_kind(
        "AgentNode",
        Api::all(client.clone()),
        context,
        complete,
        |context, seen: Seen<Decoded<AgentNode>>| match seen {
            Seen::There(node) => context.world().agent_node(&name(&*node), Some(&node)),
            Seen::Gone(id) => context.world().agent_node(&id.name, None),
            Seen::Complete => Wake::default(),
        },
    ));
    tasks.spawn(watch_kind(
        "Lease",
        leases,
        context,
        complete,
        |context, seen: Seen<Lease>| {
            let wake = match seen {
                Seen::There(lease) => context.world().lease(
                    &name(&*lease),
                    Some(&lease),
                    Instant::now(),
                    Timestamp::now(),
                ),
                Seen::Gone(id) => {
                    context
                        .world()
                        .lease(&id.name, None, Instant::now(), Timestamp::now())
                }
                Seen::Complete => Wake::default(),
            };
            context.leases_changed.notify_one();
            wake
        },
    ));
    tasks.spawn(watch_kind(
        "Namespace",
        Api::all(client.clone()),
        context,
        complete,
        |context, seen: Seen<Namespace>| match seen {
            Seen::There(namespace) => context
                .world()
                .namespace(&name(&*namespace), Some(&namespace)),
            Seen::Gone(id) => context.world().namespace(&id.name, None),
            Seen::Complete => Wake::default(),
        },
    ));
    tasks.spawn(watch_kind(
        "AgentPolicy",
        Api::all(client.clone()),
        context,
        complete,
        |context, seen: Seen<Decoded<AgentPolicy>>| match seen {
            Seen::There(policy) => context.world().policy(&policy),
            Seen::Gone(id) => context.world().policy_gone(&id.name),
            Seen::Complete => Wake::default(),
        },
    ));
}

/// Tells `tell` everything that a watch of `K` shows, for ever.
fn watch_kind<K>(
    kind: &'static str,
    api: Api<K>,
    context: &Arc<Context>,
    complete: &Complete,
    tell: impl Fn(&Context, Seen<K>) -> Wake + Send + 'static,
) -> impl Future<Output = ()> + Send + 'static
where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug + Send + Sync + 'static,
{
    let (context, complete) = (Arc::clone(context), complete.clone());
    async move {
        let mut feed = Feed::default();
        let mut events = watcher(api, watcher::Config::default())
            .default_backoff()
            .boxed();
        while let Some(event) = events.next().await {
            let Some(event) = told(event, kind, &context) else {
                continue;
            };
            for seen in feed.step(slim(event)) {
                if matches!(seen, Seen::Complete) {
                    complete.one(kind);
                }
                context.wake(tell(&context, seen));
            }
        }
    }
}

/// The watch of the VMs: the store first, so that whoever is woken finds the object there.
async fn watch_vms(
    mut events: BoxStream<'static, watcher::Result<watcher::Event<Decoded<AgentVM>>>>,
    mut writer: Writer<Decoded<AgentVM>>,
    context: Arc<Context>,
    complete: Complete,
) {
    let mut feed = Feed::default();
    while let Some(event) = events.next().await {
        let Some(event) = told(event, "AgentVM", &context) else {
            continue;
        };
        let event = slim(event);
        writer.apply_watcher_event(&event);
        for seen in feed.step(event) {
            let wake = match seen {
                Seen::There(vm) => {
                    context
                        .world()
                        .vm(&crate::reconcile::key_of(&vm), &vm, Instant::now())
                }
                Seen::Gone(Id { namespace, name }) => {
                    let key = Key { namespace, name };
                    context.forget(&key);
                    context.world().vm_gone(&key)
                }
                Seen::Complete => {
                    complete.one("AgentVM");
                    Wake::default()
                }
            };
            context.wake(wake);
        }
    }
}

fn told<K>(
    event: watcher::Result<watcher::Event<K>>,
    kind: &'static str,
    context: &Context,
) -> Option<watcher::Event<K>> {
    event
        .inspect_err(|error| {
            context.metrics.watch_failed(kind);
            warn!(
                kind,
                error = watch_sentence(error),
                "watch failed, it will be tried again"
            );
        })
        .ok()
}

/// Without what nobody here reads and a tenant can make large.
fn slim<K: Resource>(event: watcher::Event<K>) -> watcher::Event<K> {
    event.modify(|object| {
        let meta = object.meta_mut();
        meta.managed_fields = None;
        meta.annotations = None;
    })
}

async fn tick(context: Arc<Context>) {
    loop {
        let next = context.world().next_tick();
        let expiry = async {
            match next {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = expiry => {}
            () = context.leases_changed.notified() => {}
        }
        let wake = context.world().tick(Instant::now());
        context.wake(wake);
    }
}

async fn retry_waiting(context: Arc<Context>) {
    loop {
        context.room_changed.notified().await;
        if let Some(cause) = context.take_retry_cause() {
            let keys = context.world().retry_waiting(cause, Instant::now());
            debug!(
                fit = keys.len(),
                node_changed = (cause == Cause::NodeChanged),
                "waiting VMs tried again"
            );
            context.queue.push(keys);
        }
        tokio::time::sleep(RETRY_EVERY).await;
    }
}

async fn reconcile_all(context: Arc<Context>, store: Store<Decoded<AgentVM>>, concurrency: u16) {
    let keys = context.queue.stream().map(|Key { namespace, name }| {
        Ok::<_, Infallible>(ObjectRef::<Decoded<AgentVM>>::new(&name).within(&namespace))
    });
    let config = controller::Config::default().concurrency(concurrency);
    let reconciler = |object, context| Box::pin(reconcile(object, context));
    let results = controller::applier(
        reconciler,
        |object, error, context: Arc<Context>| retry(&object, error, &context),
        Arc::clone(&context),
        store,
        Box::pin(keys),
        config,
    );
    // Failures were logged and counted where they happened; a VM that is gone is none.
    results
        .into_stream()
        .for_each(|_| std::future::ready(()))
        .await;
}

fn name<K: Resource>(object: &K) -> String {
    object.meta().name.clone().unwrap_or_default()
}

/// How many watches have told their first full list.
#[derive(Clone, Debug)]
struct Complete(Arc<watch::Sender<std::collections::BTreeSet<&'static str>>>);

impl Default for Complete {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(
            std::collections::BTreeSet::new(),
        )))
    }
}

impl Complete {
    fn one(&self, kind: &'static str) {
        self.0.send_modify(|kinds| {
            kinds.insert(kind);
        });
    }

    async fn all(&self, count: usize) {
        // The sender is held here, so waiting can't fail.
        let _ = self
            .0
            .subscribe()
            .wait_for(|kinds| kinds.len() >= count)
            .await;
    }
}
