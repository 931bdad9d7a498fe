//! The two threads that write lines: one to stdout, one to the VMs' files.
//!
//! Their queues are bounded. Where one is full, lines are dropped and counted: a stdout that
//! nobody reads stops no guest, and keeps no line from the files.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use agentvm_policy::Limits;

use super::{Names, VmLog};

/// How long a line may stay unfinished before it is written as it is.
pub(super) const PARTIAL_AFTER: Duration = agentvm_policy::budget::PARTIAL_LINE_AFTER.duration();

/// Lines that may wait in each queue.
const MAX_QUEUED: usize = agentvm_policy::budget::QUEUED_LINES.usize();

/// What the file thread gets.
#[derive(Debug)]
pub(super) enum Job {
    Line(Arc<VmLog>, Arc<[u8]>),
    Flush(Arc<VmLog>, Instant),
}

/// The ways to both threads.
#[derive(Clone, Debug)]
pub(super) struct Queues {
    pub(super) file_tx: SyncSender<Job>,
    pub(super) stdout_tx: SyncSender<Arc<[u8]>>,
    /// Lines that are queued and not written, over both queues.
    pub(super) pending: Arc<AtomicUsize>,
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
    /// Queues a line for both threads, where they have room.
    pub(super) fn line(&self, log: &Arc<VmLog>, line: Vec<u8>) -> Queued {
        let line: Arc<[u8]> = line.into();
        // Counted before they are sent: a thread may have written one before this goes on.
        let before = self.pending.fetch_add(2, Ordering::AcqRel);
        log.waiting.fetch_add(1, Ordering::Relaxed);
        let to_file = self
            .file_tx
            .try_send(Job::Line(log.clone(), line.clone()))
            .is_ok();
        if !to_file {
            log.waiting.fetch_sub(1, Ordering::Relaxed);
        }
        let to_stdout = self.stdout_tx.try_send(line).is_ok();
        let lost = usize::from(!to_file) + usize::from(!to_stdout);
        self.pending.fetch_sub(lost, Ordering::AcqRel);
        Queued {
            whole: to_file && to_stdout,
            writers: if before == 0 {
                Writers::Asleep
            } else {
                Writers::Busy
            },
        }
    }

    /// Has unfinished lines of `log` flushed at `at`. False where that can't be arranged.
    pub(super) fn flush_later(&self, log: &Arc<VmLog>, at: Instant) -> bool {
        self.file_tx.try_send(Job::Flush(log.clone(), at)).is_ok()
    }
}

/// Owns both threads; they end with the process.
#[derive(Debug)]
pub(in crate::cell) struct Writer {
    queues: Queues,
}

impl Writer {
    /// Starts both threads.
    pub(in crate::cell) fn start() -> io::Result<Self> {
        let (file_tx, file_rx) = sync_channel(MAX_QUEUED);
        let (stdout_tx, stdout_rx) = sync_channel(MAX_QUEUED);
        let pending = Arc::new(AtomicUsize::new(0));
        let (of_file, of_stdout) = (pending.clone(), pending.clone());
        let thread = |name: &str| std::thread::Builder::new().name(name.to_owned());
        thread("log-file").spawn(move || write_files(&file_rx, &of_file))?;
        thread("log-stdout").spawn(move || write_stdout(&stdout_rx, &of_stdout, io::stdout()))?;
        Ok(Self {
            queues: Queues {
                file_tx,
                stdout_tx,
                pending,
            },
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
            while self.queues.pending.load(Ordering::Acquire) > 0 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let _those_left_are_lost = tokio::time::timeout(within, written).await;
    }
}

pub(super) fn write_files(file_rx: &Receiver<Job>, pending: &AtomicUsize) {
    // Every flush is due as long after its asking, so they stand in order.
    let mut flushes: VecDeque<(Instant, Arc<VmLog>)> = VecDeque::new();
    loop {
        let job = match flushes.front() {
            None => file_rx
                .recv()
                .map_err(|_closed| RecvTimeoutError::Disconnected),
            Some((at, _)) => file_rx.recv_timeout(at.saturating_duration_since(Instant::now())),
        };
        match job {
            Ok(Job::Line(log, line)) => {
                log.append(&line);
                pending.fetch_sub(1, Ordering::AcqRel);
            }
            Ok(Job::Flush(log, at)) => flushes.push_back((at, log)),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let now = Instant::now();
        while flushes.front().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, log)) = flushes.pop_front() {
                log.flush(Some(now));
            }
        }
    }
}

pub(super) fn write_stdout(
    stdout_rx: &Receiver<Arc<[u8]>>,
    pending: &AtomicUsize,
    mut stdout: impl Write,
) {
    for line in stdout_rx {
        // A reader that is gone is no reason to stop guests. Each line is one write, so that
        // lines of several cells on one pipe do not mix.
        let _reader_is_gone = stdout.write_all(&line).and_then(|()| stdout.flush());
        pending.fetch_sub(1, Ordering::AcqRel);
    }
}
