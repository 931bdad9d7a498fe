//! From a module's bytes to code that cells can load: memory, disk, compiler, in that order.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Settings;
use super::cache::{self, Cache, Lookup};
use super::code::{Code, Sealed};
use super::compiler::{self, Limits};
use super::compilers::{Compilers, Place};
use super::digest::Digest;
use super::key::Key;
use crate::guards::{Guard, is_on};
use agentvm_cell_api::problem::{Problem, Reason};
use agentvm_cell_api::warden::{Compiles, Module};

/// Refusals that are remembered, so that a bad module is compiled once, not once a restart.
const MAX_REFUSED: usize = agentvm_policy::budget::REFUSED_MODULES.usize();

/// How long it is remembered that a module was too expensive: on a quieter node it may not be.
const TOO_EXPENSIVE_FOR: Duration = agentvm_policy::budget::TOO_EXPENSIVE_FOR.duration();

/// Modules whose code is kept in memory: each takes a descriptor.
const MAX_HELD: usize = agentvm_policy::budget::HELD_MODULES.usize();

/// Every module that this warden knows.
#[derive(Debug)]
pub(super) struct Modules {
    cache: Arc<Cache>,
    limits: Limits,
    compilers: Compilers,
    /// Code in memory, shared by all cells that run it.
    held: Mutex<Held>,
    /// What was refused, and why.
    refused: Mutex<Refused>,
    /// One at a time for each digest; the map holds those in use only.
    turns: Mutex<BTreeMap<Digest, Arc<tokio::sync::Mutex<()>>>>,
    succeeded: AtomicU64,
    refused_total: AtomicU64,
    rejected_entries: AtomicU64,
}

impl Modules {
    /// Modules compiled for `engine`, cached under the settings' directory.
    pub(super) fn new(settings: &Settings, engine: &str, key: Key) -> Self {
        let max_code_bytes = settings.max_code_mib << 20;
        let bounds = cache::Bounds {
            code_bytes: max_code_bytes,
            total_bytes: settings.max_cache_mib << 20,
        };
        Self {
            cache: Arc::new(Cache::new(&settings.cache_dir, engine, key, bounds)),
            limits: Limits::of(settings),
            compilers: Compilers::new(settings),
            held: Mutex::new(Held {
                max_bytes: max_code_bytes,
                entries: VecDeque::new(),
            }),
            refused: Mutex::default(),
            turns: Mutex::default(),
            succeeded: AtomicU64::new(0),
            refused_total: AtomicU64::new(0),
            rejected_entries: AtomicU64::new(0),
        }
    }

    /// Drops the machine code that is kept in memory, which is on disk as well; returns how many
    /// bytes that were. Cells keep what they have mapped.
    pub(super) fn let_go(&self) -> u64 {
        let held = std::mem::take(&mut lock(&self.held).entries);
        held.iter().map(|(_, code)| code.sealed.bytes()).sum()
    }

    /// Compilations by outcome so far.
    pub(super) fn compiles(&self) -> Compiles {
        let (running, waiting) = self.compilers.count();
        Compiles {
            succeeded: self.succeeded.load(Ordering::Relaxed),
            refused: self.refused_total.load(Ordering::Relaxed),
            rejected_entries: self.rejected_entries.load(Ordering::Relaxed),
            running,
            waiting,
        }
    }

    /// The compilers.
    pub(super) fn compilers(&self) -> &Compilers {
        &self.compilers
    }

    /// The module's code where it is compiled: verified, in memory.
    pub(super) async fn code(&self, digest: &Digest) -> Result<Option<Arc<Code>>, Problem> {
        if let Some(code) = lock(&self.held).get(digest) {
            return Ok(Some(code));
        }
        let turn = self.turn(digest);
        let taken = turn.lock().await;
        let found = self.code_in_turn(digest).await;
        drop(taken);
        self.end_turn(digest, turn);
        found
    }

