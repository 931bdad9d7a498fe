//! Programs that are loaded already, by the digest of their module.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use agentvm_cell_api::problem::{Problem, Reason};
use agentvm_cell_api::warden::ModuleKind;
use agentvm_runtime::{Engine, Kind, LoadError, Program};
use tokio::sync::OnceCell;

use super::link::Link;

/// Programs that are kept; running VMs keep theirs beyond that.
const MAX_KEPT: usize = agentvm_policy::budget::KEPT_PROGRAMS.usize();

/// A program and what it was compiled from.
#[derive(Clone, Debug)]
pub(super) struct Loaded {
    pub(super) kind: ModuleKind,
    pub(super) program: Program,
}

/// The programs of one cell.
#[derive(Debug)]
pub(super) struct Programs {
    engine: Engine,
    link: Link,
    /// Least recently used first.
    kept: Mutex<VecDeque<(String, Arc<OnceCell<Loaded>>)>>,
}

impl Programs {
    /// Loads into `engine` what the warden hands out.
    pub(super) fn new(engine: Engine, link: Link) -> Self {
        Self {
            engine,
            link,
            kept: Mutex::default(),
        }
    }

    /// The program of a module that the warden has compiled; loaded once however many ask.
    pub(super) async fn get(&self, sha256: &str) -> Result<Loaded, Problem> {
        let slot = self.slot(sha256);
        slot.get_or_try_init(|| self.load(sha256)).await.cloned()
    }

    async fn load(&self, sha256: &str) -> Result<Loaded, Problem> {
        let (kind, code) = self.link.code(sha256).await?;
        let engine = self.engine.clone();
        let loading = move || Program::load(&engine, runtime_kind(kind), code);
        match tokio::task::spawn_blocking(loading).await {
            Ok(Ok(program)) => Ok(Loaded { kind, program }),
            Ok(Err(error)) => Err(refused(&error)),
            Err(error) => Err(Problem {
                reason: Reason::Internal,
                message: format!("loading the module failed: {error}"),
            }),
        }
    }

    fn slot(&self, sha256: &str) -> Arc<OnceCell<Loaded>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let known = kept.iter().position(|(known, _)| known == sha256);
        let entry = known
            .and_then(|position| kept.remove(position))
            .unwrap_or_else(|| (sha256.to_owned(), Arc::default()));
        let slot = entry.1.clone();
        kept.push_back(entry);
        if kept.len() > MAX_KEPT {
            kept.pop_front();
        }
        slot
    }
}

fn refused(error: &LoadError) -> Problem {
    let reason = match error {
        LoadError::Code { .. } => Reason::Internal,
        LoadError::Link { .. } => Reason::InvalidModule,
    };
    Problem {
        reason,
        message: error.to_string(),
    }
}

/// A [`ModuleKind`] as the runtime spells it.
fn runtime_kind(kind: ModuleKind) -> Kind {
    match kind {
        ModuleKind::Core => Kind::Core,
        ModuleKind::Component => Kind::Component,
    }
}
