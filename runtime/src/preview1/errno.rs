//! The error numbers of preview1 that are answered here.

use std::num::TryFromIntError;

/// What a guest gets instead of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Errno(i32);

impl Errno {
    pub(super) const AGAIN: Self = Self(6);
    pub(super) const BADF: Self = Self(8);
    pub(super) const FAULT: Self = Self(21);
    pub(super) const INVAL: Self = Self(28);
    pub(super) const NOSYS: Self = Self(52);
    pub(super) const NOTDIR: Self = Self(54);
    pub(super) const NOTSOCK: Self = Self(57);
    pub(super) const OVERFLOW: Self = Self(61);
    pub(super) const SPIPE: Self = Self(70);
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

/// What a host function answers.
pub(super) type Answer = Result<(), Errno>;

/// `answer` as the guest sees it: 0 is success.
pub(super) fn code(answer: Answer) -> i32 {
    answer.map_or_else(Errno::number, |()| 0)
}
