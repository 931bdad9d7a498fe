//! Who leads: the decisions of an election by Lease. Pure.
//!
//! A candidate reads the Lease every [`Timings::retry`]. It takes it when nobody holds it, or
//! when it has not *changed* for as long as it says it lasts, by this process's own monotonic
//! clock. A leader renews it at the same pace and stops leading [`Timings::renew`] after the last
//! renewal that it *sent* and that succeeded: earlier than anybody else may take over.

pub mod lease;

use std::time::{Duration, Instant};

/// The three times of an election.
#[derive(Clone, Copy, Debug)]
pub struct Timings {
    /// How long a Lease lasts without renewal.
    pub lease: Duration,
    /// How long a leader leads without renewal.
    pub renew: Duration,
    /// Time between two attempts.
    pub retry: Duration,
}

impl Default for Timings {
    /// 15 s, 10 s, 2 s.
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(15),
            renew: Duration::from_secs(10),
            retry: Duration::from_secs(2),
        }
    }
}

/// A Lease as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Who holds it; empty after a release.
    pub holder: String,
    /// How long it lasts.
    pub duration: Duration,
    /// Changes with every write.
    pub version: String,
}

/// What to do about the Lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Write it for the first time.
    Create,
    /// Write our name over that of a holder who released it or let it run out.
    Take,
    /// Write our renewal.
    Renew,
    /// Leave it.
    Wait,
}

/// One candidate's view.
#[derive(Clone, Debug)]
pub struct Election {
    identity: String,
    timings: Timings,
    /// When the last successful renewal was sent; `Some` makes a leader.
    renewed_at: Option<Instant>,
    seen: Option<(Record, Instant)>,
}

impl Election {
    /// A candidate named `identity`, which no other process may share.
    pub const fn new(identity: String, timings: Timings) -> Self {
        Self {
            identity,
            timings,
            renewed_at: None,
            seen: None,
        }
    }

    /// The candidate's name.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// The three times.
    pub const fn timings(&self) -> Timings {
        self.timings
    }

    /// The Lease was read.
    pub fn read(&mut self, record: Option<Record>, now: Instant) -> Act {
        let Some(record) = record else {
            self.seen = None;
            return Act::Create;
        };
        let ours = record.holder == self.identity;
        if !ours {
            self.renewed_at = None;
        }
        let since = match &self.seen {
            Some((before, since)) if *before == record => *since,
            Some(_) | None => now,
        };
        let over =
            record.holder.is_empty() || now.saturating_duration_since(since) >= record.duration;
        self.seen = Some((record, since));
        match (ours, over) {
            (true, _) => Act::Renew,
            (false, true) => Act::Take,
            (false, false) => Act::Wait,
        }
    }

    /// The write that [`Election::read`] asked for succeeded; it was sent at `sent_at`.
    pub fn wrote(&mut self, sent_at: Instant) {
        self.renewed_at = Some(sent_at);
    }

    /// Until when this candidate leads if nothing succeeds any more; `None` where it doesn't lead.
    pub fn leads_until(&self) -> Option<Instant> {
        self.renewed_at
            .and_then(|at| at.checked_add(self.timings.renew))
    }

    /// Whether this candidate leads.
    pub fn leads(&self, now: Instant) -> bool {
        self.leads_until().is_some_and(|until| now < until)
    }

    /// This candidate leads no more, whatever the Lease says.
    pub fn step_down(&mut self) {
        self.renewed_at = None;
    }
}

#[cfg(test)]
mod tests;
