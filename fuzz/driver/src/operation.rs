//! What a sequence of bytes asks a guest to do with its files.

/// The most operations of one sequence.
const MOST: usize = 32;

/// A path and where it starts: an open node by its number, or the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct At {
    /// The number of an open node.
    pub base: Option<usize>,
    /// The path.
    pub path: String,
}

/// How a file is opened.
#[expect(
    clippy::struct_excessive_bools,
    reason = "the flags of open(2), by their names"
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct How {
    /// `O_CREAT`.
    pub create: bool,
    /// `O_EXCL`.
    pub exclusive: bool,
    /// `O_DIRECTORY`.
    pub directory: bool,
    /// `O_TRUNC`.
    pub truncate: bool,
    /// To be written.
    pub write: bool,
    /// To be read.
    pub read: bool,
}

/// One operation. Numbers of open nodes are taken modulo how many there are.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "named after the calls they become")]
pub enum Operation {
    Open(At, bool, How),
    Close(usize),
    Stat(At, bool),
    StatOpen(usize),
    /// From an offset, so many bytes, through a stream or not.
    Read(usize, u64, u32, bool),
    /// At an offset, so many bytes of this value, through a stream or not.
    Write(usize, u64, u32, u8, bool),
    Append(usize, u32, u8),
    SetSize(usize, u64),
    List(usize),
    CreateDirectory(At),
    RemoveDirectory(At),
    Unlink(At),
    Rename(At, At),
    Link(At, bool, At),
    Symlink(String, At),
    ReadLink(At),
    SetTimes(At, bool, [Option<u64>; 2]),
}

/// Which paths and budgets a sequence has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paths {
    /// Few paths and much room: everything is held against the model.
    Plain,
    /// Any paths, and budgets that are soon used up.
    Wild,
}

/// Paths from the root, and from any other directory.
const FROM_ROOT: [&str; 32] = [
    "w/a", "w/b", "w/c", "w/a/a", "w/a/b", "w/a/c", "w/b/a", "w/b/c", "w/a/a/c", "w/a/b/a", "w/l",
    "w/l/a", "w/l/c", "w/n/a", "w/n/b", "w/n/c", "w/n/a/c", "w/n/l", "w/x/y/a", "w/x/c",
    "w/a/../b", "w/n/../a", "w", "w/n", "w/x", "w/x/y", "ro", "ro/x", "a", ".", "..", "w/../..",
];
const BELOW: [&str; 14] = [
    "a", "b", "c", "a/a", "a/b", "a/c", "b/a", "b/c", "l", "l/a", "n/a", "..", "../b", "a/../..",
];
const TARGETS: [&str; 12] = [
    "a", "b", "../b", "a/b", "..", ".", "l", "m", "/w/a", "/w/n/a", "n/a", "../../w",
];
/// What wild paths are made of; the last is what bytes make it.
const NAMES: [&str; 16] = [
    "a", "b", "c", "l", "w", "n", "x", "y", "ro", "..", ".", "", "etc", "..data", "app.conf", "",
];

/// The operations of a sequence of bytes.
pub fn decode(bytes: &[u8]) -> (Paths, Vec<Operation>) {
    let mut from = Bytes(bytes);
    let paths = if from.flag() {
        Paths::Wild
    } else {
        Paths::Plain
    };
    let mut operations = Vec::new();
    while !from.0.is_empty() && operations.len() < MOST {
        operations.push(from.operation(paths));
    }
    (paths, operations)
}

