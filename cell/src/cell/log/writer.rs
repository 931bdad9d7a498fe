//! The two threads that write lines: one to stdout, one to the VMs' files.
//!
//! Their queues are bounded. Where one has no room, lines are dropped and counted: a stdout that
//! nobody reads stops no guest, and keeps no line from the files.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use agentvm_policy::Limits;

use super::lane::{Came, End, Lane, lane};
use super::{Names, VmLog};
use crate::cell::schedule::GUEST_NICENESS;

/// How long a line may stay unfinished before it is written as it is.
pub(super) const PARTIAL_AFTER: Duration = agentvm_policy::budget::PARTIAL_LINE_AFTER.duration();

/// What the file thread gets.
#[derive(Debug)]
pub(super) enum Job {
    Line(Arc<VmLog>, Arc<[u8]>),
    Flush(Arc<VmLog>, Instant),
}

/// What the stdout thread gets.
pub(super) type Printed = (Arc<VmLog>, Arc<[u8]>);

/// The ways to both threads.
#[derive(Clone, Debug)]
pub(super) struct Queues {
    pub(super) file: Lane<Job>,
    pub(super) stdout: Lane<Printed>,
}

/// What the threads did when a line came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writers {
    /// They were writing others.
    Busy,
    /// They had to be woken for it.
    Asleep,
}

/// What came of a line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Queued {
    /// Whether both threads will write it.
    pub(super) whole: bool,
    pub(super) writers: Writers,
}

impl Queues {
    /// Whether neither thread has room for a line of `log`.
    pub(super) fn are_full(&self, log: &VmLog) -> bool {
        !self.file.has_room(&log.to_file) && !self.stdout.has_room(&log.to_stdout)
    }

    /// Queues a line for both threads, where they have room.
    pub(super) fn line(&self, log: &Arc<VmLog>, line: Vec<u8>) -> Queued {
        let line: Arc<[u8]> = line.into();
        let writers = match self.pending() {
            0 => Writers::Asleep,
            _ => Writers::Busy,
        };
        let bytes = line.len();
        let job = Job::Line(log.clone(), line.clone());
        let to_file = self.file.line(&log.to_file, bytes, job);
        let to_stdout = self.stdout.line(&log.to_stdout, bytes, (log.clone(), line));
        Queued {
            whole: to_file && to_stdout,
            writers,
        }
    }

    /// Has unfinished lines of `log` flushed at `at`. False where that can't be arranged.
    pub(super) fn flush_later(&self, log: &Arc<VmLog>, at: Instant) -> bool {
        self.file.note(Job::Flush(log.clone(), at))
    }

    /// Bytes that are queued and not written, over both queues.
    pub(super) fn pending(&self) -> usize {
        self.file.waiting() + self.stdout.waiting()
    }
}

/// Owns both threads; they end with the process.
#[derive(Debug)]
pub(in crate::cell) struct Writer {
    queues: Queues,
}

/// What a thread writes is work for guests: it must not go before the guests of other cells.
fn be_as_nice_as_guests() {
    // Without it a flood is only less polite.
    let _nice = rustix::process::setpriority_process(None, GUEST_NICENESS);
}

impl Writer {
    /// Starts both threads.
    pub(in crate::cell) fn start() -> io::Result<Self> {
        let (file, file_end) = lane();
        let (stdout, stdout_end) = lane();
        let thread = |name: &str| std::thread::Builder::new().name(name.to_owned());
        thread("log-file").spawn(move || {
            be_as_nice_as_guests();
            write_files(&file_end);
        })?;
        thread("log-stdout").spawn(move || {
            be_as_nice_as_guests();
            write_stdout(&stdout_end, io::stdout());
        })?;
        Ok(Self {
            queues: Queues { file, stdout },
        })
    }

    /// Opens the log of one VM.
    pub(in crate::cell) fn open(
        &self,
        names: Names,
        limits: &Limits,
        file: Option<File>,
    ) -> Arc<VmLog> {
        VmLog::new(names, limits, file, self.queues.clone())
    }

    /// Waits until everything queued is written, at most `within`.
    pub(in crate::cell) async fn drain(&self, within: Duration) {
        let written = async {
            while self.queues.pending() > 0 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let _those_left_are_lost = tokio::time::timeout(within, written).await;
    }
}

pub(super) fn write_files(end: &End<Job>) {
    // Every flush is due as long after its asking, so they stand in order.
    let mut flushes: VecDeque<(Instant, Arc<VmLog>)> = VecDeque::new();
    let (mut jobs, mut text) = (Vec::new(), Vec::new());
    loop {
        let due = flushes.front().map(|(at, _)| *at);
        if end.take(due, &mut jobs) == Came::Closed {
            return;
        }
        let mut written: Option<Arc<VmLog>> = None;
        for job in jobs.drain(..) {
            match job {
                Job::Line(log, line) => {
                    text.extend_from_slice(&line);
                    written = Some(log);
                }
                Job::Flush(log, at) => flushes.push_back((at, log)),
            }
        }
        if let Some(log) = written {
            log.append(&text);
            end.done(&log.to_file, text.len());
            text.clear();
        }
        let now = Instant::now();
        while flushes.front().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, log)) = flushes.pop_front() {
                log.flush(Some(now));
            }
        }
    }
}

pub(super) fn write_stdout(end: &End<Printed>, mut stdout: impl Write) {
    let (mut lines, mut text) = (Vec::new(), Vec::new());
    while end.take(None, &mut lines) != Came::Closed {
        let mut written: Option<Arc<VmLog>> = None;
        for (log, line) in lines.drain(..) {
            text.extend_from_slice(&line);
            written = Some(log);
        }
        // A reader that is gone is no reason to stop guests. Each turn is one write, so that
        // lines of several cells on one pipe do not mix.
        let _reader_is_gone = stdout.write_all(&text).and_then(|()| stdout.flush());
        if let Some(log) = written {
            end.done(&log.to_stdout, text.len());
        }
        text.clear();
    }
}
