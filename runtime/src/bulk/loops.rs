//! The instructions that are cut, and the functions that do all but the last piece of each.

use wasm_encoder::{BlockType, Function, InstructionSink, ValType};
use wasmparser::Operator;

/// The parameters of each of these functions, and its results: where to, from where or with what,
/// and how many bytes.
const TO: u32 = 0;
const FROM: u32 = 1;
const LENGTH: u32 = 2;
/// The types of both.
pub(super) const ARGUMENTS: [ValType; 3] = [ValType::I32; 3];

/// An instruction that may work on more than a piece of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Bulk {
    /// `memory.fill`.
    Fill { memory: u32 },
    /// `memory.copy`.
    Copy { to: u32, from: u32 },
    /// `memory.init` of a segment that has so many bytes until it is dropped.
    Init {
        memory: u32,
        segment: u32,
        bytes: u32,
    },
}

impl Bulk {
    /// The one that `operator` is; `segments` are the bytes of each segment of data.
    pub(super) fn of(operator: &Operator<'_>, segments: &[u32]) -> Option<Self> {
        if let Operator::MemoryFill { mem } = *operator {
            return Some(Self::Fill { memory: mem });
        }
        if let Operator::MemoryCopy { dst_mem, src_mem } = *operator {
            return Some(Self::Copy {
                to: dst_mem,
                from: src_mem,
            });
        }
        if let Operator::MemoryInit { data_index, mem } = *operator {
            let bytes = usize::try_from(data_index).ok();
            let bytes = bytes.and_then(|index| segments.get(index));
            return bytes.map(|bytes| Self::Init {
                memory: mem,
                segment: data_index,
                bytes: *bytes,
            });
        }
        None
    }

    /// The most bytes that it can work on.
    pub(super) const fn most(self) -> u32 {
        match self {
            Self::Fill { .. } | Self::Copy { .. } => u32::MAX,
            Self::Init { bytes, .. } => bytes,
        }
    }

    /// What its function is called.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Fill { .. } => "memory.fill",
            Self::Copy { .. } => "memory.copy",
            Self::Init { .. } => "memory.init",
        }
    }

    /// Its function: takes the instruction's arguments and returns those of the last piece.
    pub(super) fn function(self, piece: u32) -> Function {
        let mut function = Function::new([]);
        let mut code = Code {
            out: function.instructions(),
            piece: piece.cast_signed(),
        };
        match self {
            Self::Fill { memory } => code.fill(memory),
            Self::Copy { to, from } => code.copy(to, from),
            Self::Init {
                memory,
                segment,
                bytes,
            } => code.init(memory, segment, bytes),
        }
        code.give_back();
        code.out.end();
        function
    }
}

/// The code of one function.
struct Code<'a> {
    out: InstructionSink<'a>,
    piece: i32,
}

impl Code<'_> {
    fn fill(&mut self, memory: u32) {
        self.leave_unless_within(TO, memory);
        self.each_piece(|code| {
            code.arguments().out.memory_fill(memory);
            code.advance(TO);
            code.shorten();
        });
    }

    /// Upwards, so that what is still to be read was not written yet; where it goes up in the same
    /// memory, downwards.
    fn copy(&mut self, to: u32, from: u32) {
        self.leave_unless_within(TO, to);
        self.leave_unless_within(FROM, from);
        if to == from {
            self.out.local_get(TO).local_get(FROM).i32_gt_u();
            self.out.if_(BlockType::Empty);
            self.each_piece(|code| {
                code.shorten();
                code.arguments_of_the_end().out.memory_copy(to, from);
            });
            self.give_back();
            self.out.return_().end();
        }
        self.each_piece(|code| {
            code.arguments().out.memory_copy(to, from);
            code.advance(TO);
            code.advance(FROM);
            code.shorten();
        });
    }

    /// Downwards: a segment that was dropped is too short for the first piece already.
    fn init(&mut self, memory: u32, segment: u32, bytes: u32) {
        self.leave_unless_within(TO, memory);
        self.leave_if_above(FROM, |out| {
            out.i64_const(bytes.into());
        });
        self.each_piece(|code| {
            code.shorten();
            code.arguments_of_the_end().out.memory_init(memory, segment);
        });
    }

    /// Returns what it was given where `start` and the length lead out of a memory.
    fn leave_unless_within(&mut self, start: u32, memory: u32) {
        const PAGE_BITS: i64 = 16;
        self.leave_if_above(start, |out| {
            out.memory_size(memory).i64_extend_i32_u();
            out.i64_const(PAGE_BITS).i64_shl();
        });
    }

    fn leave_if_above(&mut self, start: u32, end: impl FnOnce(&mut InstructionSink<'_>)) {
        self.out.local_get(start).i64_extend_i32_u();
        self.out.local_get(LENGTH).i64_extend_i32_u().i64_add();
        end(&mut self.out);
        self.out.i64_gt_u().if_(BlockType::Empty);
        self.give_back();
        self.out.return_().end();
    }

    /// Repeats `body` while more than a piece is left: at each turn of a loop a guest pays, gives
    /// way, and can be stopped.
    fn each_piece(&mut self, body: impl FnOnce(&mut Self)) {
        self.out.loop_(BlockType::Empty);
        self.out.local_get(LENGTH).i32_const(self.piece).i32_gt_u();
        self.out.if_(BlockType::Empty);
        body(self);
        self.out.br(1).end().end();
    }

    /// Those of a piece that begins where the arguments say.
    fn arguments(&mut self) -> &mut Self {
        self.out.local_get(TO).local_get(FROM).i32_const(self.piece);
        self
    }

    /// Those of a piece that begins behind what is left.
    fn arguments_of_the_end(&mut self) -> &mut Self {
        self.out.local_get(TO).local_get(LENGTH).i32_add();
        self.out.local_get(FROM).local_get(LENGTH).i32_add();
        self.out.i32_const(self.piece);
        self
    }

    fn advance(&mut self, start: u32) {
        self.out.local_get(start).i32_const(self.piece).i32_add();
        self.out.local_set(start);
    }

    fn shorten(&mut self) {
        self.out.local_get(LENGTH).i32_const(self.piece).i32_sub();
        self.out.local_set(LENGTH);
    }

    fn give_back(&mut self) {
        self.out.local_get(TO).local_get(FROM).local_get(LENGTH);
    }
}
