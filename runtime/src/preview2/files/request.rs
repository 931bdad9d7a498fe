//! What the flags, times and link targets of a call ask of the filesystem.

use agentvm_vfs::{Error, Follow, Open, SetTime};
use wasmtime_wasi::p2::FsResult;
use wasmtime_wasi::p2::bindings::filesystem::types::{
    DescriptorFlags, ErrorCode, NewTimestamp, OpenFlags, PathFlags,
};

use super::metadata::set_time;

pub(super) fn follow(flags: PathFlags) -> Follow {
    if flags.contains(PathFlags::SYMLINK_FOLLOW) {
        Follow::Yes
    } else {
        Follow::No
    }
}

/// The three requests to synchronise are granted as they are: there is nothing slower to write to.
pub(super) fn how(open: OpenFlags, flags: DescriptorFlags) -> Open {
    Open {
        create: open.contains(OpenFlags::CREATE),
        exclusive: open.contains(OpenFlags::EXCLUSIVE),
        directory: open.contains(OpenFlags::DIRECTORY),
        truncate: open.contains(OpenFlags::TRUNCATE),
        write: flags.contains(DescriptorFlags::WRITE),
        read: flags.contains(DescriptorFlags::READ),
    }
}

pub(super) fn times(
    accessed: NewTimestamp,
    modified: NewTimestamp,
) -> Result<(SetTime, SetTime), Error> {
    Ok((set_time(accessed)?, set_time(modified)?))
}

/// Links to absolute paths are neither made nor read by WASI 0.2; those that are there all the
/// same, copied in before the start, are followed.
pub(super) fn relative(target: String) -> FsResult<String> {
    if target.starts_with('/') {
        return Err(ErrorCode::NotPermitted.into());
    }
    Ok(target)
}
