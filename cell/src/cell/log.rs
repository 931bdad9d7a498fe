//! A VM's output: limited in rate and in all, cut into lines, written by threads that guests never
//! wait for and that their VMs pay for.
//!
//! What is over a limit is counted and not looked at: dropping costs the same for one byte and for
//! 64 KiB of empty lines.

mod allowance;
mod bucket;
mod envelope;
mod file;
mod lane;
mod line;
mod tariff;
mod writer;

use std::cell::LazyCell;
use std::fs::File;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use agentvm_cell_api::log::Stream;
use agentvm_policy::Limits;
use agentvm_runtime::Output;

use allowance::Allowance;
use envelope::Envelope;
use file::BoundedFile;
use lane::Place;
pub(super) use line::Names;
use line::Splitter;
pub(super) use writer::Writer;
use writer::{Job, PARTIAL_AFTER, Printed, Queues};

/// Bytes of lines that one call of a guest makes: it can't be interrupted meanwhile.
const MAX_WRITE_BYTES: usize = agentvm_policy::budget::WRITE_LOG_BYTES.usize();

/// Bytes that a VM has written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// All of them.
    pub(super) bytes: u64,
    /// Those that were dropped: over the rate or the total, or with the writers too far behind.
    pub(super) dropped: u64,
    /// Those that count against the total.
    pub(super) taken: u64,
}

/// The log of one VM.
#[derive(Debug)]
pub(super) struct VmLog {
    names: Names,
    queues: Queues,
    state: Mutex<State>,
    file: Mutex<Option<BoundedFile>>,
    /// Its places before each of the threads.
    to_file: Arc<Place<Job>>,
    to_stdout: Arc<Place<Printed>>,
    /// Who pays for what is written.
    payer: OnceLock<Payer>,
}

#[derive(Debug)]
struct State {
    allowance: Allowance,
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

/// Takes what was used for somebody.
struct Payer(Box<dyn Fn(Duration) + Send + Sync>);

impl std::fmt::Debug for Payer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Payer")
    }
}

/// What came of text that was cut into lines.
#[derive(Clone, Copy, Debug, Default)]
struct Emitted {
    /// Bytes of the guest that found no room.
    dropped: u64,
    /// Bytes of its lines.
    bytes: usize,
    /// What writing them costs.
    price: Duration,
}

impl std::ops::AddAssign for Emitted {
    fn add_assign(&mut self, other: Self) {
        let Self {
            dropped,
            bytes,
            price,
        } = other;
        self.dropped += dropped;
        self.bytes += bytes;
        self.price += price;
    }
}

impl VmLog {
    fn new(names: Names, limits: &Limits, file: Option<File>, queues: Queues) -> Arc<Self> {
        let (rate, total) = (limits.log_rate_bytes_per_second, limits.log_total_bytes);
        Arc::new(Self {
            names,
            to_file: Arc::default(),
            to_stdout: Arc::default(),
            queues,
            state: Mutex::new(State {
                allowance: Allowance::new(rate, total, Instant::now()),
                counts: Counts::default(),
                stdout: Splitter::default(),
                stderr: Splitter::default(),
            }),
            file: Mutex::new(file.map(BoundedFile::new)),
            payer: OnceLock::new(),
        })
    }

    /// Has `charge` book what the writing of lines costs from now on.
    pub(super) fn charge_to(&self, charge: impl Fn(Duration) + Send + Sync + 'static) {
        let _the_first_one_pays = self.payer.set(Payer(Box::new(charge)));
    }

    /// Where the guest's `stream` goes.
    pub(super) fn output(self: &Arc<Self>, stream: Stream) -> Arc<dyn Output> {
        Arc::new(Tap {
            log: self.clone(),
            stream,
        })
    }

    /// Applies `limits` from now on; what was written before counts.
    pub(super) fn set_limits(&self, limits: &Limits) {
        let (rate, total) = (limits.log_rate_bytes_per_second, limits.log_total_bytes);
        self.state().allowance.set(rate, total, Instant::now());
    }

    /// Bytes so far.
    pub(super) fn counts(&self) -> Counts {
        let state = self.state();
        Counts {
            taken: state.allowance.taken(),
            ..state.counts
        }
    }

    /// Writes what is left: the guest has ended.
    pub(super) fn finish(self: &Arc<Self>) {
        self.flush(None);
    }

    /// Waits until what was written before is in the file.
    pub(super) async fn settle(&self, within: Duration) {
        let settled = async {
            while self.to_file.bytes() > 0 {
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
        let granted = state.allowance.take(bytes.len(), now);
        state.counts.bytes += wide(bytes.len());
        state.counts.dropped += wide(bytes.len() - granted);
        let Some(kept) = bytes.get(..granted).filter(|kept| !kept.is_empty()) else {
            return;
        };
        let envelope = LazyCell::new(|| self.envelope(stream));
        let mut emitted = Emitted::default();
        let left = state.splitter(stream).push(kept, now, |text, partial| {
            emitted += self.emit(&envelope, text, partial);
            if emitted.bytes >= MAX_WRITE_BYTES || self.queues.are_full(self) {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        emitted.dropped += wide(left);
        if state.splitter(stream).wants_flush()
            && !self.queues.flush_later(self, now + PARTIAL_AFTER)
        {
            state.splitter(stream).forget_flush();
        }
        self.book(state, emitted);
    }

    /// Writes unfinished lines: those that have waited long enough by `now`, or all of them.
    fn flush(self: &Arc<Self>, now: Option<Instant>) {
        let mut state = self.state();
        let mut emitted = Emitted::default();
        for stream in [Stream::Stdout, Stream::Stderr] {
            state.splitter(stream).flush(now, |text, partial| {
                emitted += self.emit(&self.envelope(stream), text, partial);
            });
        }
        self.book(state, emitted);
    }

    fn book(&self, mut state: MutexGuard<'_, State>, emitted: Emitted) {
        state.counts.dropped += emitted.dropped;
        drop(state);
        if let Some(payer) = self.payer.get()
            && !emitted.price.is_zero()
        {
            (payer.0)(emitted.price);
        }
    }

    fn envelope(&self, stream: Stream) -> Envelope {
        Envelope::new(&self.names, stream, jiff::Timestamp::now())
    }

    /// Queues one piece of text as lines, where there is room.
    fn emit(self: &Arc<Self>, envelope: &Envelope, text: &[u8], partial: bool) -> Emitted {
        let newline = u64::from(!partial);
        let mut emitted = Emitted::default();
        // Asked before the work of encoding, too, which would be for nothing.
        if self.queues.are_full(self) {
            emitted.dropped = wide(text.len()) + newline;
            return emitted;
        }
        let mut last_is_queued = false;
        line::encode(envelope, text, partial, |line, bytes| {
            last_is_queued = self.queue(line, &mut emitted);
            if !last_is_queued {
                emitted.dropped += wide(bytes);
            }
        });
        if !last_is_queued {
            emitted.dropped += newline;
        }
        emitted
    }

    /// Queues a line and adds what that costs; false where it will not be written as it should.
    fn queue(self: &Arc<Self>, line: Vec<u8>, emitted: &mut Emitted) -> bool {
        if self.queues.are_full(self) {
            return false;
        }
        let length = line.len();
        let queued = self.queues.line(self, line);
        // One that reaches a single thread is paid for like one that reaches both.
        emitted.bytes += length;
        emitted.price += tariff::price(length, queued.writers);
        queued.whole
    }

    /// Called by the file thread.
    fn append(&self, lines: &[u8]) {
        if let Some(file) = self.file().as_mut() {
            file.append(lines);
        }
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

#[cfg(test)]
mod tests;
