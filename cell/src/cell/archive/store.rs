//! Archives that wait for the VM that names them.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read};
use std::sync::{Mutex, MutexGuard, PoisonError};

use agentvm_cell_api::problem::{Problem, Reason};
use bytes::{Buf as _, Bytes};

use crate::archive::MAX_ARCHIVE_BYTES;
use crate::guards::{Guard, is_on};

/// Archives that wait at once.
const MAX_ARCHIVES: usize = agentvm_policy::budget::ARCHIVES.usize();

/// Archives that wait, by name. All of them together are bounded.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    archives: BTreeMap<String, Chunks>,
    bytes: u64,
}

/// Where archives wait.
#[derive(Debug, Default)]
pub(in crate::cell) struct Archives {
    waiting: Mutex<Waiting>,
}

/// An archive in the pieces that it came in; each is freed once it is read.
#[derive(Debug, Default)]
pub(in crate::cell) struct Chunks {
    chunks: VecDeque<Bytes>,
    bytes: u64,
}

impl Archives {
    /// Begins the archive `name` anew.
    pub(super) fn begin(&self, name: &str) -> Result<(), Problem> {
        check_name(name)?;
        let mut waiting = self.lock();
        waiting.forget(name);
        if waiting.archives.len() >= MAX_ARCHIVES {
            return Err(full(&format!("{MAX_ARCHIVES} archives")));
        }
        waiting.archives.insert(name.to_owned(), Chunks::default());
        Ok(())
    }

    /// Adds to it; where it would be too much, the whole archive is forgotten.
    pub(super) fn add(&self, name: &str, chunk: Bytes) -> Result<(), Problem> {
        let bytes = u64::try_from(chunk.len()).unwrap_or(u64::MAX);
        let mut waiting = self.lock();
        let too_much = waiting.bytes.saturating_add(bytes) > MAX_ARCHIVE_BYTES;
        if too_much && is_on(Guard::ArchiveBytes) {
            waiting.forget(name);
            return Err(full(&format!(
                "{} MiB of archives",
                MAX_ARCHIVE_BYTES >> 20
            )));
        }
        let Some(archive) = waiting.archives.get_mut(name) else {
            return Err(missing(name));
        };
        archive.chunks.push_back(chunk);
        archive.bytes += bytes;
        waiting.bytes += bytes;
        Ok(())
    }

    /// Forgets an archive that did not arrive as a whole.
    pub(super) fn forget(&self, name: &str) {
        self.lock().forget(name);
    }

    /// Takes an archive out.
    pub(super) fn take(&self, name: &str) -> Result<Chunks, Problem> {
        self.lock().forget(name).ok_or_else(|| missing(name))
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn forget(&mut self, name: &str) -> Option<Chunks> {
        let archive = self.archives.remove(name)?;
        self.bytes -= archive.bytes;
        Some(archive)
    }
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(first) = self.chunks.front_mut() {
            if !first.has_remaining() {
                self.chunks.pop_front();
                continue;
            }
            let count = first.len().min(buffer.len());
            let (Some(to), Some(from)) = (buffer.get_mut(..count), first.get(..count)) else {
                break;
            };
            to.copy_from_slice(from);
            first.advance(count);
            return Ok(count);
        }
        Ok(0)
    }
}

fn check_name(name: &str) -> Result<(), Problem> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if (1..=64).contains(&name.len()) && name.bytes().all(plain) {
        return Ok(());
    }
    Err(Problem {
        reason: Reason::BadRequest,
        message: "the name of an archive has 1 to 64 letters, digits and hyphens".to_owned(),
    })
}

fn full(what: &str) -> Problem {
    Problem {
        reason: Reason::NoSpace,
        message: format!("no more than {what} wait in one cell"),
    }
}

fn missing(name: &str) -> Problem {
    let shown: String = name.chars().take(70).collect();
    Problem {
        reason: Reason::InvalidMounts,
        message: format!(
            "this cell has no archive {shown:?}: PUT it first, each start takes its own"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guards::switch_off;

    #[test]
    fn an_archive_is_taken_once_and_as_it_came() {
        let archives = Archives::default();
        archives.begin("a").unwrap();
        for chunk in ["one ", "", "two ", "three"] {
            archives.add("a", Bytes::from(chunk)).unwrap();
        }
        let mut text = String::new();
        let mut taken = archives.take("a").unwrap();
        taken.read_to_string(&mut text).unwrap();
        assert_eq!(text, "one two three");
        assert!(taken.chunks.is_empty());
        assert_eq!(
            archives.take("a").unwrap_err().reason,
            Reason::InvalidMounts
        );
        assert_eq!(archives.lock().bytes, 0);
    }

    #[test]
    fn a_name_begins_anew_and_odd_names_are_refused() {
        let archives = Archives::default();
        for text in ["old", "new"] {
            archives.begin("a").unwrap();
            archives.add("a", Bytes::from(text)).unwrap();
        }
        assert_eq!(archives.lock().bytes, 3);
        for name in ["", "a/b", "..", &"n".repeat(65)] {
            assert!(archives.begin(name).is_err(), "{name}");
        }
    }

    #[test]
    fn e08_all_archives_together_are_bounded() {
        let archives = Archives::default();
        for index in 0..MAX_ARCHIVES {
            archives.begin(&format!("a{index}")).unwrap();
        }
        assert_eq!(archives.begin("more").unwrap_err().reason, Reason::NoSpace);
        // One piece of memory, counted as often as it is named.
        let piece = Bytes::from(vec![0; 64 << 20]);
        for _ in 0..32 {
            archives.add("a0", piece.clone()).unwrap();
        }
        let refused = archives.add("a1", Bytes::from("x")).unwrap_err();
        assert_eq!(refused.reason, Reason::NoSpace);
        assert!(archives.take("a1").is_err(), "it is forgotten as a whole");
        archives.take("a0").unwrap();
        archives.add("a2", piece).unwrap();
    }

    #[test]
    fn e08_without_its_guard_archives_take_what_they_like() {
        let archives = Archives::default();
        archives.begin("a").unwrap();
        let piece = Bytes::from(vec![0; 64 << 20]);
        switch_off(Guard::ArchiveBytes, || {
            for _ in 0..64 {
                archives.add("a", piece.clone()).unwrap();
            }
        });
        assert!(archives.lock().bytes > MAX_ARCHIVE_BYTES);
    }
}
