//! What a filesystem refuses, named after the POSIX error that a guest sees.

/// Why an operation was refused. Nothing has changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Error {
    /// `EACCES`: the file's mode does not let it be read.
    #[error("the file's mode does not allow it")]
    Access,
    /// `EBUSY`: a mount point, or a directory that leads to one.
    #[error("a mount point can't be renamed, replaced or removed")]
    Busy,
    /// `EEXIST`.
    #[error("the name is taken")]
    Exists,
    /// `EFBIG`: larger than the volume could ever hold.
    #[error("the file would be larger than its volume")]
    FileTooLarge,
    /// `EILSEQ`: a name that is not UTF-8.
    #[error("a name must be UTF-8")]
    IllegalBytes,
    /// `EINVAL`.
    #[error("the argument is not valid")]
    Invalid,
    /// `EISDIR`.
    #[error("it is a directory")]
    IsDirectory,
    /// `ELOOP`: over 40 symbolic links, or a link that was not to be followed.
    #[error("too many symbolic links")]
    Loop,
    /// `EMLINK`.
    #[error("the file has too many hard links")]
    TooManyLinks,
    /// `ENAMETOOLONG`: a name over 255 bytes, a path over 4,096, a tree too deep.
    #[error("the name is too long")]
    NameTooLong,
    /// `ENOENT`.
    #[error("there is no such file or directory")]
    NoEntry,
    /// `ENOMEM`: the host has no memory for it; not the guest's fault.
    #[error("the host has no memory left")]
    NoMemory,
    /// `ENOSPC`: the VM's budget is used up, or the host refuses growth.
    #[error("no space is left")]
    NoSpace,
    /// `ENOTDIR`.
    #[error("it is not a directory")]
    NotDirectory,
    /// `ENOTEMPTY`.
    #[error("the directory is not empty")]
    NotEmpty,
    /// `EPERM`: a path that leads out of the directory it starts from, a link to a directory.
    #[error("the operation is not permitted")]
    NotPermitted,
    /// `EDQUOT`: the mount's own size limit is used up.
    #[error("the mount's size limit is used up")]
    Quota,
    /// `EROFS`.
    #[error("the mount is read-only")]
    ReadOnly,
    /// `EXDEV`.
    #[error("the two names are on different mounts")]
    CrossDevice,
}
