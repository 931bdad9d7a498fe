//! The access log: a line of JSON for each request, written by a thread of its own.
//!
//! Nothing waits for it: a line that finds no room is dropped and counted.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};

use agentvm_policy::budget;
use jiff::Timestamp;
use serde::Serialize;

use crate::ledger::Identity;
use crate::settings::AccessLogTo;

/// One request. It has no path, query, header or body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Line {
    /// When the request was over.
    pub(crate) time: Timestamp,
    #[serde(flatten)]
    pub(crate) identity: Identity,
    /// The position of the rule that allowed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rule: Option<usize>,
    /// What was asked, where it has a canonical form.
    #[serde(flatten)]
    pub(crate) asked: Option<Asked>,
    /// The upstream's status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<u16>,
    /// Why there was no answer, or no whole one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<&'static str>,
    pub(crate) sent_bytes: u64,
    pub(crate) received_bytes: u64,
    pub(crate) ms: u64,
}

/// What a request asked for: neither its path nor its query.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Asked {
    pub(crate) method: &'static str,
    pub(crate) scheme: &'static str,
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// Where lines go. The default is nowhere.
#[derive(Debug, Default)]
pub(crate) struct AccessLog {
    line_tx: Option<SyncSender<Line>>,
    dropped: Arc<AtomicU64>,
}

/// Opens what lines are written to; before the jail closes.
pub(crate) fn open(to: &AccessLogTo) -> io::Result<Option<Output>> {
    Ok(match to {
        AccessLogTo::Nowhere => None,
        AccessLogTo::Stdout => Some(Output::Stdout(io::stdout())),
        AccessLogTo::File(path) => {
            let mut options = OpenOptions::new();
            let file = options.append(true).create(true).mode(0o600).open(path)?;
            Some(Output::File(file))
        }
    })
}

/// What lines are written to.
#[derive(Debug)]
pub(crate) enum Output {
    Stdout(io::Stdout),
    File(File),
}

impl AccessLog {
    /// Writes lines to `output` from now on.
    pub(crate) fn start(output: Option<Output>) -> io::Result<Self> {
        let dropped = Arc::new(AtomicU64::new(0));
        let line_tx = match output {
            None => None,
            Some(Output::Stdout(stdout)) => Some(thread(stdout, dropped.clone())?),
            Some(Output::File(file)) => Some(thread(file, dropped.clone())?),
        };
        Ok(Self { line_tx, dropped })
    }

    /// Whether anybody writes lines.
    pub(crate) const fn is_on(&self) -> bool {
        self.line_tx.is_some()
    }

    /// Hands a line to the writer, where it has room.
    pub(crate) fn write(&self, line: Line) {
        let Some(line_tx) = &self.line_tx else { return };
        if line_tx.try_send(line).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Lines that found no room, or could not be written.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

fn thread(
    output: impl Write + Send + 'static,
    dropped: Arc<AtomicU64>,
) -> io::Result<SyncSender<Line>> {
    let (line_tx, line_rx) = sync_channel(budget::ACCESS_LOG_LINES.usize());
    std::thread::Builder::new()
        .name("access-log".into())
        .spawn(move || write_all(output, &line_rx, &dropped))?;
    Ok(line_tx)
}

/// Writes lines until nobody sends any more. Whoever reads the log sees a line at once where no
/// other waits behind it.
fn write_all(output: impl Write, line_rx: &Receiver<Line>, dropped: &AtomicU64) {
    let mut output = BufWriter::new(output);
    while let Ok(first) = line_rx.recv() {
        let mut next = Ok(first);
        while let Ok(line) = next {
            if write(&mut output, &line).is_err() {
                dropped.fetch_add(1, Ordering::Relaxed);
            }
            next = line_rx.try_recv();
        }
        let _full_disk = output.flush();
        if next == Err(TryRecvError::Disconnected) {
            return;
        }
    }
}

fn write(mut output: impl Write, line: &Line) -> io::Result<()> {
    serde_json::to_writer(&mut output, line)?;
    output.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};
    use std::time::{Duration, Instant};

    use super::*;

    fn line(ms: u64) -> Line {
        Line {
            time: "2026-01-02T03:04:05.006Z".parse().unwrap(),
            identity: Identity::new("heron", "crane", "u"),
            rule: Some(0),
            asked: Some(Asked {
                method: "GET",
                scheme: "https",
                host: "api.example.com".into(),
                port: 443,
            }),
            status: Some(200),
            code: None,
            sent_bytes: 0,
            received_bytes: 12,
            ms,
        }
    }

    /// Says what was written, and writes nothing while nobody lets it.
    struct Stuck {
        let_on: Receiver<()>,
        written: Sender<Vec<u8>>,
    }

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _closed = self.let_on.recv();
            let _gone = self.written.send(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_is_stuck_costs_lines_and_holds_nobody_up() {
        let (go, let_on) = channel();
        let (written, read) = channel();
        let dropped = Arc::new(AtomicU64::new(0));
        let line_tx = thread(Stuck { let_on, written }, dropped.clone()).unwrap();
        let log = AccessLog {
            line_tx: Some(line_tx),
            dropped,
        };
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut sent = 0;
        while log.dropped() == 0 {
            log.write(line(sent));
            sent += 1;
            assert!(Instant::now() < deadline, "nothing is ever dropped");
        }
        assert!(sent > budget::ACCESS_LOG_LINES.value, "{sent}");
        drop(go);
        drop(log);
        let bytes: Vec<u8> = read.iter().flatten().collect();
        let lines = bytes.split(|byte| *byte == b'\n').count() - 1;
        assert_eq!(u64::try_from(lines).unwrap(), sent - 1);
        let first = bytes.split(|byte| *byte == b'\n').next().unwrap();
        assert_eq!(
            String::from_utf8_lossy(first),
            r#"{"time":"2026-01-02T03:04:05.006Z","namespace":"heron","vm":"crane","uid":"u","rule":0,"method":"GET","scheme":"https","host":"api.example.com","port":443,"status":200,"sentBytes":0,"receivedBytes":12,"ms":0}"#
        );
    }

    #[test]
    fn a_log_that_is_off_drops_nothing() {
        let log = AccessLog::start(open(&AccessLogTo::Nowhere).unwrap()).unwrap();
        log.write(line(1));
        assert!(!log.is_on());
        assert_eq!(log.dropped(), 0);
    }
}
