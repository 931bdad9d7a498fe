//! A cell: the VMs of one namespace, in one jailed process.
//!
//! It has stdin (the control channel to the warden), stdout (log lines) and stderr
//! (diagnostics); its listener, code and log files arrive over the control channel. Tasks:
//!
//! | task | input | output |
//! | --- | --- | --- |
//! | `routes` | HTTP on the listener | answers; one task for each VM; starts at a pace |
//! | `start`: one for each VM | a prepared VM | its states |
//! | `fence` | deadlines, `CLOCK_BOOTTIME` | stops what is overdue, agent alive or not |
//! | `link` | the control channel | descriptors; the order to stop |
//! | `pressure` | the warden's word, the host's refusals, use of limits | files that grow or not; marks |
//! | `promise` | starts and ends | what the live VMs may hold, for the warden |
//! | `network` | requests of guests | one channel to the gateway, from the first of them on |
//! | `reclaim` | ends | memory for the system |
//! | threads `log-file`, `log-stdout` | lines | the VMs' files, stdout |
//!
//! Whatever guests do, it has so much and no more of
//!
//! | what | by |
//! | --- | --- |
//! | threads | one for each core and one stand-in for guests, one for their timers, two for logs, one for all tasks above; `CELL_HELPERS` for what blocks |
//! | descriptors | the process's limit: `CELL_SPARE_FILES`, and `CELL_FILES_PER_VM` for each VM; a guest opens none |
//! | tasks | two for each live VM, of which there are `--max-vms` at most, one for each request to the cell, three for the channel to the gateway and two for each request on it |
//! | requests to hosts | `limits.connections` for each VM, `CHANNEL_STREAMS` in all, with `STREAM_BYTES` of each body |
//! | timers | three for each VM, and what one call of its waits for: `SUBSCRIPTIONS`, `HANDLES` |
//! | memory maps | `MAPS_PER_CELL`, and `MAPS_PER_VM` for each VM: the pool of the engine has no more |
//! | ended VMs | three for each that may live, with what they keep |
//! | lines | `WAITING_LOG_BYTES` for each VM, `QUEUED_LOG_BYTES` in all |
//!
//! Guests run on threads of their own, those of `schedule`, so that none of these waits for a guest.

mod archive;
mod fence;
mod limits;
mod link;
mod log;
mod mounts;
mod network;
mod pace;
mod pressure;
mod programs;
mod promise;
mod reclaim;
mod routes;
mod schedule;
mod start;
mod stats;
mod vms;

use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use agentvm_cell_api::warden::JailLevel;
use agentvm_policy::EndReason;
use agentvm_runtime::{Engine, EngineSettings};
use clap::Args;
use tokio::sync::mpsc;

use crate::compile::take_stdin;
use crate::control::{self, Channel, ControlError, FromCell, Verdict};
use crate::jail::{self, Bounds, Jail, JailError};
use crate::warden::jail_level;
use link::Link;
use vms::Vms;

/// Descriptors beyond those of the VMs, live and ended: the listener, connections, runtimes.
const SPARE_OPEN_FILES: u64 = agentvm_policy::budget::CELL_SPARE_FILES.value;

/// Descriptors for each VM: its log, its code, and those that hold their images.
const FILES_PER_VM: u64 = agentvm_policy::budget::CELL_FILES_PER_VM.value;

/// How long a cell that was told to stop with grace stays, so that its ends can be read.
const LINGER: Duration = Duration::from_secs(1);

/// How a cell runs.
#[derive(Clone, Debug, Args)]
pub struct Settings {
    /// The namespace whose VMs it runs.
    #[arg(long, value_name = "NAME")]
    pub namespace: String,
    /// VMs at once.
    #[arg(long, default_value_t = agentvm_policy::budget::VMS_PER_CELL.u32(), value_name = "N")]
    pub max_vms: u32,
    /// The weakest jail to run guests in.
    #[arg(long, default_value = "full", value_parser = jail_level, value_name = "LEVEL")]
    pub require_jail: JailLevel,
    /// Build the engine, enter the jail, say on stdout what came of it, and end.
    #[arg(long)]
    pub probe: bool,
}

