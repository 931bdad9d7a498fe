//! The error numbers of preview1 that are answered here.

use std::num::TryFromIntError;

use agentvm_vfs::Error;

/// What a guest gets instead of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Errno(i32);

impl Errno {
    pub(super) const TOOBIG: Self = Self(1);
    pub(super) const ACCES: Self = Self(2);
    pub(super) const AGAIN: Self = Self(6);
    pub(super) const BADF: Self = Self(8);
    pub(super) const BUSY: Self = Self(10);
    pub(super) const DQUOT: Self = Self(19);
    pub(super) const EXIST: Self = Self(20);
    pub(super) const FAULT: Self = Self(21);
    pub(super) const FBIG: Self = Self(22);
    pub(super) const ILSEQ: Self = Self(25);
    pub(super) const INVAL: Self = Self(28);
    pub(super) const IO: Self = Self(29);
    pub(super) const ISDIR: Self = Self(31);
    pub(super) const LOOP: Self = Self(32);
    pub(super) const MFILE: Self = Self(33);
    pub(super) const MLINK: Self = Self(34);
    pub(super) const MSGSIZE: Self = Self(35);
    pub(super) const NAMETOOLONG: Self = Self(37);
    pub(super) const NFILE: Self = Self(41);
    pub(super) const NOENT: Self = Self(44);
    pub(super) const NOMEM: Self = Self(48);
    pub(super) const NOSPC: Self = Self(51);
    pub(super) const NOSYS: Self = Self(52);
    pub(super) const NOTDIR: Self = Self(54);
    pub(super) const NOTEMPTY: Self = Self(55);
    pub(super) const NOTSOCK: Self = Self(57);
    pub(super) const OVERFLOW: Self = Self(61);
    pub(super) const PERM: Self = Self(63);
    pub(super) const PIPE: Self = Self(64);
    pub(super) const RANGE: Self = Self(68);
    pub(super) const ROFS: Self = Self(69);
    pub(super) const SPIPE: Self = Self(70);
    pub(super) const XDEV: Self = Self(75);
    pub(super) const NOTCAPABLE: Self = Self(76);

    pub(super) const fn number(self) -> i32 {
        self.0
    }
}

/// A number that does not fit where it has to go.
impl From<TryFromIntError> for Errno {
    fn from(_: TryFromIntError) -> Self {
        Self::OVERFLOW
    }
}

/// The number of the error that the filesystem names.
impl From<Error> for Errno {
    fn from(error: Error) -> Self {
        match error {
            Error::Access => Self::ACCES,
            Error::Busy => Self::BUSY,
            Error::CrossDevice => Self::XDEV,
            Error::Exists => Self::EXIST,
            Error::FileTooLarge => Self::FBIG,
            Error::IllegalBytes => Self::ILSEQ,
            Error::Invalid => Self::INVAL,
            Error::IsDirectory => Self::ISDIR,
            Error::Loop => Self::LOOP,
            Error::NameTooLong => Self::NAMETOOLONG,
            Error::NoEntry => Self::NOENT,
            Error::NoMemory => Self::NOMEM,
            Error::NoSpace => Self::NOSPC,
            Error::NotDirectory => Self::NOTDIR,
            Error::NotEmpty => Self::NOTEMPTY,
            Error::NotPermitted => Self::PERM,
            Error::Quota => Self::DQUOT,
            Error::ReadOnly => Self::ROFS,
            Error::TooManyLinks => Self::MLINK,
        }
    }
}

/// What a host function answers.
pub(super) type Answer = Result<(), Errno>;

/// `answer` as the guest sees it: 0 is success.
pub(super) fn code(answer: Answer) -> i32 {
    answer.map_or_else(Errno::number, |()| 0)
}
