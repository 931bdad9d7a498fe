//! The life of one operator process: stand by, lead, stand by again, until SIGTERM.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Instant;

use anyhow::Context as _;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tracing::info;

use crate::context::Context;
use crate::leader::lease::Candidate;
use crate::leader::{Election, Timings};
use crate::metrics::Metrics;
use crate::serve::{Refresh, Stage, Status, serve};
use crate::settings::Settings;
use crate::{controller, notice, skew};

/// The world of the present leadership, for the gauges; empty in standby.
type Leading = Arc<Mutex<Weak<Context>>>;

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// The configuration is unusable or the address for the status server is taken. An API server
/// that can't be reached is no error: it is waited for.
pub async fn run(settings: Settings) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let client = client(&settings).await?;
    let mut registry = Registry::default();
    let metrics = Arc::new(Metrics::register(&mut registry));
    let (stage_tx, stage_rx) = watch::channel(Stage::Starting);
    let leading = Leading::default();
    let listener = TcpListener::bind(settings.listen)
        .await
        .with_context(|| format!("--listen {} can't be bound", settings.listen))?;
    info!(listen = %listener.local_addr()?, "serving metrics and health");
    let refresh = refresh(Arc::clone(&leading), Arc::clone(&metrics));
    let mut server = JoinSet::new();
    server.spawn(serve(
        listener,
        Status {
            registry: Arc::new(registry),
            stage_rx,
            refresh,
        },
    ));

    server.spawn(skew::tell(client.clone()));

    let host = settings.identity.clone().unwrap_or_else(host_name);
    let election = Election::new(
        format!("{host}_{:016x}", RandomState::new().hash_one(&host)),
        Timings::default(),
    );
    let mut candidate = Candidate::new(client.clone(), &settings.system_namespace, election);
    let life = live(
        &mut candidate,
        &client,
        &settings,
        &metrics,
        &leading,
        &stage_tx,
        &host,
    );
    tokio::select! {
        () = life => {}
        _ = terminate.recv() => info!("SIGTERM"),
        _ = interrupt.recv() => info!("SIGINT"),
    }
    // Everything that leads is stopped by now: the Lease may go.
    candidate.release().await;
    Ok(())
}

async fn live(
    candidate: &mut Candidate,
    client: &Client,
    settings: &Settings,
    metrics: &Arc<Metrics>,
    leading: &Leading,
    stage_tx: &watch::Sender<Stage>,
    host: &str,
) {
    loop {
        candidate.acquire(|| set(stage_tx, Stage::Standby)).await;
        metrics.leader.set(1);
        metrics.leaderships.inc();
        set(stage_tx, Stage::Syncing);
        let mut tasks = lead(client, settings, metrics, leading, stage_tx, host);
        candidate.hold().await;
        set(stage_tx, Stage::Standby);
        metrics.leader.set(0);
        tasks.shutdown().await;
    }
}

/// Starts what a leader runs; dropping the set stops it.
fn lead(
    client: &Client,
    settings: &Settings,
    metrics: &Arc<Metrics>,
    leading: &Leading,
    stage_tx: &watch::Sender<Stage>,
    host: &str,
) -> JoinSet<()> {
    let (notice_tx, notice_rx) = mpsc::channel(notice::WAITING_NOTICES);
    let context = Context::new(
        client.clone(),
        Arc::clone(metrics),
        settings.require_jail.into(),
        notice_tx,
    );
    let context = Arc::new(context);
    *leading.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(&context);
    let mut tasks = JoinSet::new();
    tasks.spawn(notice::write_all(
        client.clone(),
        host.to_owned(),
        notice_rx,
        Arc::clone(metrics),
    ));
    let settings = settings.clone();
    let stage_tx = stage_tx.clone();
    let synced = move || set(&stage_tx, Stage::Leading);
    tasks.spawn(async move { controller::run(context, &settings, synced).await });
    tasks
}

fn refresh(leading: Leading, metrics: Arc<Metrics>) -> Refresh {
    Refresh(Arc::new(move || {
        let context = leading
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .upgrade();
        let (census, failing) = context.map_or_else(Default::default, |context| {
            (
                context.world().census(Instant::now()),
                context.retries().failing(),
            )
        });
        metrics.count(census, failing);
    }))
}

fn set(stage_tx: &watch::Sender<Stage>, stage: Stage) {
    stage_tx.send_replace(stage);
}

async fn client(settings: &Settings) -> anyhow::Result<Client> {
    let config = match &settings.kubeconfig {
        Some(path) => {
            let kubeconfig = Kubeconfig::read_from(path)
                .with_context(|| format!("--kubeconfig {} can't be read", path.display()))?;
            Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?
        }
        None => Config::infer()
            .await
            .context("neither a Pod's service account nor a kubeconfig was found")?,
    };
    Ok(Client::try_from(config)?)
}

fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() {
        "operator".to_owned()
    } else {
        name.to_owned()
    }
}
