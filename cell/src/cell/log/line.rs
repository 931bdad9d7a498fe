//! From bytes that a guest writes to lines of JSON of a bounded length.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use super::envelope::Envelope;
use super::writer::PARTIAL_AFTER;

/// Text that waits for its newline; more is written without it.
const MAX_UNFINISHED_BYTES: usize = agentvm_policy::budget::UNFINISHED_LINE_BYTES.usize();

/// Whose lines they are.
#[derive(Clone, Debug)]
pub(in crate::cell) struct Names {
    /// The namespace.
    pub(in crate::cell) namespace: String,
    /// The object's name.
    pub(in crate::cell) vm: String,
    /// The object's UID.
    pub(in crate::cell) uid: String,
}

/// Cuts one stream into lines.
#[derive(Debug, Default)]
pub(super) struct Splitter {
    unfinished: Vec<u8>,
    /// Since when something is unfinished, and whether somebody will come to flush it.
    since: Option<Instant>,
    flush_is_due: bool,
}

impl Splitter {
    /// Takes bytes in; `emit` gets every line, with true where it goes on, until it breaks off:
    /// the bytes after that line are not looked at. Returns how many they are.
    pub(super) fn push(
        &mut self,
        bytes: &[u8],
        now: Instant,
        mut emit: impl FnMut(&[u8], bool) -> ControlFlow<()>,
    ) -> usize {
        let mut left = bytes.len();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            left -= piece.len();
            if let Some(end) = piece.strip_suffix(b"\n") {
                self.extend(end, &mut emit);
                self.since = None;
                if emit(&std::mem::take(&mut self.unfinished), false).is_break() {
                    break;
                }
            } else {
                self.extend(piece, &mut emit);
                if !self.unfinished.is_empty() {
                    self.since.get_or_insert(now);
                }
            }
        }
        left
    }

    /// True once where a flush must be arranged.
    pub(super) fn wants_flush(&mut self) -> bool {
        self.since.is_some() && !std::mem::replace(&mut self.flush_is_due, self.since.is_some())
    }

    /// The flush could not be arranged: the next write tries again.
    pub(super) fn forget_flush(&mut self) {
        self.flush_is_due = false;
    }

    /// Emits an unfinished line that has waited long enough by `now`, or any with `None`.
    pub(super) fn flush(&mut self, now: Option<Instant>, mut emit: impl FnMut(&[u8], bool)) {
        self.flush_is_due = false;
        let Some(since) = self.since else { return };
        // Timers are late, never early by more than a tick.
        let tick = Duration::from_millis(1);
        if now.is_some_and(|now| now + tick < since + PARTIAL_AFTER) {
            return;
        }
        self.since = None;
        let unfinished = std::mem::take(&mut self.unfinished);
        let (whole, tail) = match now {
            Some(_) => split_inside_char(&unfinished),
            None => (unfinished.as_slice(), &[][..]),
        };
        if whole.is_empty() {
            emit(&unfinished, true);
            return;
        }
        emit(whole, true);
        self.unfinished.extend_from_slice(tail);
        self.since = (!tail.is_empty()).then(|| now.unwrap_or(since));
    }

    fn extend(&mut self, mut bytes: &[u8], emit: &mut impl FnMut(&[u8], bool) -> ControlFlow<()>) {
        while self.unfinished.len() + bytes.len() > MAX_UNFINISHED_BYTES {
            let room = MAX_UNFINISHED_BYTES - self.unfinished.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.unfinished.extend_from_slice(now);
            bytes = later;
            let full = std::mem::take(&mut self.unfinished);
            let (whole, tail) = split_inside_char(&full);
            // A line without an end has few parts in one write: they are not worth to break off.
            let _at_the_next_line = emit(whole, true);
            self.unfinished.extend_from_slice(tail);
        }
        self.unfinished.extend_from_slice(bytes);
    }
}

/// Separates a character that is cut off at the end, where the rest is UTF-8.
fn split_inside_char(bytes: &[u8]) -> (&[u8], &[u8]) {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => bytes.split_at(error.valid_up_to()),
        Ok(_) | Err(_) => (bytes, &[]),
    }
}

