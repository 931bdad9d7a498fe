//! A guest as a list of calls, each with the answer it has to get.

mod given;
mod listed;
mod words;

use std::fmt::Write as _;

use agentvm_runtime::vfs::Filesystem;

pub(crate) use self::given::*;
pub(super) use self::listed::*;
pub(super) use self::words::*;
use crate::harness::{Guest, Ran, functions};

/// Where calls of a script write what they answer.
pub(super) const OUT: i64 = 8;
/// Where the list of buffers of a script is.
const LIST: i64 = 64;
/// Where a script reads bytes and structures to.
pub(super) const BUFFER: i64 = 4_096;
/// Where the script's texts are.
const TEXTS: usize = 65_536;

/// One argument of a call.
#[derive(Clone, Debug)]
pub(super) enum Arg {
    /// A number.
    Number(i64),
    /// Address and length of these bytes.
    Bytes(Vec<u8>),
}

impl From<i64> for Arg {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<&str> for Arg {
    fn from(text: &str) -> Self {
        Self::Bytes(text.as_bytes().to_vec())
    }
}

impl From<&String> for Arg {
    fn from(text: &String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<&[u8]> for Arg {
    fn from(bytes: &[u8]) -> Self {
        Self::Bytes(bytes.to_vec())
    }
}

/// `call!(script, errno, name(args...))`: the next step is this call, which answers `errno`.
macro_rules! call {
    ($script:expr, $errno:expr, $name:ident($($arg:expr),* $(,)?)) => {
        $script.call($errno, stringify!($name), &[$($crate::files::script::Arg::from($arg)),*])
    };
}
pub(super) use call;

/// What a guest tries, and on which files.
pub(crate) type Attack = (Script, Filesystem);

/// Calls in order, with what each has to answer.
#[derive(Default)]
pub(crate) struct Script {
    body: String,
    texts: Vec<u8>,
    /// Pages of memory behind the texts.
    spare_pages: usize,
    steps: Vec<String>,
}

impl Script {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Puts bytes into the guest's memory, and says where.
    pub(super) fn text(&mut self, bytes: &[u8]) -> (i64, i64) {
        let at = find(&self.texts, bytes).unwrap_or_else(|| {
            self.texts.extend_from_slice(bytes);
            self.texts.len() - bytes.len()
        });
        (number(TEXTS + at), number(bytes.len()))
    }

    /// Memory of at least so many bytes behind the texts.
    pub(super) fn spare(&mut self, bytes: usize) {
        self.spare_pages = bytes.div_ceil(65_536);
    }

    pub(super) fn call(&mut self, errno: i32, name: &str, args: &[Arg]) {
        let (_, types) = functions().find(|(known, _)| *known == name).unwrap();
        let mut numbers = Vec::new();
        for arg in args {
            match arg {
                Arg::Number(number) => numbers.push(*number),
                Arg::Bytes(bytes) => {
                    let (at, len) = self.text(bytes);
                    numbers.extend([at, len]);
                }
            }
        }
        assert_eq!(numbers.len(), types.len(), "{name}");
        let mut call = format!("(call ${name}");
        for (ty, number) in types.iter().zip(numbers) {
            write!(call, " ({ty}.const {number})").unwrap();
        }
        let what = format!("{name}{args:?} answers {errno}");
        self.step(&what, &format!("{call})"), errno);
    }

    /// `value`, an `i32`, has to be `expected`.
    pub(super) fn step(&mut self, what: &str, value: &str, expected: i32) {
        let step = self.steps.len() + 1;
        self.steps.push(what.to_owned());
        write!(
            self.body,
            "(local.set $got {value})
             (if (i32.ne (local.get $got) (i32.const {expected}))
               (then (call $proc_exit (i32.add (local.get $got) (i32.const {})))))\n",
            step * 1_000
        )
        .unwrap();
    }

    /// The 32 bits at `at` are these.
    pub(super) fn word(&mut self, at: i64, expected: i64) {
        let what = format!("the word at {at} is {expected}");
        let value = format!("(i32.ne (i32.load (i32.const {at})) (i32.const {expected}))");
        self.step(&what, &value, 0);
    }

    /// The 64 bits at `at` are these.
    pub(super) fn long(&mut self, at: i64, expected: i64) {
        let what = format!("the long at {at} is {expected}");
        let value = format!("(i64.ne (i64.load (i32.const {at})) (i64.const {expected}))");
        self.step(&what, &value, 0);
    }

    /// The bytes at `at` are these.
    pub(super) fn bytes(&mut self, at: i64, expected: &[u8]) {
        for (place, byte) in expected.iter().enumerate() {
            let at = at + number(place);
            let what = format!("the byte at {at} is {byte} of {expected:?}");
            let value = format!("(i32.load8_u (i32.const {at}))");
            self.step(&what, &value, i32::from(*byte));
        }
    }

    /// Fills memory with ones.
    pub(super) fn soil(&mut self, at: i64, len: i64) {
        writeln!(
            self.body,
            "(memory.fill (i32.const {at}) (i32.const 255) (i32.const {len}))"
        )
        .unwrap();
    }

    /// A list of one buffer, for calls that take one.
    pub(super) fn list(&mut self, at: i64, len: i64) -> (i64, i64) {
        writeln!(
            self.body,
            "(i32.store (i32.const {LIST}) (i32.const {at}))
             (i32.store (i32.const {}) (i32.const {len}))",
            LIST + 4
        )
        .unwrap();
        (LIST, 1)
    }

    /// Opens, expecting this number where it succeeds.
    pub(super) fn open(&mut self, fd: i64, path: &str, how: i64, rights: i64) {
        call!(self, OK, path_open(ROOT, 1, path, how, rights, 0, 0, OUT));
        self.word(OUT, fd);
    }

    /// Opens what can't be.
    pub(super) fn open_fails(&mut self, errno: i32, path: &str, how: i64, rights: i64) {
        call!(
            self,
            errno,
            path_open(ROOT, 1, path, how, rights, 0, 0, OUT)
        );
    }

    /// Makes a file with this content, and closes it; `fd` is the lowest free number.
    pub(super) fn file(&mut self, fd: i64, path: &str, content: &str) {
        self.open(fd, path, CREATE | TRUNCATE, WRITE);
        if !content.is_empty() {
            self.write(fd, content);
        }
        call!(self, OK, fd_close(fd));
    }

    pub(super) fn write(&mut self, fd: i64, text: &str) {
        let (at, len) = self.text(text.as_bytes());
        let (list, count) = self.list(at, len);
        call!(self, OK, fd_write(fd, list, count, OUT));
        self.word(OUT, len);
    }

    pub(super) fn write_fails(&mut self, errno: i32, fd: i64) {
        let (at, len) = self.text(b"x");
        let (list, count) = self.list(at, len);
        call!(self, errno, fd_write(fd, list, count, OUT));
    }

    /// Reads `len` bytes at most, of which these come.
    pub(super) fn read(&mut self, fd: i64, len: i64, expected: &str) {
        let (list, count) = self.list(BUFFER, len);
        call!(self, OK, fd_read(fd, list, count, OUT));
        self.word(OUT, number(expected.len()));
        self.bytes(BUFFER, expected.as_bytes());
    }

    /// The whole content of the file at `path`; `fd` is the lowest free number.
    pub(super) fn holds(&mut self, fd: i64, path: &str, content: &str) {
        self.open(fd, path, 0, READ);
        self.read(fd, number(content.len()) + 1, content);
        call!(self, OK, fd_close(fd));
    }

    /// Writes what a descriptor's directory lists, from the start, to stdout.
    pub(super) fn tell_names(&mut self, fd: i64) {
        call!(self, OK, fd_readdir(fd, BUFFER, 60_000, 0, OUT));
        self.tell(BUFFER, "(i32.load (i32.const 8))");
    }

    /// Writes memory to stdout; `len` is an expression.
    pub(super) fn tell(&mut self, at: i64, len: &str) {
        writeln!(
            self.body,
            "(i32.store (i32.const {LIST}) (i32.const {at}))
             (i32.store (i32.const {}) {len})
             (drop (call $fd_write (i32.const 1) (i32.const {LIST}) (i32.const 1) (i32.const 16)))",
            LIST + 4
        )
        .unwrap();
    }

    /// Any instructions.
    pub(super) fn code(&mut self, code: &str) {
        self.body.push_str(code);
    }

    /// The guest that takes all of these steps.
    pub(crate) fn guest(&self, filesystem: &Filesystem) -> Guest {
        let mut data = String::new();
        for byte in &self.texts {
            write!(data, "\\{byte:02x}").unwrap();
        }
        let pages = 2 + self.texts.len() / 65_536 + self.spare_pages;
        let fields =
            format!("(memory (export \"memory\") {pages}) (data (i32.const {TEXTS}) \"{data}\")");
        let body = format!(
            "(local $got i32) (local $i i32) (local $j i32) {}",
            self.body
        );
        Guest::with(&fields, &body)
            .filesystem(filesystem)
            .limits(|limits| limits.memory_bytes = 16 << 20)
    }

    /// Runs it, and names the step that answered something else.
    pub(super) async fn run(&self, filesystem: &Filesystem) -> Ran {
        let ran = self.guest(filesystem).run().await;
        self.check(&ran);
        ran
    }

    pub(super) fn check(&self, ran: &Ran) {
        match ran.ending.exit_code {
            Some(0) => (),
            Some(code) => {
                let step = usize::try_from(code / 1_000).unwrap_or_default();
                let what = step.checked_sub(1).and_then(|step| self.steps.get(step));
                panic!("step {step} got {}: {what:?}", code % 1_000);
            }
            None => panic!("{:?}", ran.ending),
        }
    }
}

fn find(texts: &[u8], bytes: &[u8]) -> Option<usize> {
    if bytes.is_empty() {
        return Some(0);
    }
    texts
        .windows(bytes.len())
        .position(|window| window == bytes)
}

fn number(size: usize) -> i64 {
    i64::try_from(size).unwrap()
}
