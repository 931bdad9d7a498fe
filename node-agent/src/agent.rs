//! The loop: takes in what happened, plans once, starts what the plan names.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use agentvm_cell_api::cell::VmList;
use agentvm_cell_api::client::CellClient;
use agentvm_cell_api::warden::Cell;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::catalogue::{Catalogue, Change};
use crate::clock;
use crate::desired::Uid;
use crate::execute::{Executor, Job, Yield};
use crate::ledger::{Ledger, Snapshot};
use crate::observed::{Notice, Observed};
use crate::plan::{Action, Plan};
use crate::watch_cells;

/// Inputs that are taken in before the next plan.
const BATCH: usize = 512;
/// Inputs that may wait.
const QUEUE: usize = 1024;
/// How long the loop may take to say how things are.
const LOOK_WITHIN: Duration = Duration::from_secs(2);
/// How often the agent plans even if nothing happened.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// What the loop takes in.
#[derive(Debug)]
pub enum Input {
    /// Of the objects.
    Change(Box<Change>),
    /// Of the cells.
    Notice(Notice),
    /// Of an action.
    Yield(Box<Yield>),
    /// Somebody wants to know how things are.
    Look(oneshot::Sender<Snapshot>),
}

/// Where inputs go.
pub type Inputs = mpsc::Sender<Input>;

/// How everything is; `None` where the loop does not answer.
pub async fn look(inputs: &Inputs) -> Option<Snapshot> {
    let (reply, answer) = oneshot::channel();
    let ask = async {
        inputs.send(Input::Look(reply)).await.ok()?;
        answer.await.ok()
    };
    tokio::time::timeout(LOOK_WITHIN, ask).await.ok().flatten()
}

/// The agent's core: everything it knows, and the tasks that it owns.
#[derive(Debug)]
pub struct Agent {
    catalogue: Catalogue,
    observed: Observed,
    ledger: Ledger,
    executor: Arc<Executor>,
    sockets: BTreeMap<String, CellClient>,
    inputs: Inputs,
    queue: mpsc::Receiver<Input>,
    tasks: JoinSet<()>,
    leaving: bool,
    tidied: clock::Moment,
}

impl Agent {
    /// An agent of `node`. Nothing happens before [`Agent::run`].
    pub fn new(node: &str, executor: Executor) -> Self {
        let (inputs, queue) = mpsc::channel(QUEUE);
        Self {
            catalogue: Catalogue::new(node),
            observed: Observed::default(),
            ledger: Ledger::default(),
            executor: Arc::new(executor),
            sockets: BTreeMap::new(),
            inputs,
            queue,
            tasks: JoinSet::new(),
            leaving: false,
            tidied: clock::now(),
        }
    }

    /// Where to send changes, and requests to look.
    pub fn inputs(&self) -> Inputs {
        self.inputs.clone()
    }

    /// Runs until the returned future is dropped; every task that it owns ends with it, and
    /// cells go on. Ends by itself only once every VM had to leave, has left, and that is told.
    pub async fn run(mut self) {
        self.tasks.spawn(watch_cells::survey(
            self.executor.warden.clone(),
            self.inputs.clone(),
        ));
        loop {
            let wake_at = self.act();
            if self.leaving
                && self
                    .observed
                    .has_left(self.catalogue.desired(), clock::now())
            {
                return;
            }
            let wait = wake_at.map_or(HEARTBEAT, |at| {
                at.saturating_sub(clock::now()).min(HEARTBEAT)
            });
            self.take_in(wait).await;
        }
    }

    /// Waits for something to happen and takes in everything that has.
    async fn take_in(&mut self, wait: Duration) {
        match tokio::time::timeout(wait, self.queue.recv()).await {
            Ok(Some(input)) => self.absorb(input),
            Ok(None) => {}
            Err(_elapsed) => {}
        }
        for _ in 1..BATCH {
            let Ok(input) = self.queue.try_recv() else {
                break;
            };
            self.absorb(input);
        }
        while self.tasks.try_join_next().is_some() {}
        let now = clock::now();
        if now.saturating_sub(self.tidied) >= HEARTBEAT {
            self.tidied = now;
            self.observed.tidy(self.catalogue.desired(), now);
        }
    }

    fn absorb(&mut self, input: Input) {
        let now = clock::now();
        match input {
            Input::Change(change) => {
                self.leaving |= matches!(*change, Change::Leaving(_));
                let touched = self.catalogue.apply(*change);
                for uid in touched {
                    self.wanted(&uid);
                }
            }
            Input::Notice(notice) => {
                self.observed
                    .noticed(notice, self.catalogue.desired(), now, clock::unix_ms());
            }
            Input::Yield(yielded) => match *yielded {
                Yield::Outcome(outcome) => {
                    self.observed
                        .finished(outcome, self.catalogue.desired(), now);
                }
                Yield::Cell(cell, list) => self.cell_up(cell, list),
                Yield::Nothing => {}
            },
            Input::Look(reply) => {
                let _asker = reply.send(self.ledger.snapshot(
                    self.catalogue.desired(),
                    &self.observed,
                    now,
                ));
            }
        }
        for ended in self.observed.take_ends() {
            self.ledger.ended(ended);
        }
        for (uid, used) in self.observed.take_used() {
            self.ledger.used(uid, &used);
        }
    }

    fn wanted(&mut self, uid: &Uid) {
        let Some(want) = self.catalogue.desired().vms.get(uid) else {
            return;
        };
        let status = self.catalogue.status(uid).cloned().unwrap_or_default();
        self.observed
            .wanted(want, &status, clock::now(), clock::unix_ms());
    }

    fn cell_up(&mut self, cell: Cell, list: VmList) {
        let VmList { version, vms } = list;
        let notice = Notice::CellUp {
            namespace: cell.namespace.clone(),
            instance: cell.instance.clone(),
            started_unix_ms: cell.started_unix_ms,
            vms,
        };
        self.sockets
            .insert(cell.namespace.clone(), CellClient::new(&cell.socket));
        let warden = self.executor.warden.clone();
        self.tasks.spawn(watch_cells::follow(
            warden,
            cell,
            version,
            self.inputs.clone(),
        ));
        self.observed.noticed(
            notice,
            self.catalogue.desired(),
            clock::now(),
            clock::unix_ms(),
        );
    }

    /// Plans and starts what is to be done; yields when to plan again.
    fn act(&mut self) -> Option<clock::Moment> {
        loop {
            let plan = Plan::between(self.catalogue.desired(), &self.observed, clock::now());
            let mut changed = false;
            for action in plan.actions {
                self.observed.began(&action);
                if action.is_bookkeeping() {
                    changed = true;
                } else {
                    self.spawn(action);
                }
            }
            // Nothing will come of bookkeeping, so what it makes possible is planned at once.
            if !changed {
                return plan.wake_at;
            }
        }
    }

    fn spawn(&mut self, action: Action) {
        tracing::debug!(?action, "action");
        let job = self.job(action);
        let executor = Arc::clone(&self.executor);
        let inputs = self.inputs.clone();
        self.tasks.spawn(async move {
            let outcome = executor.execute(job).await;
            let _listener = inputs.send(Input::Yield(Box::new(outcome))).await;
        });
    }

    fn job(&self, action: Action) -> Job {
        let cell = action
            .namespace_of_cell()
            .and_then(|namespace| self.sockets.get(namespace).cloned());
        let conditions = match action.reported_on() {
            Some(uid) => self
                .catalogue
                .status(uid)
                .map(|status| status.conditions.clone())
                .unwrap_or_default(),
            None => Vec::new(),
        };
        Job {
            action,
            cell,
            conditions,
        }
    }
}