    /// The module, compiled from `wasm` unless it already is. `wasm` has this digest.
    pub(super) async fn put(
        self: &Arc<Self>,
        digest: Digest,
        wasm: Sealed,
        place: Place,
    ) -> Result<Module, Problem> {
        if let Some(known) = self.known(&digest).await? {
            return Ok(known);
        }
        place.turn(&digest).await;
        let modules = self.clone();
        // A task of its own: an asker that goes away while it waits gives its place up; one that
        // goes away later neither wastes nor repeats the work.
        let compiling = tokio::spawn(async move {
            match modules.known(&digest).await? {
                Some(known) => Ok(known),
                None => modules.compile(&digest, wasm, &place).await,
            }
        });
        match compiling.await {
            Ok(module) => module,
            Err(error) => Err(internal(format!("compiling failed: {error}"))),
        }
    }

    /// What is known of a module without compiling it: that it is compiled, or bad.
    async fn known(&self, digest: &Digest) -> Result<Option<Module>, Problem> {
        if let Some(code) = self.code(digest).await? {
            return Ok(Some(module(digest, &code, 0)));
        }
        match lock(&self.refused).get(digest, Instant::now()) {
            Some(problem) => Err(problem),
            None => Ok(None),
        }
    }

    async fn code_in_turn(&self, digest: &Digest) -> Result<Option<Arc<Code>>, Problem> {
        if let Some(code) = lock(&self.held).get(digest) {
            return Ok(Some(code));
        }
        let (cache, wanted) = (self.cache.clone(), digest.clone());
        match blocking(move || cache.load(&wanted)).await? {
            Lookup::Found(code) => {
                let code = Arc::new(code);
                lock(&self.held).put(digest.clone(), code.clone());
                Ok(Some(code))
            }
            Lookup::Missing => Ok(None),
            Lookup::Rejected => {
                self.rejected_entries.fetch_add(1, Ordering::Relaxed);
                Ok(None)
            }
        }
    }

    async fn compile(
        &self,
        digest: &Digest,
        wasm: Sealed,
        place: &Place,
    ) -> Result<Module, Problem> {
        let started = Instant::now();
        let code = match compiler::compile(&self.limits, wasm, place).await {
            Ok(code) => Arc::new(code),
            Err(problem) => return Err(self.refuse(digest, problem)),
        };
        self.succeeded.fetch_add(1, Ordering::Relaxed);
        let (cache, named, stored) = (self.cache.clone(), digest.clone(), code.clone());
        if let Err(problem) = blocking(move || cache.store(&named, &stored)).await {
            // A full disk costs the next start a compilation, and nothing now.
            tracing::warn!(module = %digest, %problem, "compiled code was not written to the cache");
        }
        lock(&self.held).put(digest.clone(), code.clone());
        let compile_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(module = %digest, compile_ms, bytes = code.sealed.bytes(), "module compiled");
        Ok(module(digest, &code, compile_ms.max(1)))
    }

    fn refuse(&self, digest: &Digest, problem: Problem) -> Problem {
        tracing::info!(module = %digest, reason = ?problem.reason, "module refused");
        match problem.reason {
            Reason::InvalidModule | Reason::MissingImports | Reason::CompileLimit => {
                self.refused_total.fetch_add(1, Ordering::Relaxed);
                lock(&self.refused).put(digest.clone(), problem.clone(), Instant::now());
            }
            Reason::BadRequest
            | Reason::NotFound
            | Reason::Conflict
            | Reason::InvalidMounts
            | Reason::NoSpace
            | Reason::Exhausted
            | Reason::Internal => {}
        }
        problem
    }

    fn turn(&self, digest: &Digest) -> Arc<tokio::sync::Mutex<()>> {
        lock(&self.turns).entry(digest.clone()).or_default().clone()
    }

    fn end_turn(&self, digest: &Digest, turn: Arc<tokio::sync::Mutex<()>>) {
        let mut turns = lock(&self.turns);
        drop(turn);
        if turns
            .get(digest)
            .is_some_and(|turn| Arc::strong_count(turn) == 1)
        {
            turns.remove(digest);
        }
    }
}

/// Code in memory, least recently used first.
#[derive(Debug)]
struct Held {
    max_bytes: u64,
    entries: VecDeque<(Digest, Arc<Code>)>,
}

impl Held {
    fn get(&mut self, digest: &Digest) -> Option<Arc<Code>> {
        let position = self.entries.iter().position(|(held, _)| held == digest)?;
        let entry = self.entries.remove(position)?;
        let code = entry.1.clone();
        self.entries.push_back(entry);
        Some(code)
    }

