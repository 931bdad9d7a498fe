//! Reads an archive that somebody else made.

use std::cell::Cell;
use std::io::{self, Read};

use tar::{Archive, EntryType};

use super::item::{Item, Kind, NameError, check_path, shown};
use crate::guards::{Guard, is_on};

/// The longest name or target that is read: a path and its final zero.
const MAX_LONG_BYTES: u64 = agentvm_policy::budget::ARCHIVE_NAME_BYTES.value;

/// Why an archive can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is no tar archive, or reading it failed.
    #[error("it is not a tar archive: {0}")]
    Tar(#[source] io::Error),
    /// It ends before its end mark.
    #[error("the archive is cut short")]
    CutShort,
    /// A name that can't be taken.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Something other than directories, files and links.
    #[error("{path} is {what}: an archive holds directories, files and links")]
    Kind {
        /// Its name.
        path: String,
        /// What it is.
        what: &'static str,
    },
    /// Long names belong to the entry after them.
    #[error("a long name is followed by another one, or by nothing")]
    StrayName,
}

/// Calls `each` for every item of an archive, in its order, with the content where it is a file.
///
/// Content that `each` leaves unread is skipped. Nothing is kept of what was read before.
pub fn read<E: From<ReadError>>(
    source: impl Read,
    mut each: impl FnMut(Item, &mut dyn Read) -> Result<(), E>,
) -> Result<(), E> {
    let ended = Cell::new(false);
    let mut archive = Archive::new(Noting {
        source,
        ended: &ended,
    });
    let mut long = Long::default();
    let entries = archive.entries().map_err(ReadError::Tar)?.raw(true);
    for entry in entries {
        let mut entry = entry.map_err(ReadError::Tar)?;
        let kind = entry.header().entry_type();
        if kind.is_gnu_longname() {
            take(&mut long.name, &mut entry)?;
        } else if kind.is_gnu_longlink() {
            take(&mut long.target, &mut entry)?;
        } else if let Some(item) = item(&entry, std::mem::take(&mut long))? {
            each(item, &mut entry)?;
        }
    }
    if long != Long::default() {
        return Err(ReadError::StrayName.into());
    }
    if ended.get() {
        return Err(ReadError::CutShort.into());
    }
    Ok(())
}

/// What an entry stands for; `None` for the top itself.
fn item<R: Read>(entry: &tar::Entry<'_, R>, long: Long) -> Result<Option<Item>, ReadError> {
    let header = entry.header();
    let kind = header.entry_type();
    let path = long
        .name
        .unwrap_or_else(|| header.path_bytes().into_owned());
    if kind.is_dir() && matches!(path.as_slice(), b"." | b"./") {
        return Ok(None);
    }
    let path = path.strip_prefix(b"./").unwrap_or(&path);
    let slash = path.strip_suffix(b"/").filter(|_| kind.is_dir());
    let path = check_path(slash.unwrap_or(path))?;
    let target = || {
        let short = || header.link_name_bytes().unwrap_or_default().into_owned();
        long.target.clone().unwrap_or_else(short)
    };
    let kind = if kind.is_dir() {
        Kind::Directory
    } else if kind.is_file() || kind.is_contiguous() || !is_on(Guard::ArchiveKinds) {
        Kind::File {
            bytes: entry.size(),
        }
    } else if kind.is_symlink() {
        Kind::Symlink {
            target: link_target(target())?,
        }
    } else if kind.is_hard_link() {
        let to = target();
        Kind::HardLink {
            to: check_path(to.strip_prefix(b"./").unwrap_or(&to))?,
        }
    } else {
        return Err(ReadError::Kind {
            path: shown(path.as_bytes()),
            what: described(kind),
        });
    };
    Ok(Some(Item {
        path,
        kind,
        modified_unix_s: header.mtime().unwrap_or(0),
    }))
}

/// A link's target is kept as it is: whoever follows it looks where it leads.
fn link_target(bytes: Vec<u8>) -> Result<String, ReadError> {
    let target =
        String::from_utf8(bytes).map_err(|error| NameError::NotUtf8(shown(error.as_bytes())))?;
    if target.is_empty() || target.contains('\0') {
        return Err(NameError::NotCanonical(shown(target.as_bytes())).into());
    }
    Ok(target)
}

fn described(kind: EntryType) -> &'static str {
    if kind.is_fifo() {
        "a FIFO"
    } else if kind.is_character_special() || kind.is_block_special() {
        "a device"
    } else if kind.is_gnu_sparse() {
        "a sparse file (GNU tar writes none without --sparse)"
    } else if kind.is_pax_global_extensions() || kind.is_pax_local_extensions() {
        "a pax header (GNU tar writes none with --format=gnu)"
    } else {
        "of an unknown type"
    }
}

/// Names too long for a header, which come before it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Long {
    name: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
}

fn take(into: &mut Option<Vec<u8>>, entry: &mut impl Read) -> Result<(), ReadError> {
    if into.is_some() {
        return Err(ReadError::StrayName);
    }
    let mut text = Vec::new();
    let read = entry.take(MAX_LONG_BYTES + 1).read_to_end(&mut text);
    read.map_err(ReadError::Tar)?;
    if u64::try_from(text.len()).is_ok_and(|bytes| bytes > MAX_LONG_BYTES) {
        return Err(NameError::TooLong(shown(&text)).into());
    }
    if text.last() == Some(&0) {
        text.pop();
    }
    *into = Some(text);
    Ok(())
}

/// Notes whether the source ended while more was asked of it.
struct Noting<'a, R> {
    source: R,
    ended: &'a Cell<bool>,
}

impl<R: Read> Read for Noting<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        if read == 0 && !buffer.is_empty() {
            self.ended.set(true);
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests;
