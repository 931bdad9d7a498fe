//! Operations as calls of preview1.

use agentvm_vfs::Kind;

use crate::backend::{Backend, Reading, numbered};
use crate::operation::{At, How, Operation};
use crate::outcome::Outcome;
use crate::script::{Answer, Arg, Script, ZEROS};

/// The directory that a core module starts with.
const ROOT: u32 = 3;
/// Bytes that a listing is read into, and a link's target.
const LISTING_BYTES: u32 = 6_000;
const TARGET_BYTES: u32 = 2_048;
const APPEND: u32 = 1;

/// preview1.
pub(crate) struct Preview1;

impl Backend for Preview1 {
    fn add(
        &self,
        script: &mut Script,
        operation: &Operation,
        nodes: &[Arg],
        _expected: &Outcome,
    ) -> (Reading, Option<Arg>) {
        let mut calls = Calls { script, nodes };
        if let Operation::Open(at, follow, how) = operation {
            let (reading, fd) = calls.open(at, *follow, *how);
            return (reading, Some(fd));
        }
        (calls.reading(operation), None)
    }
}

struct Calls<'a> {
    script: &'a mut Script,
    nodes: &'a [Arg],
}

impl Calls<'_> {
    fn reading(&mut self, operation: &Operation) -> Reading {
        match operation {
            Operation::Open(at, follow, how) => self.open(at, *follow, *how).0,
            Operation::Close(node) => {
                let fd = self.node(*node);
                let answer = self.script.preview1("fd_close", &[fd]);
                done(answer)
            }
            Operation::Stat(at, follow) => {
                let [base, path, length] = self.at(at);
                let args = [base, u32::from(*follow).into(), path, length];
                stat(self.storing("path_filestat_get", &args))
            }
            Operation::StatOpen(node) => {
                let fd = self.node(*node);
                stat(self.storing("fd_filestat_get", &[fd]))
            }
            Operation::Read(node, offset, length, moves) => {
                self.read(*node, *offset, *length, *moves)
            }
            Operation::Write(node, offset, length, value, moves) => {
                self.write(*node, *offset, *length, *value, *moves)
            }
            Operation::Append(node, length, value) => self.append(*node, *length, *value),
            Operation::SetSize(node, size) => {
                let args = [self.node(*node), Arg::Is(*size)];
                done(self.script.preview1("fd_filestat_set_size", &args))
            }
            Operation::List(node) => self.list(*node),
            Operation::CreateDirectory(at) => self.path("path_create_directory", at),
            Operation::RemoveDirectory(at) => self.path("path_remove_directory", at),
            Operation::Unlink(at) => self.path("path_unlink_file", at),
            Operation::Rename(from, to) => {
                let args = [self.at(from), self.at(to)].concat();
                done(self.script.preview1("path_rename", &args))
            }
            Operation::Link(from, follow, to) => {
                let [base, path, length] = self.at(from);
                let mut args = vec![base, u32::from(*follow).into(), path, length];
                args.extend(self.at(to));
                done(self.script.preview1("path_link", &args))
            }
            Operation::Symlink(target, at) => {
                let mut args = self.script.text_arg(target).to_vec();
                args.extend(self.at(at));
                done(self.script.preview1("path_symlink", &args))
            }
            Operation::ReadLink(at) => self.read_link(at),
            Operation::SetTimes(at, follow, times) => {
                let [base, path, length] = self.at(at);
                let mut args = vec![base, u32::from(*follow).into(), path, length];
                args.extend(times.map(|time| Arg::Is(time.unwrap_or_default())));
                let flags = times.map(|time| u32::from(time.is_some()));
                args.push((flags[0] | flags[1] << 2).into());
                done(self.script.preview1("path_filestat_set_times", &args))
            }
        }
    }

    fn node(&self, node: usize) -> Arg {
        self.nodes.get(node).copied().unwrap_or(ROOT.into())
    }

    fn at(&mut self, at: &At) -> [Arg; 3] {
        let base = at.base.map_or(ROOT.into(), |base| self.node(base));
        let [path, length] = self.script.text_arg(&at.path);
        [base, path, length]
    }

    /// Calls what stores its result at the address that it takes last.
    fn storing(&mut self, name: &str, args: &[Arg]) -> Answer {
        let answer = self.script.answer();
        let mut args = args.to_vec();
        args.push(answer.stored().into());
        self.script.preview1_into(answer, name, &args);
        answer
    }

    fn path(&mut self, name: &str, at: &At) -> Reading {
        let args = self.at(at);
        done(self.script.preview1(name, &args))
    }

    fn open(&mut self, at: &At, follow: bool, how: How) -> (Reading, Arg) {
        let [base, path, length] = self.at(at);
        let flags = u32::from(how.create)
            | u32::from(how.directory) << 1
            | u32::from(how.exclusive) << 2
            | u32::from(how.truncate) << 3;
        let rights = u32::from(how.read) << 1 | u32::from(how.write) << 6;
        let args = [
            base,
            u32::from(follow).into(),
            path,
            length,
            flags.into(),
            rights.into(),
            0.into(),
            0.into(),
        ];
        let answer = self.storing("path_open", &args);
        let fd = answer.at(0);
        let stat = stat(self.storing("fd_filestat_get", &[fd]));
        let reading: Reading =
            Box::new(
                move |memory| match (memory.returned(answer), stat(memory)) {
                    (0, Outcome::Stat(kind, ..)) => Outcome::Opened(kind),
                    (0, _) => Outcome::Refused,
                    (errno, _) => numbered(errno),
                },
            );
        (reading, fd)
    }

    /// One buffer.
    fn vector(&mut self, address: u32, length: u32) -> [Arg; 2] {
        let vector = [address, length].map(u32::to_le_bytes).concat();
        [self.script.data(&vector).into(), 1.into()]
    }

    fn read(&mut self, node: usize, offset: u64, length: u32, moves: bool) -> Reading {
        let length = length.min(1_024);
        let buffer = self.script.buffer(length);
        let [vector, one] = self.vector(buffer, length);
        let fd = self.node(node);
        let answer = if moves {
            self.storing("fd_seek", &[fd, Arg::Is(offset), 0.into()]);
            self.storing("fd_read", &[fd, vector, one])
        } else {
            self.storing("fd_pread", &[fd, vector, one, Arg::Is(offset)])
        };
        Box::new(move |memory| match memory.returned(answer) {
            0 => Outcome::Bytes(memory.bytes(buffer, memory.u32(answer.stored()))),
            errno => numbered(errno),
        })
    }

    fn content(&mut self, length: u32, value: u8) -> [Arg; 2] {
        let address = match value {
            0 => ZEROS,
            value => {
                let length = usize::try_from(length).unwrap_or_default();
                self.script.data(&vec![value; length])
            }
        };
        self.vector(address, length)
    }

    fn write(&mut self, node: usize, offset: u64, length: u32, value: u8, moves: bool) -> Reading {
        let [vector, one] = self.content(length, value);
        let fd = self.node(node);
        count(if moves {
            self.storing("fd_seek", &[fd, Arg::Is(offset), 0.into()]);
            self.storing("fd_write", &[fd, vector, one])
        } else {
            self.storing("fd_pwrite", &[fd, vector, one, Arg::Is(offset)])
        })
    }

    fn append(&mut self, node: usize, length: u32, value: u8) -> Reading {
        let [vector, one] = self.content(length, value);
        let fd = self.node(node);
        self.script
            .preview1("fd_fdstat_set_flags", &[fd, APPEND.into()]);
        let answer = self.storing("fd_write", &[fd, vector, one]);
        self.script.preview1("fd_fdstat_set_flags", &[fd, 0.into()]);
        count(answer)
    }

    fn list(&mut self, node: usize) -> Reading {
        let buffer = self.script.buffer(LISTING_BYTES);
        let fd = self.node(node);
        let args = [fd, buffer.into(), LISTING_BYTES.into(), Arg::Is(0)];
        let answer = self.storing("fd_readdir", &args);
        Box::new(move |memory| match memory.returned(answer) {
            0 => names(&memory.bytes(buffer, memory.u32(answer.stored()))),
            errno => numbered(errno),
        })
    }

    fn read_link(&mut self, at: &At) -> Reading {
        let buffer = self.script.buffer(TARGET_BYTES);
        let mut args = self.at(at).to_vec();
        args.extend([buffer, TARGET_BYTES].map(Arg::from));
        let answer = self.storing("path_readlink", &args);
        Box::new(move |memory| match memory.returned(answer) {
            0 => {
                let target = memory.bytes(buffer, memory.u32(answer.stored()));
                Outcome::Text(String::from_utf8_lossy(&target).into_owned())
            }
            errno => numbered(errno),
        })
    }
}

