//! Whose module is compiled next: plain data that somebody else locks.
//!
//! First come, first served would let one namespace with a hundred slow modules keep all others
//! waiting. Here the namespace that has used compilers least of late is next, and none has all of
//! them where there are several.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::digest::Digest;
use crate::guards::{Guard, is_on};

/// The time after which what a namespace has used counts half.
const HALF_LIFE: Duration = agentvm_policy::budget::COMPILE_HALF_LIFE.duration();

/// Less than this is forgotten.
const NOTHING: Duration = Duration::from_millis(1);

/// How much may run and wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Compilers at once.
    pub(super) at_once: usize,
    /// Modules of one namespace that wait.
    pub(super) waiting: usize,
    /// Modules of all namespaces that wait.
    pub(super) total: usize,
    /// Bytes of the modules of one namespace that wait.
    pub(super) waiting_bytes: u64,
    /// Bytes of all modules that wait.
    pub(super) total_bytes: u64,
}

impl Bounds {
    /// Compilers at once for one namespace: one is left for the others.
    fn at_once_each(self) -> usize {
        if is_on(Guard::CompilerLeft) {
            self.at_once.saturating_sub(1).max(1)
        } else {
            self.at_once
        }
    }
}

/// One module's place in the queue. A smaller one came earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket(u64);

/// Why there is no place for a module, or no longer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Full {
    /// The namespace has too many that wait.
    #[error(
        "{namespace} has {most} modules that wait for a compiler, the most that may: try again when one is compiled"
    )]
    Modules {
        /// Whose they are.
        namespace: Name,
        /// The bound.
        most: usize,
    },
    /// The namespace has too much that waits.
    #[error("the modules of {namespace} that wait for a compiler would be more than {} MiB, the most that may wait: try again when one is compiled", most >> 20)]
    Bytes {
        /// Whose they are.
        namespace: Name,
        /// The bound.
        most: u64,
    },
    /// All namespaces together have too many.
    #[error(
        "{most} modules of all namespaces wait for a compiler, the most that may: try again when one is compiled"
    )]
    TotalModules {
        /// The bound.
        most: usize,
    },
    /// All namespaces together have too much.
    #[error("the modules of all namespaces that wait for a compiler would be more than {} MiB, the most that may wait: try again when one is compiled", most >> 20)]
    Total {
        /// The bound.
        most: u64,
    },
}

/// Whose module it is; those who do not say share one name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name(pub(super) Option<String>);

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Some(name) => write!(f, "namespace {name}"),
            None => write!(f, "whoever names no namespace"),
        }
    }
}

/// Every module that is read, waits or is compiled.
#[derive(Debug)]
pub(super) struct Queue {
    bounds: Bounds,
    places: BTreeMap<Ticket, Place>,
    used: BTreeMap<Name, Used>,
    next: u64,
}

#[derive(Debug)]
struct Place {
    namespace: Name,
    bytes: u64,
    stage: Stage,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    /// Its bytes arrive.
    Read,
    /// It waits for a compiler.
    Waits(Digest),
    /// It has one since then.
    Runs(Digest, Instant),
}

/// Time with a compiler, as it counted at some moment.
#[derive(Clone, Copy, Debug)]
struct Used {
    time: Duration,
    at: Instant,
}

impl Used {
    fn now(self, now: Instant) -> Duration {
        let half_lives =
            now.saturating_duration_since(self.at).as_secs_f64() / HALF_LIFE.as_secs_f64();
        self.time.mul_f64(0.5_f64.powf(half_lives))
    }
}

