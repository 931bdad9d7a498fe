//! Carries out one action: thin, and without any decision of its own.

mod fetches;
mod network;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use agentvm_cell_api::cell::{VmList, VmSpec};
use agentvm_cell_api::client::{CellClient, ClientError, GatewayClient, WardenClient};
use agentvm_cell_api::problem::Reason;
use agentvm_cell_api::warden::{Cell, Module};
use agentvm_crds::conditions::ImageReason;
use agentvm_policy::EndReason;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use tokio::sync::Semaphore;

use crate::border::{
    Freshness, Modules, Objects, Plainly, Runs, StatusSink, Unanswered, text_values,
};
use crate::desired::Want;
use crate::environment::{self, ConfigMaps};
use crate::mounts::{self, Contents, Object};
use crate::observed::{Lack, Outcome, ReadyModule, StartFailure};
use crate::plan::{Action, Start};
use crate::problem::{Problem, StartReason};
use crate::report::Report;
use crate::source::Source;
use fetches::Fetches;

/// Modules that are fetched or compiled at once.
const FETCHES_AT_ONCE: usize = 3;
/// Mounted objects that are read at once, beside those of starts.
const READS_AT_ONCE: usize = 8;
/// Reports that say how much is used of limits, at once: a cell answers with every VM in it.
const LOOKS_AT_ONCE: usize = 4;
/// How long a cell may take to say what its VMs use.
const USAGE_WITHIN: Duration = Duration::from_secs(2);
/// Requests to the gateway at once.
const PUTS_AT_ONCE: usize = 32;
/// Status writes on their way at once.
const WRITES_AT_ONCE: usize = 64;

/// Everything that actions need.
pub struct Executor {
    /// The warden of this node.
    pub warden: WardenClient,
    /// The gateway of this node, where it has one.
    pub gateway: Option<GatewayClient>,
    objects: Arc<dyn Objects>,
    modules: Arc<dyn Modules>,
    sink: Arc<dyn StatusSink>,
    runs: Arc<dyn Runs>,
    fetches: Fetches,
    reads: Semaphore,
    writes: Semaphore,
    looks: Semaphore,
    puts: Semaphore,
}

impl std::fmt::Debug for Executor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Executor")
            .field("warden", &self.warden)
            .finish_non_exhaustive()
    }
}

/// What an action yields.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "it travels in a box")]
pub enum Yield {
    /// What came of it.
    Outcome(Outcome),
    /// Nothing: the action only changed what the agent remembers.
    Nothing,
    /// A cell that runs, with every VM in it.
    Cell(Cell, VmList),
}

/// An action with what it needs beside itself.
#[derive(Debug)]
pub struct Job {
    /// What to do.
    pub action: Action,
    /// Socket of the cell that it concerns, where one is up.
    pub cell: Option<CellClient>,
    /// Conditions of the object that it concerns, as they stand.
    pub conditions: Vec<Condition>,
}

impl Executor {
    /// An executor over these borders.
    pub fn new(
        warden: WardenClient,
        objects: Arc<dyn Objects>,
        modules: Arc<dyn Modules>,
        sink: Arc<dyn StatusSink>,
    ) -> Self {
        Self {
            warden,
            gateway: None,
            objects,
            modules,
            sink,
            runs: Arc::new(Plainly),
            fetches: Fetches::new(FETCHES_AT_ONCE),
            reads: Semaphore::new(READS_AT_ONCE),
            writes: Semaphore::new(WRITES_AT_ONCE),
            looks: Semaphore::new(LOOKS_AT_ONCE),
            puts: Semaphore::new(PUTS_AT_ONCE),
        }
    }

    /// The same, on a node with a gateway.
    #[must_use]
    pub fn with_gateway(self, gateway: Option<GatewayClient>) -> Self {
        Self { gateway, ..self }
    }

    /// The same, with runs started and deleted in another way.
    #[must_use]
    pub fn with_runs(self, runs: Arc<dyn Runs>) -> Self {
        Self { runs, ..self }
    }

