//! The calls of `wasi:filesystem` with arguments that bear names, and what they answer.

use crate::script::{Answer, Arg, Memory, Script};

/// The names of `error-code`, in its order.
pub const CODES: [&str; 37] = [
    "access",
    "would-block",
    "already",
    "bad-descriptor",
    "busy",
    "deadlock",
    "quota",
    "exist",
    "file-too-large",
    "illegal-byte-sequence",
    "in-progress",
    "interrupted",
    "invalid",
    "io",
    "is-directory",
    "loop",
    "too-many-links",
    "message-size",
    "name-too-long",
    "no-device",
    "no-entry",
    "no-lock",
    "insufficient-memory",
    "insufficient-space",
    "not-directory",
    "not-empty",
    "not-recoverable",
    "unsupported",
    "no-tty",
    "no-such-device",
    "overflow",
    "not-permitted",
    "pipe",
    "read-only",
    "invalid-seek",
    "text-file-busy",
    "cross-device",
];

/// `path-flags`: the last link of the path is followed.
pub const FOLLOW: u32 = 1;
/// `descriptor-flags`.
pub const READ: u32 = 1;
/// `descriptor-flags`.
pub const WRITE: u32 = 2;
/// `descriptor-flags`.
pub const MUTATE_DIRECTORY: u32 = 32;
/// `open-flags`.
pub const CREATE: u32 = 1;
/// `open-flags`.
pub const DIRECTORY: u32 = 2;
/// `open-flags`.
pub const EXCLUSIVE: u32 = 4;
/// `open-flags`.
pub const TRUNCATE: u32 = 8;
/// `descriptor-type`.
pub const IS_DIRECTORY: u8 = 3;
/// `descriptor-type`.
pub const IS_LINK: u8 = 5;
/// `descriptor-type`.
pub const IS_FILE: u8 = 6;

/// Where one call leaves its `result`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    answer: Answer,
    /// Where in it the value or the error begins: where the larger of the two is aligned to.
    payload: u32,
}

impl Reply {
    /// The handle that the call made, for later calls.
    pub fn handle(self) -> Arg {
        self.answer.at(self.payload)
    }

    /// The address of the value, or of the error.
    pub fn payload(self) -> u32 {
        self.answer.stored() + self.payload
    }

    /// The handle of the error that a stream failed with, for later calls.
    pub fn stream_error(self) -> Arg {
        self.answer.at(self.payload + 4)
    }
}

impl Memory {
    /// The name of what a call failed with, or `ok`.
    pub fn code(&self, reply: Reply) -> &'static str {
        if self.u8(reply.answer.stored()) == 0 {
            return "ok";
        }
        let code = usize::from(self.u8(reply.payload()));
        CODES.get(code).copied().unwrap_or("no code")
    }

    /// What a call on a stream came to: `ok`, `last-operation-failed` or `closed`.
    pub fn stream(&self, reply: Reply) -> &'static str {
        match (self.u8(reply.answer.stored()), self.u8(reply.payload())) {
            (0, _) => "ok",
            (_, 0) => "last-operation-failed",
            _ => "closed",
        }
    }

    /// The bytes of the list, or the text, that a call answered with.
    pub fn list(&self, reply: Reply) -> Vec<u8> {
        self.list_at(reply.payload())
    }

    /// The entry that was read: its `descriptor-type` and its name; `None` is the end.
    pub fn entry(&self, reply: Reply) -> Option<(u8, String)> {
        let entry = reply.payload() + 4;
        let name = || String::from_utf8_lossy(&self.list_at(entry + 4)).into_owned();
        (self.u8(reply.payload()) == 1).then(|| (self.u8(entry), name()))
    }

    /// The name of what `filesystem-error-code` answered with, if anything.
    pub fn error_code(&self, answer: Answer) -> &'static str {
        let [some, code] = [0, 1].map(|at| usize::from(self.u8(answer.stored() + at)));
        match CODES.get(code) {
            Some(code) if some == 1 => code,
            Some(_) | None => "no code",
        }
    }

    fn list_at(&self, address: u32) -> Vec<u8> {
        self.bytes(self.u32(address), self.u32(address + 4))
    }
}

impl Script {
    /// The directory that the component starts with. Each call of this makes a handle.
    pub fn root(&mut self) -> Arg {
        let list = self.preview2("get-directories", &[]);
        Arg::Behind(list.stored())
    }

    fn reply(&mut self, name: &str, payload: u32, args: &[Arg]) -> Reply {
        let answer = self.preview2(name, args);
        Reply { answer, payload }
    }

    /// A call on a path below a directory that answers with nothing but how it went.
    pub fn at(&mut self, name: &str, base: Arg, path: &str) -> Reply {
        let [path, length] = self.text_arg(path);
        self.reply(name, 1, &[base, path, length])
    }

    /// `open-at`.
    pub fn open_at(&mut self, base: Arg, follow: u32, path: &str, open: u32, flags: u32) -> Reply {
        let [path, length] = self.text_arg(path);
        let args = [base, follow.into(), path, length, open.into(), flags.into()];
        self.reply("open-at", 4, &args)
    }

    /// `stat-at`.
    pub fn stat_at(&mut self, base: Arg, follow: u32, path: &str) -> Reply {
        let [path, length] = self.text_arg(path);
        self.reply("stat-at", 8, &[base, follow.into(), path, length])
    }

    /// `metadata-hash-at`.
    pub fn metadata_hash_at(&mut self, base: Arg, follow: u32, path: &str) -> Reply {
        let [path, length] = self.text_arg(path);
        self.reply("metadata-hash-at", 8, &[base, follow.into(), path, length])
    }

