//! What was seen of many modules, and how it is told.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use agentvm_policy::EndReason;

use crate::check::Verdict;
use crate::shape::Shape;

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

impl Tally {
    pub(crate) fn add(&mut self, seed: u64, verdict: &Verdict) {
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

    /// The same with how long it took, and the memory that this process ever held.
    pub(crate) fn after(mut self, took: Duration) -> Self {
        self.took = took;
        self.resident_mib = resident_mib();
        self
    }
}

/// The most that this process ever held; 0 where the kernel does not tell.
fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = peak.and_then(|peak| peak.split_whitespace().next());
    kib.and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) / 1024
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