    /// Carries out one action.
    pub async fn execute(&self, job: Job) -> Yield {
        let Job {
            action,
            cell,
            conditions,
        } = job;
        let outcome = match action {
            Action::EnsureModule { source, namespace } => {
                let result = self.ensure_module(&source, &namespace).await;
                Outcome::Module { source, result }
            }
            Action::EnsureCell { namespace } => return self.ensure_cell(namespace).await,
            Action::StopCell { namespace } => {
                tracing::info!(%namespace, "no VM needs the cell: it is ended");
                match self.warden.stop_cell(&namespace).await {
                    Ok(()) => return Yield::Nothing,
                    Err(_) => Outcome::CellNotStopped { namespace },
                }
            }
            Action::StartVm(start) => {
                let result = self.start(&start, cell).await;
                Outcome::Started {
                    uid: start.want.uid.clone(),
                    result,
                }
            }
            Action::UpdateLive { uid, spec, .. } => {
                let result = put(cell, &uid, &spec).await;
                Outcome::Updated { uid, result }
            }
            Action::ReadContent { object } => self.read_content(object).await,
            Action::Warn { want, warning } => {
                let (reason, message) = (warning.reason(), warning.message());
                tracing::warn!(namespace = %want.namespace, vm = %want.name, reason, %message, "VM needs a look");
                self.sink.warn(&want, &warning).await;
                return Yield::Nothing;
            }
            Action::PutRules(put) => {
                let result = self.put_rules(&put).await;
                Outcome::RulesGiven {
                    uid: put.want.uid.clone(),
                    result,
                }
            }
            Action::DropRules { uid } => {
                let result = self.drop_rules(&uid).await;
                Outcome::RulesTaken { uid, result }
            }
            Action::StopVm {
                uid, grace, cause, ..
            } => {
                let result = self.delete(cell, &uid, grace, cause.end_reason()).await;
                Outcome::Deleted { uid, result }
            }
            Action::ForgetVm { uid, .. } => {
                let result = self
                    .delete(cell, &uid, Duration::ZERO, EndReason::Stopped)
                    .await;
                Outcome::Deleted { uid, result }
            }
            Action::ConfirmGone {
                uid,
                namespace,
                name,
            } => {
                let result = self.objects.whereabouts(&namespace, &name, &uid).await;
                Outcome::Confirmed {
                    uid,
                    result: result.map_err(|error| error.to_string()),
                }
            }
            Action::ReportStatus { want, report } => {
                let report = self.with_usage(*report, &want, cell).await;
                self.report(&want, &report, &conditions).await
            }
            Action::DropRecord { .. } | Action::RenewRecord { .. } => return Yield::Nothing,
        };
        Yield::Outcome(outcome)
    }

    async fn ensure_module(
        &self,
        source: &Source,
        namespace: &str,
    ) -> Result<ReadyModule, Problem> {
        let located = self.modules.locate(source).await?;
        let cached = self
            .warden
            .module(&located.sha256)
            .await
            .map_err(|error| of_module(&error))?;
        if let Some(module) = cached {
            return Ok(ready(module));
        }
        let _permit = self
            .fetches
            .place(namespace)
            .await
            .map_err(|closed| host(&closed))?;
        let wasm = located.fetch.await?;
        let put = self
            .warden
            .put_module(Some(namespace), &located.sha256, wasm)
            .await;
        put.map(ready).map_err(|error| of_module(&error))
    }

    async fn ensure_cell(&self, namespace: String) -> Yield {
        match self.start_cell(&namespace).await {
            Ok((cell, vms)) => Yield::Cell(cell, vms),
            Err(error) => {
                tracing::warn!(%namespace, %error, "cell does not start");
                Yield::Outcome(Outcome::CellFailed {
                    namespace,
                    message: error.to_string(),
                    lack: lack_of(&error),
                })
            }
        }
    }

    async fn start_cell(&self, namespace: &str) -> Result<(Cell, VmList), ClientError> {
        let cell = self.warden.start_cell(namespace).await?;
        let vms = CellClient::new(&cell.socket)
            .list_vms(0, Duration::ZERO)
            .await?;
        Ok((cell, vms))
    }

    async fn start(
        &self,
        start: &Start,
        cell: Option<CellClient>,
    ) -> Result<agentvm_cell_api::cell::VmStatus, StartFailure> {
        let maps = self
            .config_maps(&start.want)
            .await
            .map_err(|error| StartFailure::Problem(host(&error)))?;
        let contents = self
            .contents(&start.want)
            .await
            .map_err(|error| StartFailure::Problem(host(&error)))?;
        let spec = environment::vm_spec(start, &maps, &contents).map_err(StartFailure::Problem)?;
        let cell = cell.ok_or_else(|| StartFailure::Problem(host(&"the cell is not up")))?;
        let started = self.runs.start(&cell, &start.want.uid, spec).await;
        started.map_err(|error| not_started(&error))
    }

    async fn delete(
        &self,
        cell: Option<CellClient>,
        uid: &str,
        grace: Duration,
        reason: EndReason,
    ) -> Result<Option<agentvm_cell_api::cell::VmStatus>, String> {
        let cell = cell.ok_or("the cell is not up")?;
        let deleted = self.runs.delete(&cell, uid, grace, reason).await;
        deleted.map_err(|error| error.to_string())
    }

    async fn config_maps(&self, want: &Want) -> Result<ConfigMaps, Unanswered> {
        let mut maps = BTreeMap::new();
        for name in environment::config_maps(&want.spec) {
            let map = self.objects.config_map(&want.namespace, name).await?;
            maps.insert(name.to_owned(), map.map(text_values));
        }
        Ok(maps)
    }