    fn put(&mut self, digest: Digest, code: Arc<Code>) {
        self.entries.retain(|(held, _)| *held != digest);
        self.entries.push_back((digest, code));
        while self.entries.len() > MAX_HELD
            || self.entries.len() > 1 && self.bytes() > self.max_bytes
        {
            self.entries.pop_front();
        }
    }

    fn bytes(&self) -> u64 {
        self.entries
            .iter()
            .map(|(_, code)| code.sealed.bytes())
            .sum()
    }
}

/// The refusals that are remembered, oldest first.
#[derive(Debug, Default)]
struct Refused(VecDeque<(Digest, Problem, Instant)>);

impl Refused {
    fn get(&self, digest: &Digest, now: Instant) -> Option<Problem> {
        let (_, problem, since) = self
            .0
            .iter()
            .rev()
            .find(|(refused, ..)| refused == digest)?;
        let is_final = problem.reason != Reason::CompileLimit;
        let is_recent = now.saturating_duration_since(*since) < TOO_EXPENSIVE_FOR;
        let holds = (is_final || is_recent) && is_on(Guard::RefusalsKept);
        holds.then(|| problem.clone())
    }

    fn put(&mut self, digest: Digest, problem: Problem, now: Instant) {
        self.0.push_back((digest, problem, now));
        if self.0.len() > MAX_REFUSED {
            self.0.pop_front();
        }
    }
}

fn module(digest: &Digest, code: &Code, compile_ms: u64) -> Module {
    Module {
        sha256: digest.to_string(),
        kind: code.kind,
        compiled_bytes: code.sealed.bytes(),
        compile_ms,
    }
}

/// Runs file work off the one thread.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, Problem> {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(internal(format!("the compiled-code cache failed: {error}"))),
        Err(error) => Err(internal(format!("the compiled-code cache failed: {error}"))),
    }
}

pub(super) fn internal(message: impl Into<String>) -> Problem {
    Problem {
        reason: Reason::Internal,
        message: message.into(),
    }
}

/// Nothing that holds these locks can panic half-way through a change.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guards::switch_off;

    fn refusal(reason: Reason) -> Problem {
        Problem {
            reason,
            message: "for a test".to_owned(),
        }
    }

    #[test]
    fn refusals_are_remembered_up_to_a_bound() {
        let now = Instant::now();
        let mut refused = Refused::default();
        for number in 0..=MAX_REFUSED {
            let digest = Digest::of(&number.to_le_bytes());
            refused.put(digest, refusal(Reason::InvalidModule), now);
        }
        assert_eq!(refused.0.len(), MAX_REFUSED);
        assert!(
            refused
                .get(&Digest::of(&0_usize.to_le_bytes()), now)
                .is_none()
        );
        assert!(
            refused
                .get(&Digest::of(&1_usize.to_le_bytes()), now)
                .is_some()
        );
    }

    #[test]
    fn e01_mutant_a_bad_module_would_be_compiled_at_every_start() {
        let now = Instant::now();
        let mut refused = Refused::default();
        refused.put(Digest::of(b"bad"), refusal(Reason::InvalidModule), now);
        let get = || refused.get(&Digest::of(b"bad"), now);
        assert!(get().is_some());
        assert!(switch_off(Guard::RefusalsKept, get).is_none());
    }

    #[test]
    fn a_module_that_was_too_expensive_may_be_tried_again_and_a_bad_one_never() {
        let now = Instant::now();
        let mut refused = Refused::default();
        refused.put(Digest::of(b"bad"), refusal(Reason::InvalidModule), now);
        refused.put(Digest::of(b"bomb"), refusal(Reason::CompileLimit), now);
        assert!(
            refused
                .get(&Digest::of(b"bomb"), now + TOO_EXPENSIVE_FOR / 2)
                .is_some()
        );
        assert!(
            refused
                .get(&Digest::of(b"bomb"), now + TOO_EXPENSIVE_FOR)
                .is_none()
        );
        assert!(
            refused
                .get(&Digest::of(b"bad"), now + TOO_EXPENSIVE_FOR)
                .is_some()
        );
    }
}
