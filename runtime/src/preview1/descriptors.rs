//! The open descriptors of a core module: its streams, `/` where something is mounted, and
//! what it opened itself.

mod descriptor;

use std::sync::Arc;

use agentvm_vfs::Filesystem;

pub(super) use self::descriptor::{Descriptor, OpenDirectory, OpenFile, Stream};
use super::errno::Errno;
use super::http::Exchange;
use crate::budget::Budget;
use crate::guards::{Guard, is_on};

/// What one that the guest opened counts of its memory.
pub(crate) const OPEN_FILE_BYTES: u64 = agentvm_policy::budget::OPEN_FILE_BYTES.value;

/// The table of descriptors by number: the lowest free one is given out, so that it is never
/// longer than the most that can be open at once, whatever numbers a guest names.
#[derive(Debug)]
pub(crate) struct Descriptors {
    table: Vec<Option<Descriptor>>,
    /// Every number below is taken.
    lowest: usize,
    /// Those that count towards `max_opened`.
    opened: usize,
    max_opened: usize,
    budget: Arc<Budget>,
}

impl Descriptors {
    /// What a guest starts with; it may open `max_opened` more, which `budget` has the memory for.
    pub(crate) fn new(filesystem: &Filesystem, max_opened: usize, budget: Arc<Budget>) -> Self {
        let streams = [Stream::Stdin, Stream::Stdout, Stream::Stderr];
        let mut table: Vec<_> = streams
            .into_iter()
            .map(|stream| {
                Some(Descriptor::Stream {
                    stream,
                    nonblocking: false,
                })
            })
            .collect();
        if !filesystem.is_empty() {
            table.push(Some(Descriptor::Directory(OpenDirectory::preopened(
                filesystem.root(),
            ))));
        }
        Self {
            lowest: table.len(),
            table,
            opened: 0,
            max_opened,
            budget,
        }
    }

    pub(super) fn get(&self, fd: u32) -> Result<&Descriptor, Errno> {
        let index = usize::try_from(fd)?;
        let slot = self.table.get(index).and_then(Option::as_ref);
        slot.ok_or(Errno::BADF)
    }

    pub(super) fn get_mut(&mut self, fd: u32) -> Result<&mut Descriptor, Errno> {
        self.slot(fd)?.as_mut().ok_or(Errno::BADF)
    }

    /// The file at `fd`; BADF for anything else.
    pub(super) fn file(&self, fd: u32) -> Result<&OpenFile, Errno> {
        match self.get(fd)? {
            Descriptor::File(file) => Ok(file),
            Descriptor::Stream { .. } | Descriptor::Exchange(_) | Descriptor::Directory(_) => {
                Err(Errno::BADF)
            }
        }
    }

    pub(super) fn file_mut(&mut self, fd: u32) -> Result<&mut OpenFile, Errno> {
        match self.get_mut(fd)? {
            Descriptor::File(file) => Ok(file),
            Descriptor::Stream { .. } | Descriptor::Exchange(_) | Descriptor::Directory(_) => {
                Err(Errno::BADF)
            }
        }
    }

    /// The directory at `fd`, which a path or a listing starts from.
    pub(super) fn directory(&self, fd: u32) -> Result<&OpenDirectory, Errno> {
        match self.get(fd)? {
            Descriptor::Directory(directory) => Ok(directory),
            Descriptor::Stream { .. } | Descriptor::Exchange(_) | Descriptor::File(_) => {
                Err(Errno::NOTDIR)
            }
        }
    }

    /// The exchange at `fd`; INVAL for anything else.
    pub(super) fn exchange(&self, fd: u32) -> Result<&Exchange, Errno> {
        match self.get(fd)? {
            Descriptor::Exchange(exchange) => Ok(exchange),
            Descriptor::Stream { .. } | Descriptor::File(_) | Descriptor::Directory(_) => {
                Err(Errno::INVAL)
            }
        }
    }

    pub(super) fn exchange_mut(&mut self, fd: u32) -> Result<&mut Exchange, Errno> {
        match self.get_mut(fd)? {
            Descriptor::Exchange(exchange) => Ok(exchange),
            Descriptor::Stream { .. } | Descriptor::File(_) | Descriptor::Directory(_) => {
                Err(Errno::INVAL)
            }
        }
    }

    /// Takes the room that one more needs, before anything is created for it: who has it either
    /// opens it or gives the room back.
    ///
    /// # Errors
    ///
    /// MFILE where nothing more can be open, NOMEM where its memory is used up.
    pub(super) fn take_room(&self) -> Result<(), Errno> {
        if self.opened >= self.max_opened && is_on(Guard::OpenFiles) {
            return Err(Errno::MFILE);
        }
        let taken = self.budget.memory.take_host(OPEN_FILE_BYTES);
        taken.then_some(()).ok_or(Errno::NOMEM)
    }

    /// Nothing was opened after all.
    pub(super) fn give_room_back(&self) {
        self.budget.memory.give_host_back(OPEN_FILE_BYTES);
    }

    /// Gives `descriptor`, which has its room, the lowest free number.
    pub(super) fn open(&mut self, descriptor: Descriptor) -> Result<u32, Errno> {
        let free = self
            .table
            .iter()
            .skip(self.lowest)
            .position(Option::is_none);
        let index = free.map_or(self.table.len(), |free| self.lowest + free);
        let fd = u32::try_from(index)?;
        if index == self.table.len() {
            self.table.push(None);
        }
        self.opened += usize::from(descriptor.counts());
        *self.slot(fd)? = Some(descriptor);
        self.lowest = index + 1;
        Ok(fd)
    }

