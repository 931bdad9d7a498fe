//! The code of `_start`: calls of what is in the module and of the host, and the digest.

use wasm_encoder::{BlockType, Function, HeapType, InstructionSink, MemArg, ValType as Local};
use wasmparser::ValType;

use super::given::Given;
use crate::numbers::Numbers;
use crate::preview1::{self, FD_WRITE, FUNCTIONS};

/// The most functions of the module that are called.
const MOST_CALLS: usize = 8;
/// Steps of a module that calls the host, and the functions that it calls itself.
const STEPS: usize = 40;
const HOST_FUNCTIONS: usize = 12;

/// How often one call of the host is repeated: what it takes beyond its price adds up.
const OFTEN: [i32; 3] = [10, 1_000, 100_000];

/// The locals of `_start`.
const DIGEST: u32 = 0;
const VECTOR: u32 = 1;
const AT: u32 = 2;
const END: u32 = 3;
const LOCALS: [(u32, Local); 3] = [(1, Local::I64), (1, Local::V128), (2, Local::I32)];

/// Where the digest lies, then the list of one buffer that is written, then how much was.
const SHOWN: u64 = 0;
const BUFFERS: u64 = 8;
const WRITTEN: i32 = 16;
/// Where paths lie in the memory of a module that calls the host.
const PATHS: i32 = 512;
const PATHS_TEXT: &[u8] =
    b"a\0b/c\0..\0a/../b\0/\0./a/\0../../etc/passwd\0\xff\xfe\0a//////////b\0";

/// The entry point's code and what it imports.
pub(crate) struct Body {
    pub(crate) imports: Vec<preview1::Function>,
    pub(crate) code: Function,
}

impl Body {
    /// Calls functions and forgets what they return.
    pub(crate) fn of_functions(given: &Given<'_>, numbers: &mut Numbers) -> Self {
        let mut writer = Writer::new(given, numbers, Vec::new());
        for function in 0..given.functions.len().min(MOST_CALLS) {
            writer.call(function);
        }
        writer.finish()
    }

    /// Calls functions, and writes a digest of what they returned and left behind to stdout.
    pub(crate) fn with_digest(given: &Given<'_>, numbers: &mut Numbers) -> Self {
        let mut writer = Writer::new(given, numbers, vec![FD_WRITE]);
        for function in 0..given.functions.len().min(MOST_CALLS) {
            writer.call(function);
        }
        writer.digest_globals();
        writer.digest_tables();
        writer.digest_memories();
        writer.show();
        writer.finish()
    }

    /// Calls the host with numbers at which something may change, and functions in between.
    pub(crate) fn with_host_calls(given: &Given<'_>, numbers: &mut Numbers) -> Self {
        let mut imports: Vec<_> = (0..HOST_FUNCTIONS)
            .map(|_| numbers.pick(&FUNCTIONS))
            .collect();
        // Most that it does shall happen before it calls for its own end.
        let ends = numbers.chance(8);
        imports.retain(|function| ends || function.result().is_some());
        let mut writer = Writer::new(given, numbers, imports);
        writer.store_paths();
        for _ in 0..STEPS {
            match writer.numbers.below(8) {
                0 => {
                    let function = writer.numbers.below(given.functions.len());
                    writer.call(function);
                }
                1..4 => writer.store(),
                4 => writer.call_host_often(),
                _ => writer.call_host(),
            }
        }
        writer.finish()
    }
}

struct Writer<'a> {
    given: &'a Given<'a>,
    numbers: &'a mut Numbers,
    imports: Vec<preview1::Function>,
    code: Function,
}

impl<'a> Writer<'a> {
    fn new(
        given: &'a Given<'a>,
        numbers: &'a mut Numbers,
        imports: Vec<preview1::Function>,
    ) -> Self {
        Self {
            given,
            numbers,
            imports,
            code: Function::new(LOCALS),
        }
    }

    fn finish(mut self) -> Body {
        self.code.instructions().end();
        Body {
            imports: self.imports,
            code: self.code,
        }
    }

    /// Calls one of the module's own functions with arbitrary arguments.
    fn call(&mut self, function: usize) {
        let Some(ty) = self.given.type_of(function) else {
            return;
        };
        for &param in ty.params() {
            self.argument(param);
        }
        let own = u32::try_from(function).unwrap_or(u32::MAX);
        let index = self.given.imported + super::count(&self.imports) + own;
        self.code.instructions().call(index);
        for &result in ty.results().iter().rev() {
            fold(&mut self.code.instructions(), result);
        }
    }

    fn argument(&mut self, ty: ValType) {
        let number = self.numbers.draw();
        let (small, signed) = (narrow(number), number.cast_signed());
        // Of floats only those that are numbers: the others have more than one form.
        let float = f32::from(i16::from_le_bytes([number.to_le_bytes()[0], 1]));
        let mut code = self.code.instructions();
        match ty {
            ValType::I32 => code.i32_const(small),
            ValType::I64 => code.i64_const(signed),
            ValType::F32 => code.f32_const(float.into()),
            ValType::F64 => code.f64_const(f64::from(float).into()),
            ValType::V128 => code.v128_const(i128::from(signed)),
            ValType::Ref(_) => code.ref_null(HeapType::FUNC),
        };
    }