/// Bytes that are not read yet; zeros come after the last.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((&first, rest)) => {
                self.0 = rest;
                first
            }
            None => 0,
        }
    }

    fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    fn pick(&mut self) -> usize {
        usize::from(self.byte())
    }

    fn number(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    fn operation(&mut self, paths: Paths) -> Operation {
        match self.byte() % 24 {
            0..=4 => Operation::Open(self.at(paths), self.flag(), self.how()),
            5 => Operation::Close(self.pick()),
            6 => Operation::Stat(self.at(paths), self.flag()),
            7 => Operation::StatOpen(self.pick()),
            8 => Operation::Read(self.pick(), self.offset(), self.length(), self.flag()),
            9..=11 => Operation::Write(
                self.pick(),
                self.offset(),
                self.length(),
                self.byte(),
                self.flag(),
            ),
            12 => Operation::Append(self.pick(), self.length(), self.byte()),
            13 => Operation::SetSize(self.pick(), self.offset()),
            14 => Operation::List(self.pick()),
            15 | 16 => Operation::CreateDirectory(self.at(paths)),
            17 => Operation::RemoveDirectory(self.at(paths)),
            18 => Operation::Unlink(self.at(paths)),
            19 => Operation::Rename(self.at(paths), self.at(paths)),
            20 => Operation::Link(self.at(paths), self.flag(), self.at(paths)),
            21 => Operation::Symlink(self.target(paths), self.at(paths)),
            22 => Operation::ReadLink(self.at(paths)),
            _ => Operation::SetTimes(self.at(paths), self.flag(), [self.time(), self.time()]),
        }
    }

    fn how(&mut self) -> How {
        let bits = self.byte();
        let is = |bit: u8| bits & bit != 0;
        let directory = is(8) && is(128);
        How {
            create: is(1) && !directory,
            exclusive: is(2) && is(64),
            directory,
            truncate: is(4) && is(32) && !directory,
            write: is(16) || is(1),
            read: !(is(32) && is(64)),
        }
    }

    fn at(&mut self, paths: Paths) -> At {
        let base = self.byte();
        let base = (base >= 96).then(|| usize::from(base));
        At {
            base,
            path: self.path(paths, base.is_none()),
        }
    }

    fn path(&mut self, paths: Paths, from_root: bool) -> String {
        match paths {
            Paths::Plain if from_root => choose(&FROM_ROOT, self.byte()),
            Paths::Plain => choose(&BELOW, self.byte()),
            Paths::Wild => self.wild(),
        }
    }

    fn target(&mut self, paths: Paths) -> String {
        match paths {
            Paths::Plain => choose(&TARGETS, self.byte()),
            Paths::Wild => self.wild(),
        }
    }

    fn wild(&mut self) -> String {
        let shape = self.byte();
        let mut path = String::new();
        for index in 0..=shape % 6 {
            if index > 0 || shape & 0b1100_0000 == 0b1100_0000 {
                path.push('/');
            }
            path += &self.name();
        }
        if shape & 0b0011_0000 == 0b0011_0000 {
            path.push('/');
        }
        path
    }

    fn name(&mut self) -> String {
        let which = self.byte();
        match which {
            0..=239 => choose(&NAMES, which),
            240..=243 => "n".repeat(254 + usize::from(which - 240)),
            _ => {
                let length = usize::from(which - 243);
                let bytes: Vec<u8> = (0..length).map(|_| self.byte()).collect();
                String::from_utf8_lossy(&bytes).into_owned()
            }
        }
    }

    /// Mostly small, sometimes around the edges of blocks, seldom beyond all that can be.
    fn offset(&mut self) -> u64 {
        let number = self.number();
        match number % 8 {
            0..=3 => u64::from(number) % 64,
            4 => u64::from(number),
            5 => u64::from(number % 0x4000) * 64,
            6 => 65_536 + u64::from(number >> 8) - 128,
            _ => 1 << (number >> 8).min(61),
        }
    }

    fn length(&mut self) -> u32 {
        let number = self.number();
        match number % 4 {
            0 | 1 => 1 + u32::from(number) % 32,
            2 => 1 + u32::from(number) % 1_024,
            _ => 1 + u32::from(number),
        }
    }

    fn time(&mut self) -> Option<u64> {
        match self.byte() {
            0..=63 => None,
            255 => Some(u64::MAX),
            byte => Some(u64::from(byte) * 1_000_000_007),
        }
    }
}

fn choose(from: &[&str], byte: u8) -> String {
    let index = usize::from(byte) % from.len();
    from.get(index).copied().unwrap_or_default().to_owned()
}
