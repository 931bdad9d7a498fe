//! The warden: starts and jails cells and compilers, and keeps the compiled code.
//!
//! It never reads a guest's bytes beyond hashing them. Tasks, all on one thread (a child is
//! killed when the thread that started it ends, so that thread must be the main one):
//!
//! | task | input | output |
//! | --- | --- | --- |
//! | `routes` | HTTP on `warden.sock` | answers |
//! | `cells`: one for each cell | its control channel, its end | code, log files and channels to the gateway for it |
//! | `memory` | the container's memory | the end of the process that is most over; files that may not grow |
//! | `modules`: one for each request | a module | a compiler process in its namespace's turn, a cache entry |

mod cache;
mod cells;
mod code;
mod compiler;
mod compilers;
mod digest;
mod gateway;
mod key;
mod machine;
mod memory;
mod modules;
mod oom;
mod probe;
mod queue;
mod routes;
mod run_dir;

use std::future::IntoFuture;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use agentvm_cell_api::warden::JailLevel;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use cells::Cells;
use modules::Modules;
use run_dir::RunDir;

/// Threads of the warden beside its own, which read and write the cache.
const MAX_THREADS: usize = agentvm_policy::budget::WARDEN_THREADS.usize();

/// How the warden runs.
#[derive(Clone, Debug, Args)]
pub struct Settings {
    /// Directory of the sockets: DIR/warden.sock and DIR/cells/NAMESPACE.sock.
    #[arg(long, env = "AGENTVM_RUN_DIR", value_name = "DIR")]
    pub run_dir: PathBuf,
    /// Directory of the compiled code and of the key that authenticates it.
    #[arg(long, env = "AGENTVM_CODE_CACHE_DIR", value_name = "DIR")]
    pub cache_dir: PathBuf,
    /// Directory of the VMs' log files, which have no names in it.
    #[arg(long, env = "AGENTVM_LOG_DIR", value_name = "DIR")]
    pub log_dir: PathBuf,
    /// Directory of the gateway's sockets; without it no VM can make requests.
    #[arg(long, env = "AGENTVM_GATEWAY_DIR", value_name = "DIR")]
    pub gateway_dir: Option<PathBuf>,
    /// VMs that one cell can hold at once.
    #[arg(
        long,
        env = "AGENTVM_MAX_VMS_PER_CELL",
        default_value_t = agentvm_policy::budget::VMS_PER_CELL.u32(),
        value_name = "N"
    )]
    pub max_vms_per_cell: u32,
    /// Cells, and so namespaces, that can run at once. Default: 200, or as many as an eighth of
    /// the container's memory and the container's threads hold.
    #[arg(long, env = "AGENTVM_MAX_CELLS", value_parser = clap::value_parser!(u32).range(1..=4096), value_name = "N")]
    pub max_cells: Option<u32>,
    /// The weakest jail to run guests in: full, partial (no Landlock) or none.
    #[arg(long, env = "AGENTVM_REQUIRE_JAIL", default_value = "full", value_parser = jail_level, value_name = "LEVEL")]
    pub require_jail: JailLevel,
    /// Compilers at once.
    #[arg(long, env = "AGENTVM_COMPILERS", default_value_t = agentvm_policy::budget::COMPILERS.u32(), value_parser = clap::value_parser!(u32).range(1..=64), value_name = "N")]
    pub compilers: u32,
    /// Wall-clock seconds that one compilation may take.
    #[arg(long, env = "AGENTVM_COMPILE_TIMEOUT_SECONDS", default_value_t = agentvm_policy::budget::COMPILE_WALL.seconds(), value_parser = clap::value_parser!(u64).range(1..=3600), value_name = "SECONDS")]
    pub compile_timeout_seconds: u64,
    /// MiB of memory that one compilation may take.
    #[arg(
        long,
        env = "AGENTVM_COMPILE_MEMORY_MIB",
        default_value_t = agentvm_policy::budget::COMPILE_MEMORY_BYTES.mib(),
        value_name = "MIB"
    )]
    pub compile_memory_mib: u64,
    /// The largest module that is accepted, MiB.
    #[arg(
        long,
        env = "AGENTVM_MAX_MODULE_MIB",
        default_value_t = agentvm_policy::budget::ACCEPTED_MODULE_BYTES.mib(),
        value_name = "MIB"
    )]
    pub max_module_mib: u64,
    /// The largest compiled code that is accepted, and kept in memory for cells to share, MiB.
    #[arg(
        long,
        env = "AGENTVM_MAX_CODE_MIB",
        default_value_t = agentvm_policy::budget::CODE_BYTES.mib(),
        value_name = "MIB"
    )]
    pub max_code_mib: u64,
    /// Percent of the container's memory limit at which the cell that is most over what its
    /// VMs were promised is ended.
    #[arg(long, env = "AGENTVM_MEMORY_PERCENT", default_value_t = 88, value_parser = clap::value_parser!(u64).range(50..=95), value_name = "PERCENT")]
    pub memory_percent: u64,
    /// Percent of the container's memory limit at which VMs' files may not grow any more; they
    /// may again five percent below. Default: eight percent before a cell is ended.
    #[arg(long, env = "AGENTVM_GROWTH_PERCENT", value_parser = clap::value_parser!(u64).range(20..=95), value_name = "PERCENT")]
    pub growth_percent: Option<u64>,
    /// Where the control groups are mounted, which tell the container's memory.
    #[arg(
        long,
        env = "AGENTVM_CGROUP_DIR",
        default_value = "/sys/fs/cgroup",
        value_name = "DIR"
    )]
    pub cgroup_dir: PathBuf,
    /// Compiled code that is kept on disk, MiB; what was used longest ago goes first.
    #[arg(
        long,
        env = "AGENTVM_MAX_CACHE_MIB",
        default_value_t = agentvm_policy::budget::CACHE_BYTES.mib(),
        value_name = "MIB"
    )]
    pub max_cache_mib: u64,
    /// Seconds that VMs get to end by themselves when the warden is told to.
    #[arg(
        long,
        env = "AGENTVM_WARDEN_GRACE_SECONDS",
        default_value_t = 10,
        value_name = "SECONDS"
    )]
    pub grace_seconds: u64,
}

