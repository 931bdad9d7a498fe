//! A list of calls that a guest makes one after the other, and where in its memory they leave
//! what they answer.
//!
//! A guest gets its script as its first argument, two letters a byte, and decodes it into its
//! memory: the data that calls point at, then the calls. An argument of a call is a number or
//! what an earlier call left at an address, such as a descriptor.

/// Where a guest's decoded script lies.
pub const SCRIPT: u32 = 0x1_0000;
/// Where the letters of the script arrive.
pub const TEXT: u32 = 0x8_0000;
/// Where 64 KiB of zeros lie.
pub const ZEROS: u32 = 0x4_0000;
/// The most bytes of a script: its letters fit behind [`TEXT`].
const MAX_SCRIPT_BYTES: usize = 0x3_0000;
/// Where answers lie: what the guest writes to its stdout in the end begins here.
pub const ANSWERS: u32 = 0x6_0000;
/// Where the guest's allocator, and [`Script::buffer`], go on behind the answers.
pub const HEAP: u32 = 0x6_8000;
/// Where the heap ends, and what the guest writes to its stdout.
pub const HEAP_END: u32 = 0x8_0000;
/// Bytes of one answer: eight for what the function returns, the rest for what it stores.
const ANSWER_BYTES: u32 = 128;
/// Where in an answer the function stores.
const STORED: u32 = 8;

/// A guest's calls, in the making.
#[derive(Clone, Debug, Default)]
pub struct Script {
    data: Vec<u8>,
    calls: Vec<u8>,
    answers: u32,
    buffers: u32,
    nowhere: Option<Answer>,
}

/// One argument of a call.
#[derive(Clone, Copy, Debug)]
pub enum Arg {
    /// A number.
    Is(u64),
    /// The 32 bits that lie at this address by then.
    At(u32),
    /// The 32 bits that lie where the 32 bits at this address point by then.
    Behind(u32),
}

impl From<u32> for Arg {
    fn from(number: u32) -> Self {
        Self::Is(number.into())
    }
}

/// Where one call leaves its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer(u32);

impl Answer {
    /// The address of what the function stores.
    pub fn stored(self) -> u32 {
        self.0 + STORED
    }

    /// What the function returned, as later calls take it.
    pub fn returned(self) -> Arg {
        Arg::At(self.0)
    }

    /// The 32 bits at `offset` of what the function stored, as later calls take them.
    pub fn at(self, offset: u32) -> Arg {
        Arg::At(self.stored() + offset)
    }
}

impl Script {
    /// Bytes that calls point at. Their address is a multiple of eight.
    pub fn data(&mut self, bytes: &[u8]) -> u32 {
        let address = SCRIPT + HEADER_BYTES + length(&self.data);
        self.data.extend_from_slice(bytes);
        let padded = self.data.len().next_multiple_of(8);
        self.data.resize(padded, 0);
        address
    }

    /// Room for what a core module is to store: [`Memory`] shows it in the end.
    pub fn buffer(&mut self, bytes: u32) -> u32 {
        let address = HEAP + self.buffers;
        self.buffers += bytes.next_multiple_of(8);
        assert!(HEAP + self.buffers <= HEAP_END, "no room for {bytes} bytes");
        address
    }

    /// The place of the answer of the next call.
    pub fn answer(&mut self) -> Answer {
        let answer = Answer(ANSWERS + self.answers * ANSWER_BYTES);
        self.answers += 1;
        assert!(
            answer.0 + ANSWER_BYTES <= HEAP,
            "a script of too many calls"
        );
        answer
    }

    /// The place of answers that nobody reads.
    pub(crate) fn nowhere(&mut self) -> Answer {
        let answer = match self.nowhere {
            Some(answer) => answer,
            None => self.answer(),
        };
        *self.nowhere.insert(answer)
    }

    /// Text that calls take: its address and its length.
    pub fn text_arg(&mut self, text: &str) -> [Arg; 2] {
        self.bytes_arg(text.as_bytes())
    }

    /// Bytes that calls take: their address and their length.
    pub fn bytes_arg(&mut self, bytes: &[u8]) -> [Arg; 2] {
        [self.data(bytes).into(), length(bytes).into()]
    }

    /// Calls `function`, by its place in the guest's table.
    pub fn call(&mut self, function: u32, args: &[Arg], answer: Answer) {
        for word in [function, length(args), answer.0, 0] {
            self.calls.extend(word.to_le_bytes());
        }
        for arg in args {
            let (kind, value) = match *arg {
                Arg::Is(value) => (0_u64, value),
                Arg::At(address) => (1, address.into()),
                Arg::Behind(address) => (2, address.into()),
            };
            self.calls.extend(kind.to_le_bytes());
            self.calls.extend(value.to_le_bytes());
        }
    }

    /// The script as a guest's argument.
    pub fn text(&self) -> String {
        let calls = HEADER_BYTES + length(&self.data);
        let end = calls + length(&self.calls);
        let mut bytes = Vec::new();
        for word in [calls, end] {
            bytes.extend((SCRIPT + word).to_le_bytes());
        }
        bytes.extend(&self.data);
        bytes.extend(&self.calls);
        assert!(bytes.len() <= MAX_SCRIPT_BYTES, "a script too long");
        let letter = |nibble: u8| char::from(b'a' + nibble);
        bytes
            .iter()
            .flat_map(|byte| [letter(byte >> 4), letter(byte & 15)])
            .collect()
    }
}

/// Where calls begin and where they end.
const HEADER_BYTES: u32 = 8;

fn length<T>(of: &[T]) -> u32 {
    u32::try_from(of.len()).unwrap_or(u32::MAX)
}

/// What a guest's memory held from [`ANSWERS`] to [`HEAP_END`] when its script was over.
#[derive(Clone, Debug, Default)]
pub struct Memory(pub Vec<u8>);

impl Memory {
    /// `bytes` bytes from an address on; zeros where the guest did not get that far.
    pub fn bytes(&self, address: u32, bytes: u32) -> Vec<u8> {
        let place = |address: u32| usize::try_from(address.saturating_sub(ANSWERS)).unwrap_or(0);
        let there = self.0.get(place(address)..).unwrap_or_default();
        let mut taken: Vec<u8> = there.iter().copied().take(place(ANSWERS + bytes)).collect();
        taken.resize(place(ANSWERS + bytes), 0);
        taken
    }

    /// The byte at an address.
    pub fn u8(&self, address: u32) -> u8 {
        u8::from_le_bytes(self.array(address))
    }

    /// The 32 bits at an address.
    pub fn u32(&self, address: u32) -> u32 {
        u32::from_le_bytes(self.array(address))
    }

    /// The 64 bits at an address.
    pub fn u64(&self, address: u32) -> u64 {
        u64::from_le_bytes(self.array(address))
    }

    /// What a call returned.
    pub fn returned(&self, answer: Answer) -> u32 {
        self.u32(answer.0)
    }

    fn array<const N: usize>(&self, address: u32) -> [u8; N] {
        let mut array = [0; N];
        let bytes = self.bytes(address, u32::try_from(N).unwrap_or(0));
        array.copy_from_slice(&bytes);
        array
    }
}
