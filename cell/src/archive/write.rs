//! Writes an archive.

use std::io::{self, Read, Write};

use tar::{Builder, EntryType, Header};

use super::item::{Item, Kind};

/// Bytes of a name or target that fit into a header.
const SHORT_BYTES: usize = 100;

/// Why an archive can't be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// A file was cut while it was read.
    #[error("{path:?} became shorter while it was read")]
    Shrunk {
        /// Its path in the archive.
        path: String,
    },
    /// Its content can't be read, or the archive can't be written.
    #[error("{path:?}: {cause}")]
    Io {
        /// Its path in the archive.
        path: String,
        /// What the system says.
        cause: io::Error,
    },
}

/// An archive in the making. It is cut short unless [`Writer::finish`] is called.
pub struct Writer<W: Write> {
    builder: Builder<W>,
}

impl<W: Write> std::fmt::Debug for Writer<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}

impl<W: Write> Writer<W> {
    /// An empty archive.
    pub fn new(out: W) -> Self {
        Self {
            builder: Builder::new(out),
        }
    }

    /// Adds an item; `content` has as many bytes as it says, and is not read for anything else
    /// than a file.
    pub fn add(&mut self, item: &Item, content: &mut dyn Read) -> Result<(), WriteError> {
        let failed = |cause| WriteError::Io {
            path: item.path.clone(),
            cause,
        };
        let (kind, bytes, target) = match &item.kind {
            Kind::Directory => (EntryType::Directory, 0, ""),
            Kind::File { bytes } => (EntryType::Regular, *bytes, ""),
            Kind::Symlink { target } => (EntryType::Symlink, 0, target.as_str()),
            Kind::HardLink { to } => (EntryType::Link, 0, to.as_str()),
        };
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(bytes);
        header.set_mtime(item.modified_unix_s);
        header.set_mode(if kind.is_dir() { 0o755 } else { 0o644 });
        let long = self.long(EntryType::GNULongLink, target);
        long.and_then(|()| self.long(EntryType::GNULongName, &item.path))
            .map_err(failed)?;
        let old = header.as_old_mut();
        fill(&mut old.linkname, target.as_bytes());
        fill(&mut old.name, item.path.as_bytes());
        header.set_cksum();
        let mut counted = Counted {
            content: content.take(bytes),
            left: bytes,
        };
        self.builder.append(&header, &mut counted).map_err(failed)?;
        if counted.left > 0 {
            return Err(WriteError::Shrunk {
                path: item.path.clone(),
            });
        }
        Ok(())
    }

    /// Writes the end mark and gives the output back.
    pub fn finish(self) -> io::Result<W> {
        self.builder.into_inner()
    }

    /// Where a text does not fit into a header, an entry before it holds it.
    fn long(&mut self, kind: EntryType, text: &str) -> io::Result<()> {
        if text.len() < SHORT_BYTES {
            return Ok(());
        }
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(
            u64::try_from(text.len())
                .unwrap_or(u64::MAX)
                .saturating_add(1),
        );
        fill(&mut header.as_old_mut().name, b"././@LongLink");
        header.set_mode(0o644);
        header.set_cksum();
        self.builder
            .append(&header, text.as_bytes().chain(&b"\0"[..]))
    }
}

/// As much of `text` as fits, with a zero behind it.
fn fill(field: &mut [u8; SHORT_BYTES], text: &[u8]) {
    for (to, from) in field.iter_mut().zip(text.iter().take(SHORT_BYTES - 1)) {
        *to = *from;
    }
}

/// Counts down what is still to come.
struct Counted<R> {
    content: R,
    left: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.content.read(buffer)?;
        self.left = self
            .left
            .saturating_sub(u64::try_from(read).unwrap_or(u64::MAX));
        Ok(read)
    }
}
