//! Operations as calls of `wasi:filesystem`.

use agentvm_vfs::{Error, Kind};

use super::calls::{
    CREATE, DIRECTORY, EXCLUSIVE, IS_DIRECTORY, IS_FILE, IS_LINK, READ, Reply, TRUNCATE, WRITE,
};
use crate::backend::{Backend, Reading, named};
use crate::operation::{At, How, Operation};
use crate::outcome::Outcome;
use crate::script::{Arg, Memory, Script, ZEROS};

/// `wasi:filesystem`.
pub(crate) struct Preview2 {
    pub(crate) root: Arg,
}

impl Backend for Preview2 {
    fn add(
        &self,
        script: &mut Script,
        operation: &Operation,
        nodes: &[Arg],
        expected: &Outcome,
    ) -> (Reading, Option<Arg>) {
        let mut calls = Calls {
            script,
            nodes,
            root: self.root,
            expected,
        };
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
    root: Arg,
    expected: &'a Outcome,
}

impl Calls<'_> {
    fn reading(&mut self, operation: &Operation) -> Reading {
        match operation {
            Operation::Open(at, follow, how) => self.open(at, *follow, *how).0,
            Operation::Close(node) => {
                let fd = self.node(*node);
                self.script.drop_handle("drop-descriptor", fd);
                Box::new(|_| Outcome::Done)
            }
            Operation::Stat(at, follow) => {
                let base = self.base(at);
                stat(self.script.stat_at(base, u32::from(*follow), &at.path))
            }
            Operation::StatOpen(node) => {
                let fd = self.node(*node);
                stat(self.script.stat(fd))
            }
            Operation::Read(node, offset, length, streams) => {
                self.read(*node, *offset, *length, *streams)
            }
            Operation::Write(node, offset, length, value, streams) => {
                self.write(*node, *offset, *length, *value, *streams)
            }
            Operation::Append(node, length, value) => {
                let fd = self.node(*node);
                let stream = self.script.stream_of("append-via-stream", fd);
                self.through(stream, *length, *value)
            }
            Operation::SetSize(node, size) => {
                let fd = self.node(*node);
                done(self.script.set_size(fd, *size))
            }
            Operation::List(node) => self.list(*node),
            Operation::CreateDirectory(at) => self.path("create-directory-at", at),
            Operation::RemoveDirectory(at) => self.path("remove-directory-at", at),
            Operation::Unlink(at) => self.path("unlink-file-at", at),
            Operation::Rename(from, to) => {
                let (base, to_base) = (self.base(from), self.base(to));
                done(self.script.rename_at(base, &from.path, to_base, &to.path))
            }
            Operation::Link(from, follow, to) => {
                let (base, to_base) = (self.base(from), self.base(to));
                let follow = u32::from(*follow);
                done(
                    self.script
                        .link_at(base, follow, &from.path, to_base, &to.path),
                )
            }
            Operation::Symlink(target, at) => {
                let base = self.base(at);
                done(self.script.symlink_at(base, target, &at.path))
            }
            Operation::ReadLink(at) => {
                let base = self.base(at);
                let reply = self.script.readlink_at(base, &at.path);
                reading(reply, move |memory| {
                    Outcome::Text(String::from_utf8_lossy(&memory.list(reply)).into_owned())
                })
            }
            Operation::SetTimes(at, follow, times) => {
                let base = self.base(at);
                let follow = u32::from(*follow);
                done(self.script.set_times_at(base, follow, &at.path, *times))
            }
        }
    }

    fn node(&self, node: usize) -> Arg {
        self.nodes.get(node).copied().unwrap_or(self.root)
    }

    fn base(&self, at: &At) -> Arg {
        at.base.map_or(self.root, |base| self.node(base))
    }

    fn path(&mut self, name: &str, at: &At) -> Reading {
        let base = self.base(at);
        done(self.script.at(name, base, &at.path))
    }

    fn open(&mut self, at: &At, follow: bool, how: How) -> (Reading, Arg) {
        let flag = |is: bool, flag: u32| if is { flag } else { 0 };
        let open = flag(how.create, CREATE)
            | flag(how.directory, DIRECTORY)
            | flag(how.exclusive, EXCLUSIVE)
            | flag(how.truncate, TRUNCATE);
        let flags = flag(how.read, READ) | flag(how.write, WRITE);
        let base = self.base(at);
        let follow = u32::from(follow);
        let reply = self.script.open_at(base, follow, &at.path, open, flags);
        let reading = if let Outcome::Opened(_) = self.expected {
            let asked = self.script.ask("get-type", reply.handle());
            reading(reply, move |memory| {
                kind(memory.u8(asked.payload())).map_or(Outcome::Refused, Outcome::Opened)
            })
        } else {
            done(reply)
        };
        (reading, reply.handle())
    }

