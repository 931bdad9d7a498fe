//! Listing directories, and the one that is open from the start.

use std::ops::ControlFlow;

use agentvm_vfs::Entry;
use wasmtime::{AsContextMut, Caller, Linker};

use crate::charge::settle;
use crate::host::Host;
use crate::preview1::MODULE;
use crate::preview1::descriptors::{Descriptor, OpenDirectory};
use crate::preview1::errno::{Answer, Errno, code};
use crate::preview1::filestat::filetype;
use crate::preview1::memory::split;
use crate::preview1::path;

/// Entries between two moments at which the guest pays and can be stopped.
const PAGE_ENTRIES: usize = agentvm_policy::budget::LISTED_ENTRIES.usize();
/// Bytes before the name of an entry.
const HEADER_BYTES: usize = 24;
/// The name of the directory that is open from the start.
const PREOPENED: &[u8] = b"/";

pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    linker.func_wrap_async(
        MODULE,
        "fd_readdir",
        |mut caller: Caller<'_, Host>,
         (fd, buffer, len, cookie, used): (u32, u32, u32, u64, u32)| {
            Box::new(async move { read_dir(&mut caller, fd, (buffer, len), cookie, used).await })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "fd_prestat_get",
        |mut caller: Caller<'_, Host>, fd: u32, at: u32| code(prestat(&mut caller, fd, at)),
    )?;
    linker.func_wrap(
        MODULE,
        "fd_prestat_dir_name",
        |mut caller: Caller<'_, Host>, fd: u32, at: u32, len: u32| {
            code(prestat_name(&mut caller, fd, at, len))
        },
    )?;
    Ok(())
}

/// Asking for the first preopened directory is how every toolchain starts; that there is none
/// is an answer, not a denial.
fn preopened(host: &Host, fd: u32) -> Answer {
    match host.descriptors.get(fd)? {
        Descriptor::Directory(OpenDirectory {
            is_preopen: true, ..
        }) => Ok(()),
        Descriptor::Directory(_) | Descriptor::File(_) => Err(Errno::BADF),
        Descriptor::Stream { .. } | Descriptor::Exchange(_) => Err(Errno::NOTDIR),
    }
}

fn prestat(caller: &mut Caller<'_, Host>, fd: u32, at: u32) -> Answer {
    let (mut memory, host) = split(caller)?;
    preopened(host, fd)?;
    let name_bytes = u64::try_from(PREOPENED.len())?;
    memory.write_u64(at, name_bytes << 32) // behind the tag of a directory, which is 0
}

fn prestat_name(caller: &mut Caller<'_, Host>, fd: u32, at: u32, len: u32) -> Answer {
    let (mut memory, host) = split(caller)?;
    preopened(host, fd)?;
    if usize::try_from(len)? < PREOPENED.len() {
        return Err(Errno::NAMETOOLONG);
    }
    memory.write(at, PREOPENED)
}

/// Fills `buffer` with as many entries as there are, the last of them cut where it ends: a
/// guest takes a buffer that is not full for the end of the directory.
async fn read_dir(
    caller: &mut Caller<'_, Host>,
    fd: u32,
    buffer: (u32, u32),
    cookie: u64,
    used_at: u32,
) -> wasmtime::Result<i32> {
    let mut used = 0;
    let mut cookie = cookie;
    loop {
        match page(caller, fd, buffer, used, cookie) {
            Ok(page) => {
                (used, cookie) = (page.used, page.cookie);
                if page.state != State::Paused {
                    break;
                }
            }
            Err(errno) => return Ok(errno.number()),
        }
        settle(&mut caller.as_context_mut()).await?;
    }
    let answer = split(caller).and_then(|(mut memory, _)| {
        let used = u32::try_from(used)?;
        memory.write_u32(used_at, used)
    });
    Ok(code(answer))
}

/// How far a listing has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Page {
    /// Bytes of the buffer that are filled.
    used: usize,
    /// What the next entry comes after.
    cookie: u64,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// There are no more entries.
    End,
    /// The buffer is full.
    Full,
    /// There may be more, after a pause.
    Paused,
}

fn page(
    caller: &mut Caller<'_, Host>,
    fd: u32,
    (at, len): (u32, u32),
    used: usize,
    cookie: u64,
) -> Result<Page, Errno> {
    let (mut memory, host) = split(caller)?;
    let node = path::directory(host, fd)?;
    let buffer = memory.slice_mut(at, len)?;
    let mut page = Page {
        used,
        cookie,
        state: if used < buffer.len() {
            State::End
        } else {
            State::Full
        },
    };
    if page.state == State::End {
        let mut entries = 0;
        let result = node.read_dir(cookie, &mut |entry| {
            entries += 1;
            page.add(buffer, entry, entries)
        });
        host.charge_files(page.used - used);
        result?;
    }
    Ok(page)
}

impl Page {
    fn add(&mut self, buffer: &mut [u8], entry: Entry<'_>, entries: usize) -> ControlFlow<()> {
        let name = entry.name.as_bytes();
        self.put(buffer, &header(entry));
        self.put(buffer, name);
        self.cookie = entry.next;
        if self.used == buffer.len() {
            self.state = State::Full;
        } else if entries == PAGE_ENTRIES {
            self.state = State::Paused;
        } else {
            return ControlFlow::Continue(());
        }
        ControlFlow::Break(())
    }

    /// As much of `bytes` as there is room for.
    fn put(&mut self, buffer: &mut [u8], bytes: &[u8]) {
        let room = buffer.get_mut(self.used..).unwrap_or_default();
        let len = room.len().min(bytes.len());
        if let (Some(room), Some(bytes)) = (room.get_mut(..len), bytes.get(..len)) {
            room.copy_from_slice(bytes);
        }
        self.used += len;
    }
}

/// The fixed part of an entry; its padding is zero.
fn header(entry: Entry<'_>) -> [u8; HEADER_BYTES] {
    let name_bytes = u64::try_from(entry.name.len()).unwrap_or_default();
    let kind = u64::from(filetype(entry.kind));
    let fields = [entry.next, entry.inode, name_bytes | kind << 32];
    let mut header = [0; HEADER_BYTES];
    for (place, field) in header.chunks_exact_mut(8).zip(fields) {
        place.copy_from_slice(&field.to_le_bytes());
    }
    header
}

#[cfg(test)]
mod tests {
    use agentvm_vfs::Kind;

    use super::*;

    #[test]
    fn an_entry_is_cut_where_the_buffer_ends() {
        let entry = Entry {
            name: "abc",
            kind: Kind::File,
            inode: 0x0102,
            next: 7,
        };
        let whole = [
            7, 0, 0, 0, 0, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, b'a', b'b',
            b'c',
        ];
        for len in 1..=28 {
            let mut buffer = vec![0xff; len];
            let mut page = Page {
                used: 0,
                cookie: 0,
                state: State::End,
            };
            let flow = page.add(&mut buffer, entry, 1);
            let used = len.min(27);
            assert_eq!((page.used, page.cookie), (used, 7), "{len}");
            assert_eq!(buffer[..used], whole[..used], "{len}");
            assert_eq!(flow.is_break(), len <= 27, "{len}");
            assert_eq!(page.state == State::Full, len <= 27, "{len}");
        }
    }
}