    pub(super) fn close(&mut self, fd: u32) -> Result<(), Errno> {
        let closed = self.slot(fd)?.take().ok_or(Errno::BADF)?;
        self.closed(&closed);
        self.lowest = self.lowest.min(usize::try_from(fd)?);
        Ok(())
    }

    /// Moves `from` over `to`, closing what `to` was. Both must be open: a number that was
    /// never given out can't be made up.
    pub(super) fn renumber(&mut self, from: u32, to: u32) -> Result<(), Errno> {
        self.get(to)?;
        self.get(from)?;
        if from == to {
            return Ok(());
        }
        let moved = self.slot(from)?.take();
        self.lowest = self.lowest.min(usize::try_from(from)?);
        if let Some(closed) = std::mem::replace(self.slot(to)?, moved) {
            self.closed(&closed);
        }
        Ok(())
    }

    fn closed(&mut self, descriptor: &Descriptor) {
        if descriptor.counts() {
            self.opened -= 1;
            self.give_room_back();
        }
    }

    fn slot(&mut self, fd: u32) -> Result<&mut Option<Descriptor>, Errno> {
        let index = usize::try_from(fd)?;
        self.table.get_mut(index).ok_or(Errno::BADF)
    }
}

#[cfg(test)]
mod tests {
    use agentvm_vfs::{self as vfs, Access, Mount, Source};

    use super::*;

    fn budget() -> Arc<Budget> {
        Arc::new(Budget::new(1, 1 << 20, 2))
    }

    fn without_files() -> Descriptors {
        let nothing = Filesystem::new(vfs::Budget::default(), &[], 0).unwrap();
        Descriptors::new(&nothing, 2, budget())
    }

    fn with_files() -> (Filesystem, Descriptors) {
        let mount = Mount {
            path: "/work".to_owned(),
            access: Access::ReadWrite,
            source: Source::Empty { max_bytes: None },
        };
        let files = vfs::Budget {
            bytes: 1 << 20,
            inodes: 100,
        };
        let filesystem = Filesystem::new(files, &[mount], 0).unwrap();
        let descriptors = Descriptors::new(&filesystem, 3, budget());
        (filesystem, descriptors)
    }

    fn directory(filesystem: &Filesystem) -> Descriptor {
        Descriptor::Directory(OpenDirectory {
            node: filesystem.root(),
            is_preopen: false,
            flags: 0,
        })
    }

    fn open_one(descriptors: &mut Descriptors, filesystem: &Filesystem) -> Result<u32, Errno> {
        descriptors.take_room()?;
        descriptors.open(directory(filesystem))
    }

    fn stream(descriptors: &Descriptors, fd: u32) -> Option<Stream> {
        match descriptors.get(fd) {
            Ok(Descriptor::Stream { stream, .. }) => Some(*stream),
            Ok(Descriptor::Exchange(_) | Descriptor::File(_) | Descriptor::Directory(_))
            | Err(_) => None,
        }
    }

    #[test]
    fn closing_is_for_once_and_only_for_what_is_open() {
        let mut open = without_files();
        assert_eq!(open.close(1), Ok(()));
        assert_eq!(open.close(1), Err(Errno::BADF));
        assert_eq!(open.get(1).map(drop), Err(Errno::BADF));
        for fd in [3, 4, 1 << 31, u32::MAX] {
            assert_eq!(open.close(fd), Err(Errno::BADF), "{fd}");
            assert_eq!(open.renumber(0, fd), Err(Errno::BADF), "{fd}");
            assert_eq!(open.renumber(fd, 0), Err(Errno::BADF), "{fd}");
        }
    }

    #[test]
    fn renumbering_moves_a_stream() {
        let mut open = without_files();
        assert_eq!(open.renumber(2, 1), Ok(()));
        assert_eq!(stream(&open, 1), Some(Stream::Stderr));
        assert_eq!(stream(&open, 2), None);
        assert_eq!(open.renumber(1, 1), Ok(()));
        assert_eq!(stream(&open, 1), Some(Stream::Stderr));
    }

    #[test]
    fn the_lowest_free_number_is_given_out_and_the_table_stays_short() {
        let (filesystem, mut open) = with_files();
        let opened: Vec<_> = (0..4).map(|_| open_one(&mut open, &filesystem)).collect();
        assert_eq!(opened, [Ok(4), Ok(5), Ok(6), Err(Errno::MFILE)]);
        assert_eq!(open.close(5), Ok(()));
        assert_eq!(open.close(1), Ok(()));
        assert_eq!(open_one(&mut open, &filesystem), Ok(1));
        assert_eq!(open_one(&mut open, &filesystem), Err(Errno::MFILE));
        assert_eq!(open.renumber(6, 3), Ok(()));
        assert_eq!(open_one(&mut open, &filesystem), Err(Errno::MFILE));
        assert_eq!(open.table.len(), 7);
    }

    #[test]
    fn what_is_renumbered_over_no_longer_counts() {
        let (filesystem, mut open) = with_files();
        for _ in 0..1_000 {
            let one = open_one(&mut open, &filesystem).unwrap();
            let two = open_one(&mut open, &filesystem).unwrap();
            assert_eq!(open.renumber(two, one), Ok(()));
            assert_eq!(open.close(one), Ok(()));
        }
        assert_eq!((open.opened, open.table.len()), (0, 6));
    }
}
