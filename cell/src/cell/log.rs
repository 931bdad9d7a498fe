//! A VM's output: cut into lines, limited in rate, written by threads that guests never wait for.

mod bucket;
mod file;
mod line;
mod writer;

use std::fs::File;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use agentvm_cell_api::log::Stream;
use agentvm_runtime::Output;

use bucket::Bucket;
use file::BoundedFile;
pub(super) use line::Names;
use line::Splitter;
pub(super) use writer::Writer;
use writer::{PARTIAL_AFTER, Queues};

/// Lines of one VM that may wait to be written; more would be at its neighbours' expense.
const MAX_WAITING_LINES: usize = agentvm_policy::budget::WAITING_LINES.usize();

/// Bytes that a VM has written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// All of them.
    pub(super) bytes: u64,
    /// Those that were dropped: over the rate, or with the writers too far behind.
    pub(super) dropped: u64,
}

/// The log of one VM.
#[derive(Debug)]
pub(super) struct VmLog {
    names: Names,
    queues: Queues,
    state: Mutex<State>,
    file: Mutex<Option<BoundedFile>>,
    waiting: AtomicUsize,
}

#[derive(Debug)]
struct State {
    bucket: Bucket,
    counts: Counts,
    stdout: Splitter,
    stderr: Splitter,
}

impl State {
    fn splitter(&mut self, stream: Stream) -> &mut Splitter {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }
}

impl VmLog {
    fn new(names: Names, rate: u64, file: Option<File>, queues: Queues) -> Arc<Self> {
        Arc::new(Self {
            names,
            queues,
            state: Mutex::new(State {
                bucket: Bucket::full(rate, Instant::now()),
                counts: Counts::default(),
                stdout: Splitter::default(),
                stderr: Splitter::default(),
            }),
            file: Mutex::new(file.map(BoundedFile::new)),
            waiting: AtomicUsize::new(0),
        })
    }

    /// Where the guest's `stream` goes.
    pub(super) fn output(self: &Arc<Self>, stream: Stream) -> Arc<dyn Output> {
        Arc::new(Tap {
            log: self.clone(),
            stream,
        })
    }

    /// Bytes per second from now on.
    pub(super) fn set_rate(&self, bytes_per_second: u64) {
        self.state()
            .bucket
            .set_rate(bytes_per_second, Instant::now());
    }

    /// Bytes so far.
    pub(super) fn counts(&self) -> Counts {
        self.state().counts
    }

    /// Writes what is left: the guest has ended.
    pub(super) fn finish(self: &Arc<Self>) {
        self.flush(None);
    }

    /// Waits until what was written before is in the file.
    pub(super) async fn settle(&self, within: Duration) {
        let settled = async {
            while self.waiting.load(Ordering::Acquire) > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let _the_writer_is_far_behind = tokio::time::timeout(within, settled).await;
    }

    /// The bounded file's lines. Blocks.
    pub(super) fn read_file(&self) -> std::io::Result<Vec<u8>> {
        self.file()
            .as_ref()
            .map_or_else(|| Ok(Vec::new()), BoundedFile::read)
    }

    fn write(self: &Arc<Self>, stream: Stream, bytes: &[u8], now: Instant) {
        let mut state = self.state();
        let granted = state.bucket.take(bytes.len(), now);
        state.counts.bytes += wide(bytes.len());
        state.counts.dropped += wide(bytes.len() - granted);
        let Some(kept) = bytes.get(..granted).filter(|kept| !kept.is_empty()) else {
            return;
        };
        let mut dropped = 0;
        state.splitter(stream).push(kept, now, |text, partial| {
            dropped += self.emit(stream, text, partial);
        });
        state.counts.dropped += dropped;
        if state.splitter(stream).wants_flush()
            && !self.queues.flush_later(self, now + PARTIAL_AFTER)
        {
            state.splitter(stream).forget_flush();
        }
    }

    /// Writes unfinished lines: those that have waited long enough by `now`, or all of them.
    fn flush(self: &Arc<Self>, now: Option<Instant>) {
        let mut state = self.state();
        for stream in [Stream::Stdout, Stream::Stderr] {
            let mut dropped = 0;
            state.splitter(stream).flush(now, |text, partial| {
                dropped += self.emit(stream, text, partial);
            });
            state.counts.dropped += dropped;
        }
    }

    /// Queues one piece of text as lines; returns how many of its bytes were dropped.
    fn emit(self: &Arc<Self>, stream: Stream, text: &[u8], partial: bool) -> u64 {
        let time = jiff::Timestamp::now();
        let mut dropped = 0;
        line::encode(&self.names, stream, text, partial, time, |line, bytes| {
            let full = self.waiting.load(Ordering::Relaxed) >= MAX_WAITING_LINES;
            if full || !self.queues.line(self, line) {
                dropped += wide(bytes);
            }
        });
        dropped
    }

    /// Called by the file thread.
    fn append(&self, line: &[u8]) {
        if let Some(file) = self.file().as_mut() {
            file.append(line);
        }
        self.waiting.fetch_sub(1, Ordering::Release);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self) -> MutexGuard<'_, Option<BoundedFile>> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One stream of one VM, as the runtime sees it.
#[derive(Debug)]
struct Tap {
    log: Arc<VmLog>,
    stream: Stream,
}

impl Output for Tap {
    fn write(&self, bytes: &[u8]) {
        self.log.write(self.stream, bytes, Instant::now());
    }
}

fn wide(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
