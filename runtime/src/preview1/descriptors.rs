//! The open descriptors of a core module: stdin, stdout and stderr, until it closes them.

use super::errno::Errno;

/// What a descriptor stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    Stdin,
    Stdout,
    Stderr,
}

/// One open descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Descriptor {
    pub(super) stream: Stream,
    /// Reads that would wait answer AGAIN.
    pub(super) nonblocking: bool,
}

/// Descriptors 0 to 2; there are no others.
#[derive(Debug)]
pub(crate) struct Descriptors([Option<Descriptor>; 3]);

impl Default for Descriptors {
    fn default() -> Self {
        let open = |stream| {
            Some(Descriptor {
                stream,
                nonblocking: false,
            })
        };
        Self([
            open(Stream::Stdin),
            open(Stream::Stdout),
            open(Stream::Stderr),
        ])
    }
}

impl Descriptors {
    pub(super) fn get(&self, fd: u32) -> Result<Descriptor, Errno> {
        let index = usize::try_from(fd)?;
        self.0.get(index).copied().flatten().ok_or(Errno::BADF)
    }

    pub(super) fn set_nonblocking(&mut self, fd: u32, nonblocking: bool) -> Result<(), Errno> {
        let slot = self.slot(fd)?.as_mut();
        slot.ok_or(Errno::BADF)?.nonblocking = nonblocking;
        Ok(())
    }

    pub(super) fn close(&mut self, fd: u32) -> Result<(), Errno> {
        self.slot(fd)?.take().map(drop).ok_or(Errno::BADF)
    }

    /// Moves `from` over `to`, closing what `to` was.
    pub(super) fn renumber(&mut self, from: u32, to: u32) -> Result<(), Errno> {
        let moved = self.get(from)?;
        self.get(to)?;
        self.close(from)?;
        *self.slot(to)? = Some(moved);
        Ok(())
    }

    fn slot(&mut self, fd: u32) -> Result<&mut Option<Descriptor>, Errno> {
        let index = usize::try_from(fd)?;
        self.0.get_mut(index).ok_or(Errno::BADF)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_is_for_once_and_only_for_what_is_open() {
        let mut open = Descriptors::default();
        assert_eq!(open.close(1), Ok(()));
        assert_eq!(open.close(1), Err(Errno::BADF));
        assert_eq!(open.get(1), Err(Errno::BADF));
        for fd in [3, 4, 1 << 31, u32::MAX] {
            assert_eq!(open.close(fd), Err(Errno::BADF), "{fd}");
            assert_eq!(open.renumber(0, fd), Err(Errno::BADF), "{fd}");
            assert_eq!(open.renumber(fd, 0), Err(Errno::BADF), "{fd}");
        }
    }

    #[test]
    fn renumbering_moves_a_stream() {
        let mut open = Descriptors::default();
        assert_eq!(open.renumber(2, 1), Ok(()));
        assert_eq!(open.get(1).map(|fd| fd.stream), Ok(Stream::Stderr));
        assert_eq!(open.get(2), Err(Errno::BADF));
        assert_eq!(open.renumber(1, 1), Ok(()));
        assert_eq!(open.get(1).map(|fd| fd.stream), Ok(Stream::Stderr));
    }
}
