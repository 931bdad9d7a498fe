//! The running cells, one for each namespace: started, attended, ended.

mod attend;
mod roll;

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agentvm_cell_api::problem::{Problem, Reason};
use agentvm_cell_api::warden::{Cell, CellEnd, Cells as CellList};
use rand::TryRngCore;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, watch};

use super::memory::{Weight, Who};
use super::modules::{Modules, internal};
use super::run_dir::{self, RunDir};
use super::{Settings, jail_flag, oom};
use crate::control::{self, Channel, FromCell, ToCell};
use roll::{Cause, Roll, Running};

/// How long a cell may take from its start to serving.
const START_WITHIN: Duration = agentvm_policy::budget::CELL_START.duration();

/// How long cells get beyond the guests' grace.
const MARGIN: Duration = agentvm_policy::budget::CELL_MARGIN.duration();

/// Every cell of this warden.
#[derive(Debug)]
pub(super) struct Cells {
    settings: Arc<Settings>,
    run_dir: Arc<RunDir>,
    modules: Arc<Modules>,
    /// Cells at once.
    most: u32,
    roll: Arc<Mutex<Roll>>,
    /// Set for good by [`Cells::stop_all`].
    stopping: AtomicBool,
    /// Whether files may not grow: what every cell was told last, and new ones are told.
    growth_refused_tx: watch::Sender<bool>,
    /// One start or end at a time for each namespace.
    turns: Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

/// What a cell's attendant is told.
#[derive(Clone, Copy, Debug)]
enum Order {
    /// End the VMs with grace, then the cell.
    Stop(Duration),
    /// End it now.
    Kill,
}

/// A cell that serves, before anybody attends it.
struct Started {
    facts: Cell,
    child: Child,
    channel: Channel,
}

impl Cells {
    /// No cells yet.
    pub(super) fn new(
        settings: Arc<Settings>,
        run_dir: Arc<RunDir>,
        modules: Arc<Modules>,
        most: u32,
    ) -> Self {
        Self {
            settings,
            run_dir,
            modules,
            most,
            roll: Arc::default(),
            stopping: AtomicBool::new(false),
            growth_refused_tx: watch::Sender::new(false),
            turns: Mutex::default(),
        }
    }

    /// Every running cell, sorted by namespace, and the last that have ended.
    pub(super) fn list(&self) -> CellList {
        let roll = lock(&self.roll);
        CellList {
            cells: roll
                .running
                .values()
                .map(|cell| cell.facts.clone())
                .collect(),
            ended: roll.ended.iter().cloned().collect(),
        }
    }

    /// What every running cell was promised and takes.
    pub(super) fn weigh(&self) -> Vec<Weight> {
        let weight_of = |cell: Running| {
            Some(Weight {
                promised: cell.promised_bytes(),
                resident: super::private_bytes(cell.facts.pid)?,
                who: Who::Cell(cell.facts.namespace),
            })
        };
        self.all().into_iter().filter_map(weight_of).collect()
    }

    fn all(&self) -> Vec<Running> {
        lock(&self.roll).running.values().cloned().collect()
    }

    /// The namespace's cell, started if it was not there.
    pub(super) async fn start(&self, namespace: &str) -> Result<Cell, Problem> {
        check_namespace(namespace)?;
        let turn = self.turn(namespace);
        let _taken = turn.lock().await;
        if self.are_stopping() {
            return Err(internal("the warden was told to end".to_owned()));
        }
        if let Some(running) = self.running(namespace) {
            return Ok(running.facts);
        }
        let _room = roll::room(&self.roll, self.most)?;
        let socket = self
            .run_dir
            .cell_socket(namespace)
            .map_err(|error| Problem {
                reason: Reason::BadRequest,
                message: error.to_string(),
            })?;
        let starting = self.start_process(namespace, socket);
        let started = match tokio::time::timeout(START_WITHIN, starting).await {
            Ok(started) => started?,
            Err(_elapsed) => {
                return Err(internal(format!(
                    "the cell of namespace {namespace} did not serve within {} s",
                    START_WITHIN.as_secs()
                )));
            }
        };
        Ok(self.adopt(started))
    }