/// Why a cell ends otherwise than told.
#[derive(Debug, thiserror::Error)]
pub enum CellError {
    /// The engine can't be built.
    #[error(transparent)]
    Engine(#[from] agentvm_runtime::EngineError),
    /// The jail can't be entered.
    #[error(transparent)]
    Jail(#[from] JailError),
    /// The warden speaks another language.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The kernel refused something that the jail allows.
    #[error("the cell can't serve")]
    System(#[from] std::io::Error),
}

/// A jailed process that has not read a guest's byte yet.
#[derive(Debug)]
pub struct Prepared {
    engine: Engine,
    jail: Jail,
    figures: stats::Figures,
    cores: usize,
}

/// Does what needs files, then enters the jail. The very first thing of a cell.
pub fn prepare(settings: &Settings) -> Result<Prepared, CellError> {
    tie_to_warden().map_err(std::io::Error::from)?;
    // tokio makes a socket pair for signals once for each process: now, or the jail forbids it.
    drop(
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?,
    );
    let figures = stats::Figures::open()?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let engine = Engine::new(&EngineSettings {
        slots: settings.max_vms,
    })?;
    let open_files = SPARE_OPEN_FILES + FILES_PER_VM * u64::from(settings.max_vms);
    let bounds = Bounds {
        open_files,
        address_space_bytes: None,
        cpu_seconds: None,
    };
    let jail = jail::enter(&bounds, settings.require_jail)?;
    Ok(Prepared {
        engine,
        jail,
        figures,
        cores,
    })
}

/// Has the kernel kill this process with the warden, and before it.
pub(crate) fn tie_to_warden() -> Result<(), rustix::io::Errno> {
    // Where the kernel runs out of memory, a cell is a smaller loss than the warden.
    let _unless_there_is_no_proc = std::fs::write("/proc/self/oom_score_adj", "500");
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
}

/// Runs a cell until the warden says so or is gone.
pub fn run(settings: &Settings) -> Result<(), CellError> {
    if settings.probe {
        return probe(settings);
    }
    let control = take_stdin()?;
    let prepared = match prepare(settings) {
        Ok(prepared) => prepared,
        Err(error) => {
            control::send(
                &control,
                &FromCell::Failed {
                    message: chain(&error),
                },
                &[],
            )?;
            return Err(error);
        }
    };
    let guests = schedule::Scheduler::start(prepared.cores)?;
    let tasks = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(agentvm_policy::budget::CELL_HELPERS.usize())
        .build()?;
    // A guest that spins does not keep the process: the scheduler waits for no poll.
    tasks.block_on(async {
        let channel = Channel::new(control)?;
        serve(settings, prepared, guests.spawner(), channel).await
    })
}

/// Finds out what a cell gets here.
fn probe(settings: &Settings) -> Result<(), CellError> {
    let settings = Settings {
        require_jail: JailLevel::None,
        ..settings.clone()
    };
    let Prepared { engine, jail, .. } = prepare(&settings)?;
    let verdict = Verdict {
        level: jail.level,
        message: jail.message,
        engine: engine.hash(),
    };
    let line = serde_json::to_vec(&verdict).map_err(ControlError::Decode)?;
    rustix::io::write(rustix::stdio::stdout(), &line).map_err(std::io::Error::from)?;
    Ok(())
}

async fn serve(
    settings: &Settings,
    prepared: Prepared,
    guests: schedule::Spawner,
    channel: Channel,
) -> Result<(), CellError> {
    let Prepared {
        engine,
        jail,
        figures,
        cores: _,
    } = prepared;
    let Some(listener) = link::listener(&channel).await? else {
        return Ok(());
    };
    let listener = tokio::net::UnixListener::from_std(listener.into())?;
    let (link, mut orders, growth_rx) = Link::new(channel);
    let reclaim = reclaim::Reclaim::default();
    let vms = Arc::new(Vms::new(settings.max_vms));
    let cell = Arc::new(routes::Cell {
        archives: archive::Archives::default(),
        namespace: settings.namespace.clone(),
        vms: vms.clone(),
        programs: programs::Programs::new(engine, link.clone()),
        link: link.clone(),
        logs: log::Writer::start()?,
        guests,
        network: network::Network::new(link.clone()),
        pace: pace::Pace::new(),
        figures,
        reclaim: reclaim.clone(),
    });
    link.send(&FromCell::Ready).await?;
    tracing::info!(namespace = %settings.namespace, jail = ?jail.level, "cell serves");
    let router = routes::router(cell.clone());
    // The routes answer until the very end: somebody wants to know how VMs ended.
    tokio::select! {
        served = axum::serve(listener, router).into_future() => Ok(served?),
        () = fence::enforce(&vms) => Ok(()),
        () = pressure::apply(&vms, growth_rx) => Ok(()),
        () = promise::tell(&vms, &link) => Ok(()),
        () = reclaim.run() => Ok(()),
        () = obey(&mut orders, &vms, &cell.logs) => Ok(()),
    }
}

/// Waits for the order to stop and carries it out; a second one, or the end of the warden, cuts
/// it short.
async fn obey(orders: &mut mpsc::Receiver<Duration>, vms: &Vms, logs: &log::Writer) {
    // Without a warden nobody would ever see these VMs again.
    let Some(grace) = orders.recv().await else {
        return;
    };
    tokio::select! {
        () = stop(vms, logs, grace) => {}
        _ = orders.recv() => {}
    }
}

/// Ends every VM with grace, and leaves a moment to read how they ended.
async fn stop(vms: &Vms, logs: &log::Writer, grace: Duration) {
    vms.stop_all(EndReason::Evicted, grace);
    vms.wait_until(|table| table.live() == 0).await;
    let forgotten = vms.wait_until(vms::Table::is_empty);
    let _those_left_are_lost = tokio::time::timeout(grace.min(LINGER), forgotten).await;
    logs.drain(LINGER).await;
}

/// Now, as the wire spells it.
pub(crate) fn unix_ms_now() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or(0)
}

/// An error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
