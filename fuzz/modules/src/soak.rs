//! One seed after another on every core, watched by a thread that knows for how long each runs.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::check::{Verdict, check};
use crate::clock;
use crate::module::Module;
use crate::numbers::bytes;
use crate::tally::Tally;

/// No module may hold its thread for longer: it would be for ever.
const HANGS_AFTER: Duration = Duration::from_mins(2);
/// How often is looked for one that does.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often is told how far it got.
const TELL_EVERY: Duration = Duration::from_secs(30);

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
    /// Hears every half minute what was seen so far.
    pub progress: fn(&Tally),
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

/// What a seed's module did: none where it makes no module.
type Seen = Result<Option<Verdict>, String>;

/// Runs modules until there were enough of them or one does what it must not.
///
/// # Errors
///
/// The seed of that one, and what it did. A module that hangs is left behind on its thread.
pub fn soak(settings: Settings) -> Result<Tally, SoakError> {
    soak_by(settings, HANGS_AFTER, |seed| {
        let checked = Module::of(&bytes(seed)).map(|module| check(&module));
        checked.transpose().map_err(|failure| failure.to_string())
    })
}

fn soak_by(
    settings: Settings,
    hangs_after: Duration,
    one: impl Fn(u64) -> Seen + Send + Sync + 'static,
) -> Result<Tally, SoakError> {
    let run = Arc::new(Run::new(settings, hangs_after));
    let one = Arc::new(one);
    for lane in 0..run.lanes.len() {
        let (run, one) = (Arc::clone(&run), Arc::clone(&one));
        std::thread::spawn(move || run.work(lane, &*one));
    }
    let mut told = run.started;
    while run.running.load(Relaxed) > 0 {
        run.look_for_hangs()?;
        if told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            (settings.progress)(&run.seen());
        }
        std::thread::sleep(LOOK_EVERY);
    }
    match run.failed().take() {
        Some(error) => Err(error),
        None => Ok(run.seen()),
    }
}

/// What the threads of one soak share.
struct Run {
    settings: Settings,
    hangs_after: Duration,
    started: Instant,
    next: AtomicU64,
    stop: AtomicBool,
    running: AtomicU64,
    lanes: Vec<Lane>,
    tally: Mutex<Tally>,
    failed: Mutex<Option<SoakError>>,
}

/// What one thread is at: a seed, and what the clock was when it began.
type Lane = Mutex<Option<(u64, Duration)>>;

impl Run {
    fn new(settings: Settings, hangs_after: Duration) -> Self {
        let jobs = settings.jobs.max(1);
        Self {
            settings,
            hangs_after,
            started: Instant::now(),
            next: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            running: AtomicU64::new(u64::try_from(jobs).unwrap_or(u64::MAX)),
            lanes: std::iter::repeat_with(Lane::default).take(jobs).collect(),
            tally: Mutex::default(),
            failed: Mutex::default(),
        }
    }

    fn work(&self, lane: usize, one: &dyn Fn(u64) -> Seen) {
        while let (Some(seed), Some(lane)) = (self.next(), self.lanes.get(lane)) {
            *lock(lane) = Some((seed, clock::now()));
            let seen = catch_unwind(AssertUnwindSafe(|| one(seed)));
            match seen.unwrap_or_else(|_| Err("something panicked, see above".to_owned())) {
                Ok(Some(verdict)) => lock(&self.tally).add(seed, &verdict),
                Ok(None) => {}
                Err(what) => {
                    self.stop.store(true, Relaxed);
                    self.failed().get_or_insert(SoakError { seed, what });
                }
            }
            *lock(lane) = None;
        }
        self.running.fetch_sub(1, Relaxed);
    }

    fn next(&self) -> Option<u64> {
        let over = self.stop.load(Relaxed) || self.started.elapsed() >= self.settings.time;
        let number = self.next.fetch_add(1, Relaxed);
        (!over && number < self.settings.count).then(|| self.settings.seed.wrapping_add(number))
    }

    fn look_for_hangs(&self) -> Result<(), SoakError> {
        let now = clock::now();
        for lane in &self.lanes {
            if let Some((seed, began)) = *lock(lane)
                && now.saturating_sub(began) > self.hangs_after
            {
                let what = format!("it has not ended for {:?}", self.hangs_after);
                return Err(SoakError { seed, what });
            }
        }
        Ok(())
    }

    fn seen(&self) -> Tally {
        lock(&self.tally).clone().after(self.started.elapsed())
    }

    fn failed(&self) -> MutexGuard<'_, Option<SoakError>> {
        lock(&self.failed)
    }
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn few() -> Settings {
        Settings {
            seed: 10,
            count: 8,
            time: Duration::MAX,
            jobs: 1,
            progress: |_| (),
        }
    }

    fn found(one: fn(u64) -> Seen) -> String {
        let error = soak_by(few(), Duration::from_millis(200), one);
        error.unwrap_err().to_string()
    }

    #[test]
    fn a_seed_that_panics_is_named() {
        let error = found(|seed| {
            assert_ne!(seed, 13, "this is the test's own");
            Ok(None)
        });
        assert!(error.starts_with("seed 13: something panicked"), "{error}");
        assert!(error.contains("-- --seed 13 --count 1"), "{error}");
    }

    #[test]
    fn a_seed_that_hangs_is_named() {
        let error = found(|seed| {
            if seed == 14 {
                loop {
                    std::thread::park();
                }
            }
            Ok(None)
        });
        assert!(
            error.starts_with("seed 14: it has not ended for"),
            "{error}"
        );
    }

    #[test]
    fn a_seed_that_fails_is_named_and_ends_the_run() {
        let error = found(|seed| {
            if seed >= 12 {
                return Err("it differs".to_owned());
            }
            Ok(None)
        });
        assert!(error.starts_with("seed 12: it differs"), "{error}");
    }
}
