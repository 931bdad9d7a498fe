//! Guest output: from the cells' log lines back to the very bytes that the guests wrote.

use std::collections::BTreeSet;

use agentvm_cell_api::log::{Line, Stream};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::print;

/// Where the lines of all VMs go.
#[derive(Debug)]
pub(super) struct Streams {
    /// With several VMs, each line starts with the name of its VM.
    prefixed: bool,
    /// Streams whose last line has no newline yet.
    open: BTreeSet<(String, Stream)>,
}

impl Streams {
    /// For `vms` VMs.
    pub(super) fn new(vms: usize) -> Self {
        Self {
            prefixed: vms > 1,
            open: BTreeSet::new(),
        }
    }

    /// Prints what one log line stands for; a line that is none is not a guest's.
    pub(super) fn print(&mut self, json: &[u8]) {
        if let Some((stream, bytes)) = self.bytes(json) {
            print::guest(stream == Stream::Stderr, &bytes);
        }
    }

    fn bytes(&mut self, json: &[u8]) -> Option<(Stream, Vec<u8>)> {
        let line: Line = serde_json::from_slice(json).ok()?;
        let key = (line.uid.clone(), line.stream);
        let goes_on = self.open.remove(&key);
        let mut bytes = Vec::new();
        if self.prefixed && !goes_on {
            bytes.extend_from_slice(format!("[{}] ", line.vm).as_bytes());
        }
        match (&line.text, &line.base64) {
            (Some(text), _) => bytes.extend_from_slice(text.as_bytes()),
            (None, Some(base64)) => bytes.extend_from_slice(&STANDARD.decode(base64).ok()?),
            (None, None) => {}
        }
        if line.partial {
            self.open.insert(key);
        } else {
            bytes.push(b'\n');
        }
        Some((line.stream, bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(vm: &str, fields: &str) -> Vec<u8> {
        format!(r#"{{"time":"t","namespace":"n","vm":"{vm}","uid":"u-{vm}","stream":"stdout",{fields}}}"#).into_bytes()
    }

    fn all(streams: &mut Streams, lines: &[Vec<u8>]) -> Vec<u8> {
        lines
            .iter()
            .filter_map(|line| streams.bytes(line))
            .flat_map(|(_, bytes)| bytes)
            .collect()
    }

    #[test]
    fn the_very_bytes_come_back() {
        let lines = [
            line("a", r#""text":"plain ä""#),
            line("a", r#""base64":"/wA=""#),
            line("a", r#""text":"one ","partial":true"#),
            line("a", r#""text":"line""#),
            line("a", r#""text":"no newline","partial":true"#),
        ];
        let printed = all(&mut Streams::new(1), &lines);
        assert_eq!(printed, b"plain \xc3\xa4\n\xff\0\none line\nno newline");
    }

    #[test]
    fn with_several_vms_each_line_is_named_once() {
        let lines = [
            line("a", r#""text":"x","partial":true"#),
            line("b", r#""text":"y""#),
            line("a", r#""text":"z""#),
        ];
        let printed = all(&mut Streams::new(2), &lines);
        assert_eq!(String::from_utf8(printed).unwrap(), "[a] x[b] y\nz\n");
    }

    #[test]
    fn what_is_no_log_line_is_not_printed() {
        assert_eq!(Streams::new(1).bytes(b"panicked at ..."), None);
    }
}
