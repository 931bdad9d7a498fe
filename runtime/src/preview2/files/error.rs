//! What the filesystem refuses, by the names of WASI 0.2.

use agentvm_vfs::Error;
use wasmtime_wasi::p2::FsResult;
use wasmtime_wasi::p2::bindings::filesystem::types::ErrorCode;

use crate::host::Host;

impl Host {
    /// Charges for one call of the filesystem that had `bytes` copied, and names its error.
    pub(super) fn charged<T>(&self, bytes: usize, result: Result<T, Error>) -> FsResult<T> {
        self.charge_files(bytes);
        result.map_err(|error| code(error).into())
    }
}

/// One to one: the two enumerations mean the same errors of POSIX.
pub(super) const fn code(error: Error) -> ErrorCode {
    match error {
        Error::Access => ErrorCode::Access,
        Error::Busy => ErrorCode::Busy,
        Error::Exists => ErrorCode::Exist,
        Error::FileTooLarge => ErrorCode::FileTooLarge,
        Error::IllegalBytes => ErrorCode::IllegalByteSequence,
        Error::Invalid => ErrorCode::Invalid,
        Error::IsDirectory => ErrorCode::IsDirectory,
        Error::Loop => ErrorCode::Loop,
        Error::TooManyLinks => ErrorCode::TooManyLinks,
        Error::NameTooLong => ErrorCode::NameTooLong,
        Error::NoEntry => ErrorCode::NoEntry,
        Error::NoMemory => ErrorCode::InsufficientMemory,
        Error::NoSpace => ErrorCode::InsufficientSpace,
        Error::NotDirectory => ErrorCode::NotDirectory,
        Error::NotEmpty => ErrorCode::NotEmpty,
        Error::NotPermitted => ErrorCode::NotPermitted,
        Error::Quota => ErrorCode::Quota,
        Error::ReadOnly => ErrorCode::ReadOnly,
        Error::CrossDevice => ErrorCode::CrossDevice,
    }
}