/// Writes `bytes` as one or more lines of JSON, each within
/// [`MAX_LINE_BYTES`](agentvm_cell_api::log::MAX_LINE_BYTES) with its newline; `emit` gets each
/// with the number of guest bytes in it.
pub(super) fn encode(
    envelope: &Envelope,
    bytes: &[u8],
    partial: bool,
    mut emit: impl FnMut(Vec<u8>, usize),
) {
    let mut rest = bytes;
    loop {
        let (line, length) = envelope.fill(rest, partial);
        emit(line, length);
        let (_, later) = rest.split_at(length);
        rest = later;
        if rest.is_empty() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use agentvm_cell_api::log::{Line, MAX_LINE_BYTES, Stream};
    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD;
    use jiff::Timestamp;

    use super::*;

    fn names() -> Names {
        Names {
            namespace: "n".repeat(63),
            vm: "v".repeat(253),
            uid: "u".repeat(64),
        }
    }

    fn lines(bytes: &[u8], partial: bool) -> Vec<Line> {
        let mut lines = Vec::new();
        let envelope = Envelope::new(&names(), Stream::Stderr, Timestamp::UNIX_EPOCH);
        encode(&envelope, bytes, partial, |json, _| {
            assert!(json.len() <= MAX_LINE_BYTES, "{}", json.len());
            let line: Line = serde_json::from_slice(&json).unwrap();
            let mut as_serde_writes_it = serde_json::to_vec(&line).unwrap();
            as_serde_writes_it.push(b'\n');
            assert_eq!(json, as_serde_writes_it);
            lines.push(line);
        });
        lines
    }

    fn text(lines: &[Line]) -> String {
        lines
            .iter()
            .map(|line| line.text.clone().unwrap())
            .collect()
    }

    #[test]
    fn a_line_is_what_the_guest_wrote_whatever_it_holds() {
        for written in [
            "",
            "plain",
            "tab\t\"quoted\" \\ \u{1b}[31m\0\r",
            "größe 🦀 \u{202e}",
        ] {
            let lines = lines(written.as_bytes(), false);
            assert_eq!(text(&lines), written);
            assert_eq!(lines.len(), 1);
            assert!(!lines[0].partial);
            assert_eq!(lines[0].time, "1970-01-01T00:00:00.000Z");
        }
    }

    #[test]
    fn a_long_line_is_cut_into_parts_that_each_fit() {
        for character in ["a", "\0", "\"", "🦀"] {
            let written = character.repeat(5000);
            let lines = lines(written.as_bytes(), false);
            assert_eq!(text(&lines), written);
            let (last, before) = lines.split_last().unwrap();
            assert!(!last.partial && before.iter().all(|line| line.partial));
        }
    }

    #[test]
    fn bytes_that_are_not_utf8_come_as_base64() {
        let written = b"\xff\xfe".repeat(4000);
        let lines = lines(&written, true);
        assert!(lines.iter().all(|line| line.partial && line.text.is_none()));
        let decoded: Vec<u8> = lines
            .iter()
            .flat_map(|line| {
                BASE64_STANDARD
                    .decode(line.base64.as_ref().unwrap())
                    .unwrap()
            })
            .collect();
        assert_eq!(decoded, written);
    }

    fn split(chunks: &[&[u8]]) -> (Splitter, Vec<(Vec<u8>, bool)>) {
        let (mut splitter, mut lines) = (Splitter::default(), Vec::new());
        for chunk in chunks {
            splitter.push(chunk, Instant::now(), |text, partial| {
                lines.push((text.to_vec(), partial));
                ControlFlow::Continue(())
            });
        }
        (splitter, lines)
    }

    #[test]
    fn chunks_are_put_together_to_lines() {
        let (splitter, lines) = split(&[b"one\ntw", b"o\n", b"\n", b"thr"]);
        let expected = [(&b"one"[..], false), (b"two", false), (b"", false)];
        assert_eq!(
            lines,
            expected.map(|(text, partial)| (text.to_vec(), partial))
        );
        assert_eq!(splitter.unfinished, b"thr");
    }

    #[test]
    fn what_comes_after_the_line_that_breaks_off_is_not_looked_at() {
        let (mut splitter, mut lines) = (Splitter::default(), 0);
        let left = splitter.push(b"one\ntwo\nthree\nfo", Instant::now(), |_, _| {
            lines += 1;
            if lines == 2 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        assert_eq!((lines, left), (2, 8));
        assert!(splitter.unfinished.is_empty() && !splitter.wants_flush());
    }

    #[test]
    fn a_line_without_end_is_written_in_parts_that_never_cut_a_character() {
        let written = "🦀".repeat(4000);
        let (mut splitter, mut lines) = split(&[written.as_bytes()]);
        assert!(splitter.unfinished.len() <= MAX_UNFINISHED_BYTES);
        splitter.flush(None, |text, partial| lines.push((text.to_vec(), partial)));
        assert!(lines.iter().all(|(_, partial)| *partial));
        let parts = lines
            .iter()
            .map(|(text, _)| std::str::from_utf8(text).unwrap());
        assert_eq!(parts.collect::<String>(), written);
    }

    #[test]
    fn an_unfinished_line_is_flushed_when_it_has_waited_and_not_before() {
        let start = Instant::now();
        let mut splitter = Splitter::default();
        let mut lines = Vec::new();
        splitter.push(b"prompt> ", start, |_, _| panic!("it is not finished"));
        assert!(splitter.wants_flush());
        assert!(!splitter.wants_flush(), "one is arranged already");
        splitter.flush(Some(start + PARTIAL_AFTER / 2), |_, _| {
            panic!("it is too early")
        });
        assert!(splitter.wants_flush(), "the early one is used up");
        splitter.flush(Some(start + PARTIAL_AFTER), |text, partial| {
            lines.push((text.to_vec(), partial));
        });
        assert_eq!(lines, [(b"prompt> ".to_vec(), true)]);
        assert!(!splitter.wants_flush());
    }
}
