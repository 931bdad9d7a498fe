//! One seed after another on every core, watched by a thread that knows for how long each runs.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use agentvm_policy::EndReason;

use crate::check::{Verdict, check};
use crate::module::Module;
use crate::numbers::bytes;
use crate::shape::Shape;

/// No module may hold its thread for longer: it would be for ever.
const HANGS_AFTER: Duration = Duration::from_mins(2);
/// How often is looked for one that does.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What to run.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The first seed.
    pub seed: u64,
    /// The most modules.
    pub count: u64,
    /// For how long modules are begun.
    pub time: Duration,
    /// Threads.
    pub jobs: usize,
}

/// What was seen.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Modules that were run.
    pub modules: u64,
    /// Those that another engine ran to the same end.
    pub compared: u64,
    /// What they were made for.
    pub shapes: BTreeMap<Shape, u64>,
    /// How they ended.
    pub ends: BTreeMap<EndReason, u64>,
    /// Those that were refused: mangled ones.
    pub refused: u64,
    /// The most time of a processor that one took, and the seed of that one.
    pub longest: (Duration, u64),
    /// The most nanoseconds that a unit of fuel took in one that used much, and its seed.
    pub dearest: (u64, u64),
    /// The most MiB that this process ever held: what modules leave behind adds up here.
    pub resident_mib: u64,
    /// How long all of it took.
    pub took: Duration,
}

/// A module that does what none may.
#[derive(Debug, thiserror::Error)]
#[error(
    "seed {seed}: {what}\nrun it alone: cargo run -p agentvm-fuzz-modules -- --seed {seed} \
     --count 1 --write module.wasm"
)]
pub struct SoakError {
    seed: u64,
    what: String,
}

/// Runs modules until there were enough of them or one does what it must not.
///
/// # Errors
///
/// The seed of that one, and what it did. A module that hangs is left behind on its thread.
pub fn soak(settings: Settings) -> Result<Tally, SoakError> {
    let run = std::sync::Arc::new(Run::new(settings));
    let started = Instant::now();
    for lane in 0..run.lanes.len() {
        let run = std::sync::Arc::clone(&run);
        std::thread::spawn(move || run.work(lane));
    }
    while run.running.load(Relaxed) > 0 {
        run.look_for_hangs(started)?;
        std::thread::sleep(LOOK_EVERY);
    }
    if let Some(error) = run.failed().take() {
        return Err(error);
    }
    let mut tally = run.tally().clone();
    tally.took = started.elapsed();
    tally.resident_mib = resident_mib();
    Ok(tally)
}

/// The most that this process ever held; 0 where the kernel does not tell.
fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = peak.and_then(|peak| peak.split_whitespace().next());
    kib.and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) / 1024
}

/// What the threads of one soak share.
struct Run {
    settings: Settings,
    started: Instant,
    next: AtomicU64,
    stop: AtomicBool,
    running: AtomicU64,
    lanes: Vec<Lane>,
    tally: Mutex<Tally>,
    failed: Mutex<Option<SoakError>>,
}

/// What one thread is at.
#[derive(Default)]
struct Lane {
    seed: AtomicU64,
    /// Milliseconds from the start to when it began; 0 where it is at nothing.
    since: AtomicU64,
}

impl Run {
    fn new(settings: Settings) -> Self {
        let jobs = settings.jobs.max(1);
        Self {
            settings,
            started: Instant::now(),
            next: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            running: AtomicU64::new(u64::try_from(jobs).unwrap_or(u64::MAX)),
            lanes: std::iter::repeat_with(Lane::default).take(jobs).collect(),
            tally: Mutex::default(),
            failed: Mutex::default(),
        }
    }

    fn work(&self, lane: usize) {
        while let (Some(seed), Some(lane)) = (self.next(), self.lanes.get(lane)) {
            lane.seed.store(seed, Relaxed);
            lane.since.store(self.now_ms().max(1), Relaxed);
            if let Err(what) = self.one(seed) {
                self.stop.store(true, Relaxed);
                self.failed().get_or_insert(SoakError { seed, what });
            }
            lane.since.store(0, Relaxed);
        }
        self.running.fetch_sub(1, Relaxed);
    }

    fn next(&self) -> Option<u64> {
        let over = self.stop.load(Relaxed) || self.started.elapsed() >= self.settings.time;
        let number = self.next.fetch_add(1, Relaxed);
        (!over && number < self.settings.count).then(|| self.settings.seed.wrapping_add(number))
    }

    fn one(&self, seed: u64) -> Result<(), String> {
        let checked = catch_unwind(AssertUnwindSafe(|| {
            Module::of(&bytes(seed)).map(|m| check(&m))
        }));
        match checked {
            Err(_) => Err("something panicked, see above".to_owned()),
            Ok(Some(Err(failure))) => Err(failure.to_string()),
            Ok(Some(Ok(verdict))) => {
                self.tally().add(seed, &verdict);
                Ok(())
            }
            Ok(None) => Ok(()),
        }
    }

    fn look_for_hangs(&self, started: Instant) -> Result<(), SoakError> {
        let now = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let most = u64::try_from(HANGS_AFTER.as_millis()).unwrap_or(u64::MAX);
        for lane in &self.lanes {
            let since = lane.since.load(Relaxed);
            if since > 0 && now.saturating_sub(since) > most {
                return Err(SoakError {
                    seed: lane.seed.load(Relaxed),
                    what: format!("it has not ended for {HANGS_AFTER:?}"),
                });
            }
        }
        Ok(())
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self) -> MutexGuard<'_, Option<SoakError>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tally {
    fn add(&mut self, seed: u64, verdict: &Verdict) {
        self.modules += 1;
        self.compared += u64::from(verdict.compared);
        *self.shapes.entry(verdict.shape).or_default() += 1;
        match verdict.reason {
            Some(reason) => *self.ends.entry(reason).or_default() += 1,
            None => self.refused += 1,
        }
        self.longest = self.longest.max((verdict.cpu, seed));
        self.dearest = self.dearest.max((verdict.price.unwrap_or(0), seed));
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ends = self.ends.iter();
        let ends: Vec<String> = ends
            .map(|(reason, count)| format!("{} {count}", reason.as_str()))
            .collect();
        write!(
            f,
            "{} modules in {:.0} s ({:?}), {} of them with the same end in another engine; refused {}, {}; at \
             most {:?} of a processor for one (seed {}), {} ns for a unit of fuel (seed {}), and {} \
             MiB for all",
            self.modules,
            self.took.as_secs_f64(),
            self.shapes,
            self.compared,
            self.refused,
            ends.join(", "),
            self.longest.0,
            self.longest.1,
            self.dearest.0,
            self.dearest.1,
            self.resident_mib
        )
    }
}