    /// Ends the namespace's cell and every VM in it, without grace, but lets it write what they
    /// have said. False where there is none.
    pub(super) async fn end(&self, namespace: &str) -> bool {
        // Whoever asks for the cell meanwhile waits, and gets its successor.
        let turn = self.turn(namespace);
        let _taken = turn.lock().await;
        let Some(running) = self.running(namespace) else {
            return false;
        };
        let asked = stopped("the cell was stopped because its DELETE was asked for");
        order(&running, Order::Stop(Duration::ZERO), asked).await;
        if tokio::time::timeout(MARGIN, running.ended.cancelled())
            .await
            .is_err()
        {
            kill(&running).await;
        }
        true
    }

    /// Kills the namespace's cell, since the node is short of memory; `message` is what is
    /// remembered of it.
    pub(super) async fn kill_for_memory(&self, namespace: &str, message: String) {
        let reason = CellEnd::MemoryPressure;
        if let Some(running) = self.running(namespace) {
            let _told_before = running.cause.set(Cause { reason, message });
            if !running.kill() {
                send(&running, Order::Kill).await;
            }
            running.ended.cancelled().await;
        }
    }

    /// Tells every cell, and every one that is started from now on, whether files may grow.
    /// Waits for none of them.
    pub(super) fn refuse_growth(&self, refused: bool) {
        self.growth_refused_tx.send_replace(refused);
    }

    /// Whether files may not grow. Where they may not now, that is news for whoever gets this.
    fn growth_refused(&self) -> watch::Receiver<bool> {
        let mut growth_refused_rx = self.growth_refused_tx.subscribe();
        if *growth_refused_rx.borrow() {
            growth_refused_rx.mark_changed();
        }
        growth_refused_rx
    }

    fn turn(&self, namespace: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = lock(&self.turns);
        turns.entry(namespace.to_owned()).or_default().clone()
    }

    fn running(&self, namespace: &str) -> Option<Running> {
        lock(&self.roll).running.get(namespace).cloned()
    }

    /// Whether every cell was told to end.
    pub(super) fn are_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Ends every cell; VMs get `grace`. No cell is started from now on.
    pub(super) async fn stop_all(&self, grace: Duration) {
        self.stopping.store(true, Ordering::SeqCst);
        let stopped = self.end_all(Order::Stop(grace));
        let _those_left_are_killed = tokio::time::timeout(grace + MARGIN, stopped).await;
    }

    /// Ends every cell now.
    pub(super) async fn kill_all(&self) {
        self.end_all(Order::Kill).await;
    }

    async fn end_all(&self, how: Order) {
        let all = self.all();
        for running in &all {
            let told = stopped("the node's warden was told to end, and every cell with it");
            order(running, how, told).await;
        }
        for running in all {
            running.ended.cancelled().await;
        }
    }

    async fn start_process(&self, namespace: &str, socket: PathBuf) -> Result<Started, Problem> {
        let failed = |error: &dyn std::fmt::Display| {
            internal(format!(
                "the cell of namespace {namespace} can't be started: {error}"
            ))
        };
        let listener = run_dir::listen(&socket).map_err(|error| failed(&error))?;
        let (ours, theirs) = control::pair().map_err(|error| failed(&error))?;
        let child = self
            .spawn(namespace, theirs)
            .map_err(|error| failed(&error))?;
        let pid = child.id().ok_or_else(|| failed(&"it ended at once"))?;
        oom::cell_goes_sooner(pid);
        let channel = Channel::new(ours).map_err(|error| failed(&error))?;
        channel
            .send(&ToCell::Listen, &[listener.as_fd()])
            .await
            .map_err(|error| failed(&error))?;
        match channel.receive().await {
            Ok(Some((FromCell::Ready, _))) => {}
            Ok(Some((FromCell::Failed { message }, _))) => return Err(failed(&message)),
            Ok(Some((FromCell::Request { .. } | FromCell::Promised { .. }, _)) | None) => {
                return Err(failed(&"it ended before it served"));
            }
            Err(error) => return Err(failed(&error)),
        }
        let facts = Cell {
            namespace: namespace.to_owned(),
            socket: socket.to_string_lossy().into_owned(),
            pid,
            instance: random_id().map_err(|error| failed(&error))?,
            started_unix_ms: crate::cell::unix_ms_now(),
        };
        Ok(Started {
            facts,
            child,
            channel,
        })
    }