impl Queue {
    /// An empty queue.
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            places: BTreeMap::new(),
            used: BTreeMap::new(),
            next: 0,
        }
    }

    /// A place for a module of which no byte has arrived yet.
    pub(super) fn enter(&mut self, namespace: Name) -> Result<Ticket, Full> {
        let most = self.bounds.waiting;
        if self.waiting_of(&namespace).count() >= most && is_on(Guard::CompileQueueBound) {
            return Err(Full::Modules { namespace, most });
        }
        let most = self.bounds.total;
        if self.waiting().count() >= most {
            return Err(Full::TotalModules { most });
        }
        let ticket = Ticket(self.next);
        self.next += 1;
        let place = Place {
            namespace,
            bytes: 0,
            stage: Stage::Read,
        };
        self.places.insert(ticket, place);
        Ok(ticket)
    }

    /// Takes in more bytes of a module. A module that waits alone is never too large here.
    pub(super) fn grow(&mut self, ticket: Ticket, more: u64) -> Result<(), Full> {
        let Some(place) = self.places.get(&ticket) else {
            return Ok(());
        };
        let namespace = place.namespace.clone();
        let own = place.bytes.saturating_add(more);
        let others = |bytes: u64| bytes.saturating_sub(place.bytes);
        let of_namespace = others(self.waiting_of(&namespace).map(|place| place.bytes).sum());
        let of_all = others(self.waiting().map(|place| place.bytes).sum());
        let Bounds {
            waiting_bytes,
            total_bytes,
            ..
        } = self.bounds;
        if of_namespace > 0 && of_namespace.saturating_add(own) > waiting_bytes {
            let most = waiting_bytes;
            return Err(Full::Bytes { namespace, most });
        }
        if of_all > 0 && of_all.saturating_add(own) > total_bytes {
            return Err(Full::Total { most: total_bytes });
        }
        if let Some(place) = self.places.get_mut(&ticket) {
            place.bytes = own;
        }
        Ok(())
    }

    /// All bytes are there: it waits for a compiler from now on.
    pub(super) fn wait(&mut self, ticket: Ticket, digest: Digest) {
        if let Some(place) = self.places.get_mut(&ticket) {
            place.stage = Stage::Waits(digest);
        }
    }

    /// Gives the next module its compiler, where there is both.
    pub(super) fn start_next(&mut self, now: Instant) -> Option<Ticket> {
        let ticket = self.choose(now)?;
        let place = self.places.get_mut(&ticket)?;
        if let Stage::Waits(digest) = &place.stage {
            place.stage = Stage::Runs(digest.clone(), now);
        }
        Some(ticket)
    }

    /// A module goes, compiled or not.
    pub(super) fn leave(&mut self, ticket: Ticket, now: Instant) {
        let Some(place) = self.places.remove(&ticket) else {
            return;
        };
        if let Stage::Runs(_, since) = place.stage {
            let before = self.used.get(&place.namespace);
            let time = before.map_or(Duration::ZERO, |used| used.now(now))
                + now.saturating_duration_since(since);
            self.used.insert(place.namespace, Used { time, at: now });
        }
        self.used.retain(|_, used| used.now(now) >= NOTHING);
    }

    /// Modules that have a compiler.
    pub(super) fn running(&self) -> usize {
        self.runs().count()
    }

    /// Modules that have none yet.
    pub(super) fn waiting_total(&self) -> usize {
        self.waiting().count()
    }

    fn choose(&self, now: Instant) -> Option<Ticket> {
        if self.running() >= self.bounds.at_once {
            return None;
        }
        let may_start = |place: &Place| {
            // Two with the same bytes: the second finds the first one's code.
            let is_done_already =
                |digest: &Digest| self.runs().any(|(_, running, _)| running == digest);
            let own = self
                .runs()
                .filter(|(name, ..)| **name == place.namespace)
                .count();
            matches!(&place.stage, Stage::Waits(digest) if !is_done_already(digest))
                && own < self.bounds.at_once_each()
        };
        let open = self.places.iter().filter(|(_, place)| may_start(place));
        let first =
            open.min_by_key(|(ticket, place)| (self.used_by(&place.namespace, now), **ticket));
        first.map(|(ticket, _)| *ticket)
    }

    /// What a namespace has used of late, and uses now.
    fn used_by(&self, namespace: &Name, now: Instant) -> Duration {
        if !is_on(Guard::LeastCompiledFirst) {
            return Duration::ZERO;
        }
        let before = self.used.get(namespace);
        let runs = self.runs().filter(|(name, ..)| *name == namespace);
        let under_way: Duration = runs
            .map(|(.., since)| now.saturating_duration_since(since))
            .sum();
        before.map_or(Duration::ZERO, |used| used.now(now)) + under_way
    }

    fn runs(&self) -> impl Iterator<Item = (&Name, &Digest, Instant)> {
        self.places.values().filter_map(|place| match &place.stage {
            Stage::Runs(digest, since) => Some((&place.namespace, digest, *since)),
            Stage::Read | Stage::Waits(_) => None,
        })
    }

    fn waiting(&self) -> impl Iterator<Item = &Place> {
        self.places
            .values()
            .filter(|place| !matches!(place.stage, Stage::Runs(..)))
    }

    fn waiting_of(&self, namespace: &Name) -> impl Iterator<Item = &Place> {
        self.waiting()
            .filter(move |place| place.namespace == *namespace)
    }
}

#[cfg(test)]
mod tests;
