//! A line of JSON without its content: made once for all the lines of one write, since most of a
//! short line is envelope, and a write may have thousands.

use agentvm_cell_api::log::{Line, MAX_LINE_BYTES, Stream};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;

use super::line::Names;

/// The end of a line that has no content yet.
const NO_TEXT: &[u8] = br#""text":""}"#;

/// The end of one that goes on in the next.
const PARTIAL: &[u8] = br#","partial":true"#;

/// What stands before the content of each line, and how long that may be.
#[derive(Debug)]
pub(super) struct Envelope {
    head: Vec<u8>,
    room: usize,
}

impl Envelope {
    pub(super) fn new(names: &Names, stream: Stream, time: Timestamp) -> Self {
        let line = Line {
            time: format!("{time:.3}"),
            namespace: names.namespace.clone(),
            vm: names.vm.clone(),
            uid: names.uid.clone(),
            stream,
            text: Some(String::new()),
            base64: None,
            partial: false,
        };
        // Strings and booleans always encode.
        let mut head = serde_json::to_vec(&line).unwrap_or_default();
        let newline = 1;
        let taken = head.len() + PARTIAL.len() + newline;
        head.truncate(head.len().saturating_sub(NO_TEXT.len()));
        Self {
            head,
            room: MAX_LINE_BYTES.saturating_sub(taken),
        }
    }

    /// The start of `rest` that fits into one line, at least one byte or character of it, and
    /// that line; it is partial where that is asked, or where something is left.
    pub(super) fn fill(&self, rest: &[u8], partial: bool) -> (Vec<u8>, usize) {
        if let Ok(text) = std::str::from_utf8(rest) {
            let fits = fitting(text, self.room);
            let is_partial = partial || fits.len() < rest.len();
            let line = self.line(b"\"text\":", fits.len(), is_partial, |line| {
                push_json(line, fits);
            });
            return (line, fits.len());
        }
        // "base64" has two letters more than "text".
        let most = self.room.saturating_sub(2) / 4 * 3;
        let (fits, later) = rest.split_at(rest.len().min(most));
        let is_partial = partial || !later.is_empty();
        let line = self.line(b"\"base64\":", fits.len() * 2, is_partial, |line| {
            push_json(line, &BASE64_STANDARD.encode(fits));
        });
        (line, fits.len())
    }

    fn line(
        &self,
        key: &[u8],
        expected: usize,
        partial: bool,
        content: impl FnOnce(&mut Vec<u8>),
    ) -> Vec<u8> {
        let mut line = Vec::with_capacity(self.head.len() + expected + 40);
        line.extend_from_slice(&self.head);
        line.extend_from_slice(key);
        content(&mut line);
        if partial {
            line.extend_from_slice(PARTIAL);
        }
        line.extend_from_slice(b"}\n");
        line
    }
}

/// Appends `text` as a JSON string.
fn push_json(line: &mut Vec<u8>, text: &str) {
    let plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
    if text.bytes().all(plain) {
        line.push(b'"');
        line.extend_from_slice(text.as_bytes());
        line.push(b'"');
        return;
    }
    // A string always encodes.
    let _written = serde_json::to_writer(line, text);
}

/// The start of `text` that takes at most `room` bytes in JSON; at least one character.
fn fitting(text: &str, room: usize) -> &str {
    if text.len().saturating_mul(LONGEST_ESCAPE) <= room {
        return text;
    }
    let mut used = 0;
    for (position, character) in text.char_indices() {
        used += escaped_len(character);
        if used > room && position > 0 {
            return text.split_at(position).0;
        }
    }
    text
}

/// `\u001f` stands for one byte.
const LONGEST_ESCAPE: usize = 6;

fn escaped_len(character: char) -> usize {
    match character {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..='\u{1f}' => LONGEST_ESCAPE,
        _ => character.len_utf8(),
    }
}