    fn spawn(&self, namespace: &str, control: OwnedFd) -> std::io::Result<Child> {
        Command::new("/proc/self/exe")
            .arg0("agentvm-cell")
            .args(["cell", "--namespace", namespace])
            .args(["--max-vms", &self.settings.max_vms_per_cell.to_string()])
            .args(["--require-jail", jail_flag(self.settings.require_jail)])
            .env_clear()
            .stdin(Stdio::from(control))
            .kill_on_drop(true)
            .spawn()
    }

    /// Lists a cell from now on, until its process ends.
    fn adopt(&self, started: Started) -> Cell {
        let Started {
            facts,
            child,
            channel,
        } = started;
        tracing::info!(namespace = %facts.namespace, pid = facts.pid, instance = %facts.instance, "cell started");
        let (order_tx, order_rx) = mpsc::channel(8);
        let running = Running::new(facts.clone(), order_tx);
        let namespace = facts.namespace.clone();
        lock(&self.roll).running.insert(namespace, running.clone());
        let stock = attend::Stock {
            namespace: facts.namespace.as_str().into(),
            modules: self.modules.clone(),
            log_dir: self.settings.log_dir.as_path().into(),
            gateway_dir: self.settings.gateway_dir.as_deref().map(Into::into),
        };
        let attending = attend::attend(
            child,
            Arc::new(channel),
            order_rx,
            self.growth_refused(),
            running.promised,
            stock,
        );
        let (roll, cell) = (self.roll.clone(), facts.clone());
        tokio::spawn(async move {
            let how = attending.await;
            tracing::warn!(namespace = %cell.namespace, pid = cell.pid, instance = %cell.instance, how, "cell ended");
            // Before it leaves the list: its successor makes the same path.
            let _gone_already = std::fs::remove_file(&cell.socket);
            lock(&roll).strike(&cell.namespace, &how, crate::cell::unix_ms_now());
            running.ended.cancel();
        });
        facts
    }
}

fn stopped(message: &str) -> Cause {
    Cause {
        reason: CellEnd::Stopped,
        message: message.to_owned(),
    }
}

/// Tells a cell to end; `cause` is what is remembered of it, unless it was told to before.
async fn order(running: &Running, order: Order, cause: Cause) {
    let _told_before = running.cause.set(cause);
    send(running, order).await;
}

/// Kills a cell that was told to end, and has not.
async fn kill(running: &Running) {
    send(running, Order::Kill).await;
    running.ended.cancelled().await;
}

async fn send(running: &Running, order: Order) {
    // An attendant that is gone has seen the end of its cell.
    let _sent = running.order_tx.send(order).await;
}

fn random_id() -> Result<String, rand::rand_core::OsError> {
    let mut bytes = [0; 16];
    rand::rngs::OsRng.try_fill_bytes(&mut bytes)?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}

/// True for the names that Kubernetes allows a namespace (RFC 1123): they are file names here.
fn is_dns_label(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&name.len())
        && name.bytes().all(inner)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

/// Refuses what can't be a namespace.
pub(super) fn check_namespace(name: &str) -> Result<(), Problem> {
    if is_dns_label(name) {
        return Ok(());
    }
    let shown: String = name.chars().take(70).collect();
    Err(Problem {
        reason: Reason::BadRequest,
        message: format!(
            "the namespace {shown:?} is not a DNS label: 1 to 63 of a-z, 0-9 and -, no - at either end"
        ),
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_a_dns_label() {
        for good in ["a", "team-a", "0", &"x".repeat(63)] {
            assert!(is_dns_label(good), "{good}");
        }
        for bad in [
            "",
            "-a",
            "a-",
            "A",
            "a.b",
            "a/b",
            "..",
            "ä",
            "a\n",
            &"x".repeat(64),
        ] {
            assert!(!is_dns_label(bad), "{bad}");
        }
    }

    #[test]
    fn instances_differ() {
        assert_ne!(random_id().unwrap(), random_id().unwrap());
        assert_eq!(random_id().unwrap().len(), 32);
    }
}