    /// `set-times-at` with two times: `None` stays, and otherwise nanoseconds since 1970.
    pub fn set_times_at(
        &mut self,
        base: Arg,
        follow: u32,
        path: &str,
        times: [Option<u64>; 2],
    ) -> Reply {
        let [path, length] = self.text_arg(path);
        let mut args = vec![base, follow.into(), path, length];
        args.extend(times.into_iter().flat_map(time));
        self.reply("set-times-at", 1, &args)
    }

    /// `set-times`.
    pub fn set_times(&mut self, fd: Arg, times: [Option<u64>; 2]) -> Reply {
        let mut args = vec![fd];
        args.extend(times.into_iter().flat_map(time));
        self.reply("set-times", 1, &args)
    }

    /// `rename-at`.
    pub fn rename_at(&mut self, base: Arg, path: &str, to: Arg, to_path: &str) -> Reply {
        let [path, length] = self.text_arg(path);
        let [to_path, to_length] = self.text_arg(to_path);
        let args = [base, path, length, to, to_path, to_length];
        self.reply("rename-at", 1, &args)
    }

    /// `link-at`.
    pub fn link_at(&mut self, base: Arg, follow: u32, path: &str, to: Arg, to_path: &str) -> Reply {
        let [path, length] = self.text_arg(path);
        let [to_path, to_length] = self.text_arg(to_path);
        let args = [base, follow.into(), path, length, to, to_path, to_length];
        self.reply("link-at", 1, &args)
    }

    /// `symlink-at`.
    pub fn symlink_at(&mut self, base: Arg, target: &str, path: &str) -> Reply {
        let [target, target_length] = self.text_arg(target);
        let [path, length] = self.text_arg(path);
        self.reply(
            "symlink-at",
            1,
            &[base, target, target_length, path, length],
        )
    }

    /// `readlink-at`.
    pub fn readlink_at(&mut self, base: Arg, path: &str) -> Reply {
        let [path, length] = self.text_arg(path);
        self.reply("readlink-at", 4, &[base, path, length])
    }

    /// `read`.
    pub fn read(&mut self, fd: Arg, bytes: u64, offset: u64) -> Reply {
        self.reply("read", 4, &[fd, Arg::Is(bytes), Arg::Is(offset)])
    }

    /// `write`.
    pub fn write(&mut self, fd: Arg, bytes: &[u8], offset: u64) -> Reply {
        let content = self.bytes_arg(bytes);
        self.write_arg(fd, content, offset)
    }

    /// `write` of what lies at an address.
    pub fn write_arg(&mut self, fd: Arg, [bytes, length]: [Arg; 2], offset: u64) -> Reply {
        self.reply("write", 8, &[fd, bytes, length, Arg::Is(offset)])
    }

    /// `set-size`.
    pub fn set_size(&mut self, fd: Arg, size: u64) -> Reply {
        self.reply("set-size", 1, &[fd, Arg::Is(size)])
    }

    /// `stat`.
    pub fn stat(&mut self, fd: Arg) -> Reply {
        self.reply("stat", 8, &[fd])
    }

    /// `metadata-hash`.
    pub fn metadata_hash(&mut self, fd: Arg) -> Reply {
        self.reply("metadata-hash", 8, &[fd])
    }

    /// A call without arguments that answers with a byte or nothing: `get-type`, `get-flags`,
    /// `sync`, `sync-data`.
    pub fn ask(&mut self, name: &str, fd: Arg) -> Reply {
        self.reply(name, 1, &[fd])
    }

    /// A call that makes a stream of what is open: `read-directory`, `append-via-stream`.
    pub fn stream_of(&mut self, name: &str, fd: Arg) -> Reply {
        self.reply(name, 4, &[fd])
    }

    /// `read-via-stream` or `write-via-stream`.
    pub fn stream_at(&mut self, name: &str, fd: Arg, offset: u64) -> Reply {
        self.reply(name, 4, &[fd, Arg::Is(offset)])
    }

    /// `read-directory-entry`.
    pub fn next_entry(&mut self, listing: Arg) -> Reply {
        self.reply("read-directory-entry", 4, &[listing])
    }

    /// `read` of a stream.
    pub fn stream_read(&mut self, stream: Arg, bytes: u64) -> Reply {
        self.reply("in-read", 4, &[stream, Arg::Is(bytes)])
    }

    /// `write` of a stream.
    pub fn stream_write(&mut self, stream: Arg, bytes: &[u8]) -> Reply {
        let content = self.bytes_arg(bytes);
        self.stream_write_arg(stream, content)
    }

    /// `write` of a stream, of what lies at an address.
    pub fn stream_write_arg(&mut self, stream: Arg, [bytes, length]: [Arg; 2]) -> Reply {
        self.reply("out-write", 4, &[stream, bytes, length])
    }

    /// `check-write`.
    pub fn check_write(&mut self, stream: Arg) -> Reply {
        self.reply("check-write", 8, &[stream])
    }

    /// `filesystem-error-code`: answers with an `option`.
    pub fn error_code(&mut self, error: Arg) -> Answer {
        self.preview2("filesystem-error-code", &[error])
    }

    /// `to-debug-string`.
    pub fn debug_string(&mut self, error: Arg) -> Reply {
        self.reply("to-debug-string", 0, &[error])
    }

    /// Gives a handle up: `drop-descriptor`, `drop-listing`, `drop-in`, `drop-out`, `drop-error`.
    pub fn drop_handle(&mut self, name: &str, handle: Arg) {
        let nowhere = self.nowhere();
        self.preview2_into(nowhere, name, &[handle]);
    }
}

fn time(at: Option<u64>) -> [Arg; 3] {
    let nanos = at.unwrap_or_default();
    let case = if at.is_some() { 2 } else { 0 };
    [case, nanos / 1_000_000_000, nanos % 1_000_000_000].map(Arg::Is)
}