    fn read(&mut self, node: usize, offset: u64, length: u32, streams: bool) -> Reading {
        let length = u64::from(length.min(1_024));
        let fd = self.node(node);
        if !streams {
            let reply = self.script.read(fd, length, offset);
            return reading(reply, move |memory| Outcome::Bytes(memory.list(reply)));
        }
        let opened = self.script.stream_at("read-via-stream", fd, offset);
        let Outcome::Bytes(_) = self.expected else {
            return done(opened);
        };
        let reply = self.script.stream_read(opened.handle(), length);
        self.script.drop_handle("drop-in", opened.handle());
        Box::new(move |memory| match memory.stream(reply) {
            "ok" => Outcome::Bytes(memory.list(reply)),
            "closed" => Outcome::Bytes(Vec::new()),
            _ => Outcome::Refused,
        })
    }

    fn content(&mut self, length: u32, value: u8) -> [Arg; 2] {
        if value == 0 {
            return [ZEROS, length].map(Arg::from);
        }
        let length = usize::try_from(length).unwrap_or_default();
        self.script.bytes_arg(&vec![value; length])
    }

    fn write(
        &mut self,
        node: usize,
        offset: u64,
        length: u32,
        value: u8,
        streams: bool,
    ) -> Reading {
        let fd = self.node(node);
        if streams {
            let stream = self.script.stream_at("write-via-stream", fd, offset);
            return self.through(stream, length, value);
        }
        let content = self.content(length, value);
        let reply = self.script.write_arg(fd, content, offset);
        reading(reply, move |memory| {
            Outcome::Count(memory.u64(reply.payload()))
        })
    }

    /// Writes through a stream, where one was made, and asks why it failed, where it is to fail.
    fn through(&mut self, stream: Reply, length: u32, value: u8) -> Reading {
        if let Outcome::Refused | Outcome::Failed(Error::ReadOnly) = self.expected {
            return done(stream);
        }
        let content = self.content(length, value);
        let reply = self.script.stream_write_arg(stream.handle(), content);
        let fails = !matches!(self.expected, Outcome::Count(_));
        let code = fails.then(|| {
            let code = self.script.error_code(reply.stream_error());
            self.script.drop_handle("drop-error", reply.stream_error());
            code
        });
        self.script.drop_handle("drop-out", stream.handle());
        Box::new(move |memory| match (memory.stream(reply), code) {
            ("ok", _) => Outcome::Count(length.into()),
            (_, Some(code)) => named(memory.error_code(code)),
            (_, None) => Outcome::Refused,
        })
    }

    fn list(&mut self, node: usize) -> Reading {
        let fd = self.node(node);
        let listing = self.script.stream_of("read-directory", fd);
        let Outcome::Names(names) = self.expected else {
            return done(listing);
        };
        let entries: Vec<Reply> = (0..=names.len())
            .map(|_| self.script.next_entry(listing.handle()))
            .collect();
        self.script.drop_handle("drop-listing", listing.handle());
        Box::new(move |memory| {
            let told = entries.iter().map_while(|&entry| memory.entry(entry));
            let told = told.filter_map(|(what, name)| Some((kind(what)?, name)));
            let mut names: Vec<_> = told.collect();
            names.sort();
            Outcome::Names(names)
        })
    }
}

/// What a call came to that answers with something where it does not fail.
fn reading(reply: Reply, value: impl Fn(&Memory) -> Outcome + 'static) -> Reading {
    Box::new(move |memory| match memory.code(reply) {
        "ok" => value(memory),
        code => named(code),
    })
}

fn done(reply: Reply) -> Reading {
    reading(reply, |_| Outcome::Done)
}

fn stat(reply: Reply) -> Reading {
    reading(reply, move |memory| {
        let at = reply.payload();
        match kind(memory.u8(at)) {
            Some(kind) => Outcome::Stat(kind, memory.u64(at + 16), memory.u64(at + 8)),
            None => Outcome::Refused,
        }
    })
}

fn kind(descriptor_type: u8) -> Option<Kind> {
    match descriptor_type {
        IS_DIRECTORY => Some(Kind::Directory),
        IS_FILE => Some(Kind::File),
        IS_LINK => Some(Kind::Symlink),
        _ => None,
    }
}
