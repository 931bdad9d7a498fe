//! How much is measured: all of it, or as little as shows that a suite works.

/// How often things are done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effort {
    /// As often as figures need.
    Whole,
    /// A twentieth of it: the figures say nothing.
    Tried,
}

impl Effort {
    /// How often to do what is done `times` times.
    pub(crate) fn of(self, times: usize) -> usize {
        match self {
            Self::Whole => times,
            Self::Tried => (times / 20).max(1),
        }
    }
}