fn done(answer: Answer) -> Reading {
    Box::new(move |memory| match memory.returned(answer) {
        0 => Outcome::Done,
        errno => numbered(errno),
    })
}

fn count(answer: Answer) -> Reading {
    Box::new(move |memory| match memory.returned(answer) {
        0 => Outcome::Count(memory.u32(answer.stored()).into()),
        errno => numbered(errno),
    })
}

fn stat(answer: Answer) -> Reading {
    Box::new(move |memory| {
        let at = answer.stored();
        match memory.returned(answer) {
            0 => match kind(memory.u8(at + 16)) {
                Some(kind) => Outcome::Stat(kind, memory.u64(at + 32), memory.u64(at + 24)),
                None => Outcome::Refused,
            },
            errno => numbered(errno),
        }
    })
}

fn kind(filetype: u8) -> Option<Kind> {
    match filetype {
        3 => Some(Kind::Directory),
        4 => Some(Kind::File),
        7 => Some(Kind::Symlink),
        _ => None,
    }
}

/// The entries of a buffer that `fd_readdir` filled, without `.` and `..`.
fn names(mut buffer: &[u8]) -> Outcome {
    let mut names = Vec::new();
    while let Some((&header, rest)) = buffer.split_first_chunk::<24>() {
        let [.., a, b, c, d, filetype, _, _, _] = header;
        let length = usize::try_from(u32::from_le_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        let Some((name, rest)) = rest.split_at_checked(length) else {
            break;
        };
        buffer = rest;
        let name = String::from_utf8_lossy(name).into_owned();
        if name != "." && name != ".." {
            let Some(kind) = kind(filetype) else {
                return Outcome::Refused;
            };
            names.push((kind, name));
        }
    }
    names.sort();
    Outcome::Names(names)
}
