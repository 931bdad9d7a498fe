//! The rights that `fdstat` tells of. Only reading and writing are held to them: the rest of
//! them is history, which programs still ask for before they dare to call.

use super::descriptors::{Descriptor, OpenDirectory, OpenFile, Stream};

pub(super) const FD_DATASYNC: u64 = 1;
pub(super) const FD_READ: u64 = 1 << 1;
pub(super) const FD_SEEK: u64 = 1 << 2;
pub(super) const FD_FDSTAT_SET_FLAGS: u64 = 1 << 3;
pub(super) const FD_SYNC: u64 = 1 << 4;
pub(super) const FD_TELL: u64 = 1 << 5;
pub(super) const FD_WRITE: u64 = 1 << 6;
const FD_ADVISE: u64 = 1 << 7;
const FD_ALLOCATE: u64 = 1 << 8;
const FD_READDIR: u64 = 1 << 14;
const FD_FILESTAT_GET: u64 = 1 << 21;
const FD_FILESTAT_SET_SIZE: u64 = 1 << 22;
const FD_FILESTAT_SET_TIMES: u64 = 1 << 23;
const POLL_FD_READWRITE: u64 = 1 << 27;
/// All of the calls by path: bits 9 to 20 without `FD_READDIR`, and 24 to 26; a size can't be
/// set by path.
const PATHS: u64 = (0b1111_1111_1111 << 9 & !FD_READDIR & !(1 << 19)) | 0b111 << 24;

/// What a directory can be asked to do.
const DIRECTORY: u64 = PATHS
    | FD_READDIR
    | FD_FDSTAT_SET_FLAGS
    | FD_SYNC
    | FD_DATASYNC
    | FD_FILESTAT_GET
    | FD_FILESTAT_SET_TIMES;
/// What any file can be asked to do.
const FILE: u64 = FD_SEEK
    | FD_TELL
    | FD_FDSTAT_SET_FLAGS
    | FD_SYNC
    | FD_DATASYNC
    | FD_ADVISE
    | FD_FILESTAT_GET
    | FD_FILESTAT_SET_TIMES
    | POLL_FD_READWRITE;
/// What takes a file that is open for writing.
const WRITABLE: u64 = FD_WRITE | FD_ALLOCATE | FD_FILESTAT_SET_SIZE;
/// What any stream can be asked to do.
const STREAM: u64 = FD_FDSTAT_SET_FLAGS | FD_FILESTAT_GET | POLL_FD_READWRITE;

/// What `descriptor` can do.
pub(super) fn base(descriptor: &Descriptor) -> u64 {
    match descriptor {
        Descriptor::Stream { stream, .. } => match stream {
            Stream::Stdin => STREAM | FD_READ,
            Stream::Stdout | Stream::Stderr => STREAM | FD_WRITE,
        },
        Descriptor::Exchange(_) => STREAM | FD_READ | FD_WRITE,
        Descriptor::File(OpenFile {
            readable, writable, ..
        }) => {
            let read = if *readable { FD_READ } else { 0 };
            let write = if *writable { WRITABLE } else { 0 };
            FILE | read | write
        }
        Descriptor::Directory(OpenDirectory { .. }) => DIRECTORY,
    }
}

/// What can be opened through `descriptor`: anything through a directory.
pub(super) fn inheriting(descriptor: &Descriptor) -> u64 {
    match descriptor {
        Descriptor::Stream { .. } | Descriptor::Exchange(_) | Descriptor::File(_) => 0,
        Descriptor::Directory(_) => DIRECTORY | FILE | WRITABLE | FD_READ,
    }
}