/// Parses a [`JailLevel`] as flags spell it.
pub(crate) fn jail_level(text: &str) -> Result<JailLevel, String> {
    match text {
        "none" => Ok(JailLevel::None),
        "partial" => Ok(JailLevel::Partial),
        "full" => Ok(JailLevel::Full),
        other => Err(format!(
            "\"{other}\" is not a jail level: full, partial or none"
        )),
    }
}

/// A [`JailLevel`] as flags spell it.
pub(crate) fn jail_flag(level: JailLevel) -> &'static str {
    match level {
        JailLevel::None => "none",
        JailLevel::Partial => "partial",
        JailLevel::Full => "full",
    }
}

/// Why the warden can't start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum WardenError {
    /// Its run directory is not usable.
    #[error(transparent)]
    RunDir(#[from] run_dir::RunDirError),
    /// Its key is not usable.
    #[error(transparent)]
    Key(#[from] key::KeyError),
    /// Cells could not run here.
    #[error(transparent)]
    Probe(#[from] probe::ProbeError),
    /// Not one VM fits.
    #[error(transparent)]
    Machine(#[from] machine::MachineError),
    /// A directory can't be made or written.
    #[error("{flag} {} can't be written by user {user}: make it a directory of that user with mode 0700, on a file system that is not read-only", path.display())]
    Directory {
        /// Which setting names it.
        flag: &'static str,
        /// Which one.
        path: PathBuf,
        /// Who would write.
        user: u32,
        /// Why.
        source: std::io::Error,
    },
    /// The kernel refused something that it allows every process.
    #[error("the warden can't serve")]
    System(#[from] std::io::Error),
}

/// Runs the warden until SIGTERM or SIGINT.
pub fn run(settings: Settings) -> Result<(), WardenError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(MAX_THREADS)
        .enable_all()
        .build()?;
    runtime.block_on(serve(settings))
}

async fn serve(mut settings: Settings) -> Result<(), WardenError> {
    let slots = machine::assess(&settings)?;
    settings.max_vms_per_cell = slots.count;
    machine::raise_open_files();
    let settings = Arc::new(settings);
    let run_dir = Arc::new(RunDir::open(&settings.run_dir)?);
    writable("--cache-dir", &settings.cache_dir)?;
    writable("--log-dir", &settings.log_dir)?;
    let key = key::load_or_make(&settings.cache_dir)?;
    let facts = probe::probe(&settings).await?;
    let modules = Arc::new(Modules::new(&settings, &facts.engine, key));
    let cells = Arc::new(Cells::new(
        settings.clone(),
        run_dir.clone(),
        modules.clone(),
        slots.cells,
    ));
    let listener = tokio::net::UnixListener::from_std(run_dir.listen()?)?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tracing::info!(socket = %run_dir.socket().display(), jail = ?facts.level, engine = %facts.engine, "warden serves");

    let router = routes::router(routes::Warden {
        settings: settings.clone(),
        facts,
        slots,
        modules: modules.clone(),
        cells: cells.clone(),
    });
    let mut serving = pin!(axum::serve(listener, router).into_future());
    let stopped = tokio::select! {
        served = &mut serving => served,
        () = memory::watch(cells.clone(), modules.clone(), &settings) => Ok(()),
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    };
    tracing::info!("warden stops its cells");
    // The agent still has to hear how VMs end.
    tokio::select! {
        _ended = serving, if stopped.is_ok() => {}
        () = cells.stop_all(Duration::from_secs(settings.grace_seconds)) => {}
        _ = terminate.recv() => tracing::warn!("told to stop twice: cells are killed"),
    }
    cells.kill_all().await;
    Ok(stopped?)
}

/// Makes a directory of the warden's own, or fails with who can't.
fn writable(flag: &'static str, path: &Path) -> Result<(), WardenError> {
    run_dir::private_directory(path).map_err(|source| WardenError::Directory {
        flag,
        path: path.to_owned(),
        user: rustix::process::geteuid().as_raw(),
        source,
    })
}

/// Bytes of memory that a process alone holds; `None` where it is gone.
fn private_bytes(pid: u32) -> Option<u64> {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    Some(statm_bytes(&statm, 1).saturating_sub(statm_bytes(&statm, 2)))
}

/// The second number of `statm`, in bytes.
fn resident_bytes(statm: &str) -> u64 {
    statm_bytes(statm, 1)
}

/// A number of `statm`, in bytes: 1 is what is resident, 2 what of it is files and shared.
fn statm_bytes(statm: &str, field: usize) -> u64 {
    let pages: u64 = statm
        .split(' ')
        .nth(field)
        .and_then(|pages| pages.parse().ok())
        .unwrap_or(0);
    pages * u64::try_from(rustix::param::page_size()).unwrap_or(4096)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_the_second_number_in_pages() {
        let page = u64::try_from(rustix::param::page_size()).unwrap();
        assert_eq!(resident_bytes("9000 12 3 1 0 400 0\n"), 12 * page);
        assert_eq!(resident_bytes(""), 0);
        assert_eq!(statm_bytes("9000 12 3 1 0 400 0\n", 2), 3 * page);
    }

    #[test]
    fn a_process_holds_memory_until_it_is_gone() {
        assert!(private_bytes(std::process::id()).unwrap() > 0);
        assert_eq!(private_bytes(u32::MAX), None);
    }
}
