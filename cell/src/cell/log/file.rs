//! One VM's log file: bounded, keeping the newest half when it is full.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// The most bytes that a file has.
const MAX_BYTES: u64 = agentvm_policy::budget::LOG_FILE_BYTES.value;

/// A file that only grows up to a bound.
#[derive(Debug)]
pub(super) struct BoundedFile {
    file: File,
    bytes: u64,
    max_bytes: u64,
}

impl BoundedFile {
    /// Takes an empty file over.
    pub(super) fn new(file: File) -> Self {
        Self {
            file,
            bytes: 0,
            max_bytes: MAX_BYTES,
        }
    }

    /// Appends whole lines. A file that can't be written (a full disk) loses them: the lines
    /// on stdout are the ones that count.
    pub(super) fn append(&mut self, lines: &[u8]) {
        let length = u64::try_from(lines.len()).unwrap_or(u64::MAX);
        if self.bytes.saturating_add(length) > self.max_bytes && self.halve().is_err() {
            return;
        }
        if self.file.write_all_at(lines, self.bytes).is_ok() {
            self.bytes += length;
        }
    }

    /// Everything that is kept.
    pub(super) fn read(&self) -> io::Result<Vec<u8>> {
        self.read_from(0)
    }

    fn read_from(&self, offset: u64) -> io::Result<Vec<u8>> {
        let length = usize::try_from(self.bytes - offset).map_err(io::Error::other)?;
        let mut kept = vec![0; length];
        self.file.read_exact_at(&mut kept, offset)?;
        Ok(kept)
    }

    /// Drops the older half, up to the end of a line.
    fn halve(&mut self) -> io::Result<()> {
        let newer = self.read_from(self.bytes - self.bytes.min(self.max_bytes / 2))?;
        let after_line = newer
            .iter()
            .position(|byte| *byte == b'\n')
            .map_or(0, |end| end + 1);
        let kept = newer.get(after_line..).unwrap_or_default();
        self.file.write_all_at(kept, 0)?;
        self.bytes = u64::try_from(kept.len()).map_err(io::Error::other)?;
        self.file.set_len(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_file_keeps_its_newest_whole_lines() {
        let mut file = BoundedFile {
            max_bytes: 100,
            ..BoundedFile::new(tempfile::tempfile().unwrap())
        };
        for number in 0..50 {
            file.append(format!("line {number:02}\n").as_bytes());
            assert!(file.file.metadata().unwrap().len() <= 100);
        }
        let text = String::from_utf8(file.read().unwrap()).unwrap();
        assert!(text.ends_with("line 49\n"), "{text}");
        assert!(text.lines().count() >= 5, "{text}");
        assert!(text.lines().all(|line| line.len() == 7), "{text}");
    }

    #[test]
    fn a_file_that_cannot_be_written_loses_lines_and_nothing_else() {
        let read_only = File::open("/dev/null").unwrap();
        let mut file = BoundedFile::new(read_only);
        file.append(b"lost\n");
        assert_eq!(file.read().unwrap(), b"");
    }
}