    fn call_host(&mut self) {
        let which = self.numbers.below(self.imports.len());
        let Some(&function) = self.imports.get(which) else {
            return;
        };
        for (index, param) in function.params().into_iter().enumerate() {
            let likely = index == 0 && self.numbers.below(4) > 0;
            let (small, large) = (self.edge(), self.long_edge());
            let descriptor = self.numbers.pick(&[0, 1, 2, 3, 3, 3, 4, 4, 5]);
            let mut code = self.code.instructions();
            if param == Local::I64 {
                code.i64_const(large);
            } else {
                code.i32_const(if likely { descriptor } else { small });
            }
        }
        let index = self.given.imported + u32::try_from(which).unwrap_or(u32::MAX);
        self.code.instructions().call(index);
        if function.result().is_some() {
            fold(&mut self.code.instructions(), ValType::I32);
        }
    }

    /// Makes the same call again and again.
    fn call_host_often(&mut self) {
        let times = self.numbers.pick(&OFTEN);
        let mut code = self.code.instructions();
        code.i32_const(times).local_set(AT).loop_(BlockType::Empty);
        self.call_host();
        let mut code = self.code.instructions();
        code.local_get(AT).i32_const(1).i32_sub().local_tee(AT);
        code.br_if(0).end();
    }

    /// Puts a number where host calls find lists, times and flags.
    fn store(&mut self) {
        let address = self
            .numbers
            .pick(&[8, 12, 16, 20, 24, 28, 32, 36, 40, 48, 64, 68, 72]);
        let value = self.edge();
        let mut code = self.code.instructions();
        code.i32_const(address)
            .i32_const(value)
            .i32_store(memory(0, 2));
    }

    fn store_paths(&mut self) {
        for (address, &byte) in (PATHS..).zip(PATHS_TEXT) {
            let mut code = self.code.instructions();
            code.i32_const(address)
                .i32_const(i32::from(byte))
                .i32_store8(memory(0, 0));
        }
    }

    /// A number at which something may change: a descriptor, an address, a length.
    fn edge(&mut self) -> i32 {
        const EDGES: [i32; 34] = [
            0,
            0,
            1,
            1,
            2,
            3,
            3,
            3,
            3,
            4,
            4,
            5,
            6,
            7,
            8,
            16,
            24,
            32,
            64,
            PATHS,
            514,
            518,
            521,
            529,
            1_024,
            4_096,
            65_528,
            65_535,
            65_536,
            i32::MAX,
            i32::MIN,
            -1,
            -16,
            -65_536,
        ];
        if self.numbers.chance(16) {
            narrow(self.numbers.draw())
        } else {
            self.numbers.pick(&EDGES)
        }
    }

    /// The same in 64 bits: an offset, a time, rights.
    fn long_edge(&mut self) -> i64 {
        const EDGES: [i64; 12] = [
            0,
            1,
            2,
            64,
            66,
            4_096,
            65_536,
            1_000_000,
            1 << 32,
            i64::MAX,
            i64::MIN,
            -1,
        ];
        if self.numbers.chance(16) {
            self.numbers.draw().cast_signed()
        } else {
            self.numbers.pick(&EDGES)
        }
    }

    fn digest_globals(&mut self) {
        for (index, &ty) in (0..).zip(&self.given.globals) {
            let mut code = self.code.instructions();
            code.global_get(index);
            fold(&mut code, ty);
        }
    }

    fn digest_tables(&mut self) {
        for index in 0..self.given.tables {
            let mut code = self.code.instructions();
            code.table_size(index);
            fold(&mut code, ValType::I32);
        }
    }

    fn digest_memories(&mut self) {
        for index in 0..self.given.memories {
            let mut code = self.code.instructions();
            code.memory_size(index)
                .i32_const(16)
                .i32_shl()
                .local_set(END);
            code.i32_const(0).local_set(AT);
            code.block(BlockType::Empty).loop_(BlockType::Empty);
            code.local_get(AT).local_get(END).i32_ge_u().br_if(1);
            code.local_get(AT).i64_load(memory(index, 3));
            fold(&mut code, ValType::I64);
            code.local_get(AT).i32_const(8).i32_add().local_set(AT);
            code.br(0).end().end();
        }
    }

    /// Writes the digest to stdout.
    fn show(&mut self) {
        let at = |offset, align| MemArg {
            offset,
            ..memory(0, align)
        };
        let mut code = self.code.instructions();
        code.i32_const(0).local_get(DIGEST).i64_store(at(SHOWN, 3));
        code.i32_const(0).i32_const(0).i32_store(at(BUFFERS, 2));
        code.i32_const(0).i32_const(8).i32_store(at(BUFFERS + 4, 2));
        code.i32_const(1)
            .i32_const(8)
            .i32_const(1)
            .i32_const(WRITTEN);
        code.call(self.given.imported).drop();
    }
}

/// Takes a value from the stack into the digest.
fn fold(code: &mut InstructionSink<'_>, ty: ValType) {
    match ty {
        ValType::I32 => {
            code.i64_extend_i32_u();
        }
        ValType::I64 => {}
        ValType::F32 => {
            code.i32_reinterpret_f32().i64_extend_i32_u();
        }
        ValType::F64 => {
            code.i64_reinterpret_f64();
        }
        ValType::V128 => {
            code.local_tee(VECTOR).i64x2_extract_lane(0);
            code.local_get(VECTOR).i64x2_extract_lane(1);
            code.i64_const(7).i64_rotl().i64_xor();
        }
        ValType::Ref(_) => {
            code.ref_is_null().i64_extend_i32_u();
        }
    }
    code.local_get(DIGEST).i64_xor();
    code.i64_const(0x100_0000_01b3).i64_mul();
    code.i64_const(29).i64_rotl().local_set(DIGEST);
}

fn memory(memory_index: u32, align: u32) -> MemArg {
    MemArg {
        offset: 0,
        align,
        memory_index,
    }
}

fn narrow(number: u64) -> i32 {
    let [a, b, c, d, ..] = number.to_le_bytes();
    i32::from_le_bytes([a, b, c, d])
}
