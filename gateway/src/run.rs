//! The process: what needs files first, then everything else.

use std::error::Error;
use std::fs::File;
use std::future::IntoFuture as _;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use agentvm_jail::{Jail, JailError};
use agentvm_policy::budget;
use rustls::RootCertStore;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use crate::access_log::{self, AccessLog};
use crate::connect::Tls;
use crate::forward::Gateway;
use crate::ledger::Ledger;
use crate::namespaces::Namespaces;
use crate::process::{Memory, Process, instance};
use crate::resolve::Resolver;
use crate::serve::Service;
use crate::settings::Settings;
use crate::sockets::{DirError, OwnUser, Sockets};
use crate::{api, channels, fence, interfaces, jail, name_servers, panics, randomness, roots};

/// How long what is in flight gets to end once the process is told to.
const GRACE: Duration = Duration::from_secs(2);

/// Why the gateway can't start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Its directory is not usable.
    #[error(transparent)]
    Dir(#[from] DirError),
    /// There are no name servers.
    #[error(transparent)]
    NameServers(#[from] name_servers::NameServersError),
    /// There is nobody to trust.
    #[error(transparent)]
    Roots(#[from] roots::RootsError),
    /// The access log can't be opened.
    #[error("--access-log can't be opened")]
    AccessLog(#[source] io::Error),
    /// The resolver can't be built.
    #[error("names can't be resolved here: {0}")]
    Resolver(String),
    /// The jail can't be entered.
    #[error(transparent)]
    Jail(#[from] JailError),
    /// The TLS library refused its own versions.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
    /// The kernel refused something that it allows every process.
    #[error("the gateway can't serve")]
    System(#[from] io::Error),
}

/// An error with all that it came from, in one line.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}

/// Runs the gateway until SIGTERM or SIGINT.
///
/// # Errors
///
/// [`RunError`]: it serves nobody then.
pub fn run(settings: &Settings) -> Result<(), RunError> {
    log_to_stderr();
    panics::watch();
    let prepared = prepare(settings)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(prepared.threads)
        .max_blocking_threads(budget::GATEWAY_HELPERS.usize())
        .enable_all()
        .build()?;
    runtime.block_on(serve(prepared))
}

/// A jailed process that has everything open and has not heard anybody yet.
#[derive(Debug)]
pub struct Prepared {
    sockets: Sockets,
    roots: RootCertStore,
    name_servers: Vec<std::net::SocketAddr>,
    access_log: Option<access_log::Output>,
    memory: Memory,
    addresses: Vec<std::net::IpAddr>,
    threads: usize,
    jail: Jail,
}

/// Does what needs files, then enters the jail. The very first thing of a gateway.
///
/// # Errors
///
/// [`RunError`]; the process must end then.
pub fn prepare(settings: &Settings) -> Result<Prepared, RunError> {
    let name_servers = if settings.name_servers.is_empty() {
        name_servers::of_system()?
    } else {
        settings.name_servers.clone()
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let sockets = Sockets::open(&settings.dir)?;
    let roots = roots::read(settings.root_certificates.as_deref())?;
    let access_log = access_log::open(&settings.access_log).map_err(RunError::AccessLog)?;
    let memory = Memory::open()?;
    randomness::draw()?;
    // tokio makes a socket pair for signals once for each process: now, or the jail forbids it.
    drop(
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?,
    );
    Ok(Prepared {
        sockets,
        roots,
        name_servers,
        access_log,
        memory,
        addresses: interfaces::addresses(),
        threads: cores.min(budget::GATEWAY_THREADS.usize()),
        jail: jail::enter(settings.require_jail)?,
    })
}

async fn serve(prepared: Prepared) -> Result<(), RunError> {
    let Prepared {
        sockets:
            Sockets {
                api,
                channels,
                lock,
                user,
            },
        roots,
        name_servers,
        access_log,
        memory,
        addresses,
        threads: _,
        jail,
    } = prepared;
    let resolver =
        Resolver::new(&name_servers).map_err(|error| RunError::Resolver(error.to_string()))?;
    let gateway = Arc::new(Gateway::new(resolver, Tls::new(roots)?));
    let ledger = Arc::new(Ledger {
        access_log: AccessLog::start(access_log)?,
        ..Ledger::default()
    });
    let process = Arc::new(Process {
        instance: instance(),
        jail_message: jail.message,
        namespaces: Arc::new(Namespaces::new(ledger.clone())),
        channels: Arc::default(),
        ledger: ledger.clone(),
        memory,
        addresses,
    });
    let mut told = Told::new()?;
    let (stop_tx, stop_rx) = watch::channel(false);
    let service = Service::new(gateway).stopped_by(stop_rx);
    let tasks = TaskTracker::new();
    let accepting = channels::accept(
        OwnUser::on(channels, user)?,
        process.channels.clone(),
        process.namespaces.clone(),
        service,
        tasks.clone(),
    );
    let api = axum::serve(OwnUser::on(api, user)?, api::router(process.clone())).into_future();
    tracing::info!(instance = %process.instance, ?name_servers, "gateway serves");
    let mut api = pin!(api);
    let ended = tokio::select! {
        served = &mut api => served,
        () = accepting => Ok(()),
        () = fence::enforce(&process.namespaces) => Ok(()),
        () = ledger.reports.roll() => Ok(()),
        () = told.signal() => Ok(()),
    };
    tracing::info!("gateway stops");
    stop_tx.send_replace(true);
    tasks.close();
    let _in_time = tokio::time::timeout(GRACE, tasks.wait()).await;
    drop::<File>(lock);
    Ok(ended?)
}

/// The signals that end it.
struct Told {
    terminate: Signal,
    interrupt: Signal,
}

impl Told {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn signal(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Logs as JSON lines on stderr.
fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("AGENTVM_LOG")
        .unwrap_or_else(|_unset| tracing_subscriber::EnvFilter::new("info"));
    // An embedding process may have set its own subscriber; then that one holds.
    let _already_set = tracing_subscriber::fmt()
        .json()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .try_init();
}