    async fn contents(&self, want: &Want) -> Result<Contents, Unanswered> {
        let mut contents = Contents::new();
        for object in mounts::objects(&want.namespace, &want.mounts) {
            let content = self.objects.content(&object, Freshness::Live).await?;
            contents.insert(object, content);
        }
        Ok(contents)
    }

    async fn read_content(&self, object: Object) -> Outcome {
        let result = match self.reads.acquire().await {
            Ok(_permit) => self.objects.content(&object, Freshness::Recent).await,
            Err(closed) => Err(Unanswered(closed.to_string())),
        };
        if let Err(error) = &result {
            tracing::debug!(%object, %error, "a mounted object was not read");
        }
        Outcome::Content {
            object,
            result: result.map_err(|error| error.to_string()),
        }
    }

    /// The report with how much is used of limits that press. A cell that does not say, or many
    /// reports at once, are no reason to hold one up.
    async fn with_usage(&self, report: Report, want: &Want, cell: Option<CellClient>) -> Report {
        let (Some(cell), Ok(_permit)) = (cell, self.looks.try_acquire()) else {
            return report;
        };
        let stats = tokio::time::timeout(USAGE_WITHIN, cell.stats()).await;
        let stats = stats.ok().and_then(Result::ok).unwrap_or_default();
        match stats.vms.get(&want.uid) {
            Some(usage) => report.with_usage(usage),
            None => report,
        }
    }

    async fn report(&self, want: &Arc<Want>, report: &Report, conditions: &[Condition]) -> Outcome {
        let written = match self.writes.acquire().await {
            Ok(_permit) => self.sink.write(want, report, conditions).await,
            Err(closed) => Err(Unanswered(closed.to_string())),
        };
        if let Err(error) = &written {
            tracing::warn!(namespace = %want.namespace, vm = %want.name, %error, "status was not written");
        }
        Outcome::Reported {
            uid: want.uid.clone(),
            key: report.key.clone(),
            result: written.map_err(|error| error.to_string()),
        }
    }
}

async fn put(
    cell: Option<CellClient>,
    uid: &str,
    spec: &VmSpec,
) -> Result<agentvm_cell_api::cell::VmStatus, String> {
    let cell = cell.ok_or("the cell is not up")?;
    cell.put_vm(uid, spec)
        .await
        .map_err(|error| sentence_of(&error))
}

fn ready(module: Module) -> ReadyModule {
    ReadyModule {
        sha256: module.sha256,
        kind: module.kind,
    }
}

fn host(error: &dyn std::fmt::Display) -> Problem {
    Problem::new(StartReason::Host, error.to_string())
}

/// What the warden's refusal of a module means.
fn of_module(error: &ClientError) -> Problem {
    let reason = match error.reason() {
        Some(Reason::InvalidModule) => StartReason::Image(ImageReason::InvalidModule),
        Some(Reason::MissingImports) => StartReason::Image(ImageReason::MissingImports),
        Some(Reason::CompileLimit) => StartReason::Image(ImageReason::CompileLimit),
        Some(
            Reason::BadRequest
            | Reason::NotFound
            | Reason::Conflict
            | Reason::InvalidMounts
            | Reason::NoSpace
            | Reason::Exhausted
            | Reason::Internal,
        )
        | None => StartReason::Host,
    };
    Problem::new(reason, sentence_of(error))
}

/// What a cell's refusal of a VM means.
fn not_started(error: &ClientError) -> StartFailure {
    match error.reason() {
        Some(Reason::NotFound) => StartFailure::ModuleLost,
        Some(Reason::InvalidModule | Reason::MissingImports | Reason::CompileLimit) => {
            StartFailure::Problem(of_module(error))
        }
        Some(Reason::InvalidMounts) => image(ImageReason::InvalidMounts, error),
        Some(Reason::NoSpace) => image(ImageReason::StorageLimit, error),
        Some(Reason::BadRequest | Reason::Conflict | Reason::Exhausted | Reason::Internal)
        | None => StartFailure::Problem(Problem::new(StartReason::Host, sentence_of(error))),
    }
}

fn image(reason: ImageReason, error: &ClientError) -> StartFailure {
    StartFailure::Problem(Problem::new(StartReason::Image(reason), sentence_of(error)))
}

/// Whether a cell did not start for want of room.
fn lack_of(error: &ClientError) -> Lack {
    if error.reason() == Some(Reason::Exhausted) {
        Lack::Room
    } else {
        Lack::Other
    }
}

/// The refusal's own sentence: its reason stands beside it anyway.
fn sentence_of(error: &ClientError) -> String {
    match error {
        ClientError::Problem(problem) => problem.message.clone(),
        ClientError::Unreachable { .. } | ClientError::Protocol { .. } => error.to_string(),
    }
}
