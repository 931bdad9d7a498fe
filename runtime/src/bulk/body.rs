//! One function of a program: its code with the tests in front of what is cut.

use wasm_encoder::{BlockType, Encode, InstructionSink, ValType};
use wasmparser::{FunctionBody, Operator};

use super::Result;
use super::loops::Bulk;
use super::section::between;

/// The first byte of each instruction that may be cut, and of a few others.
const PREFIX: u8 = 0xfc;
/// The most locals that a function may have, its parameters included.
const MOST_LOCALS: u32 = 50_000;

/// What is known of the length that an instruction is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    /// It stands directly in front of the instruction, and is at most a piece.
    Short,
    /// It stands there, and is more.
    Long,
    /// It is known when the program runs.
    Open,
}

impl Length {
    /// What `operator` says of the length of an instruction that it stands directly in front of.
    fn of(operator: &Operator<'_>, piece: u32) -> Self {
        let Operator::I32Const { value } = *operator else {
            return Self::Open;
        };
        if value.cast_unsigned() <= piece {
            Self::Short
        } else {
            Self::Long
        }
    }
}

/// Calls `found` with each instruction of `body` that may work on more than `piece` bytes, with
/// where it stands, and with what is known of its length.
pub(super) fn find(
    body: &FunctionBody<'_>,
    segments: &[u32],
    piece: u32,
    mut found: impl FnMut(usize, Bulk, Length) -> Result<()>,
) -> Result<()> {
    if !body.as_bytes().contains(&PREFIX) {
        return Ok(());
    }
    let mut operators = body.get_operators_reader()?;
    let mut length = Length::Open;
    while !operators.eof() {
        let (operator, at) = operators.read_with_offset()?;
        let bulk = Bulk::of(&operator, segments).filter(|bulk| bulk.most() > piece);
        if let Some(bulk) = bulk
            && length != Length::Short
        {
            found(at, bulk, length)?;
        }
        length = Length::of(&operator, piece);
    }
    Ok(())
}

/// How the functions of one module are rewritten.
pub(super) struct Rewriting<'a, F> {
    pub(super) segments: &'a [u32],
    pub(super) piece: u32,
    /// The type of the functions that are added.
    pub(super) loop_type: u32,
    /// The number of the one for an instruction.
    pub(super) function: F,
}

impl<F: Fn(Bulk) -> Result<u32>> Rewriting<'_, F> {
    /// Writes `body`, which has `parameters`.
    pub(super) fn write(
        &self,
        out: &mut Vec<u8>,
        body: &FunctionBody<'_>,
        parameters: u32,
    ) -> Result<()> {
        let bytes = body.as_bytes();
        let base = body.range().start;
        let mut new = Vec::new();
        let mut local = None;
        let mut copied = 0;
        find(body, self.segments, self.piece, |at, bulk, length| {
            if new.is_empty() {
                (local, copied) = declare_length(&mut new, body, parameters)?;
            }
            new.extend(between(bytes, copied, at - base)?);
            copied = at - base;
            self.test(&mut new, bulk, local.filter(|_| length == Length::Open))
        })?;
        new.extend(between(bytes, copied, bytes.len())?);
        new.as_slice().encode(out);
        Ok(())
    }

    /// Writes what stands in front of an instruction: a call of its function, which does nothing
    /// where one piece is all there is, and a test that spares it where a local can hold the length.
    fn test(&self, out: &mut Vec<u8>, bulk: Bulk, length: Option<u32>) -> Result<()> {
        let function = (self.function)(bulk)?;
        let mut code = InstructionSink::new(out);
        match length {
            Some(length) => code
                .local_tee(length)
                .local_get(length)
                .i32_const(self.piece.cast_signed())
                .i32_gt_u()
                .if_(BlockType::FunctionType(self.loop_type))
                .call(function)
                .end(),
            None => code.call(function),
        };
        Ok(())
    }
}

/// Writes the locals of `body` and one more for a length, where there may be one more. Returns its
/// number, and where the code begins.
fn declare_length(
    out: &mut Vec<u8>,
    body: &FunctionBody<'_>,
    parameters: u32,
) -> Result<(Option<u32>, usize)> {
    let base = body.range().start;
    let mut locals = body.get_locals_reader()?;
    let (groups, first) = (locals.get_count(), locals.original_position());
    let mut count = parameters;
    for _ in 0..groups {
        count = count.saturating_add(locals.read()?.0);
    }
    let code = locals.original_position() - base;
    let own = between(body.as_bytes(), first - base, code)?;
    let more = count < MOST_LOCALS;
    (groups + u32::from(more)).encode(out);
    out.extend(own);
    if more {
        1_u32.encode(out);
        ValType::I32.encode(out);
    }
    Ok((more.then_some(count), code))
}
