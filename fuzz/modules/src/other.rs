//! The other engine: an interpreter.

use wasmi::errors::{ErrorKind, InstantiationError, MemoryError, TableError};
use wasmi::{
    Caller, CompilationMode, Config, Engine, Error, Extern, Linker, Module, Store, TrapCode,
};

use crate::outcome::{Outcome, TrapKind};
use crate::preview1;

/// More calls in each other than the runtime's stack takes.
const DEPTH: usize = 100_000;

/// Runs a module whose one import is `fd_write`.
///
/// # Errors
///
/// What it says of a module that it does not take.
pub(crate) fn run(wasm: &[u8], fuel: u64) -> Result<Outcome, Error> {
    let engine = engine();
    let module = Module::new(&engine, wasm)?;
    let mut linker = Linker::new(&engine);
    linker.func_wrap(preview1::MODULE, preview1::FD_WRITE.0, fd_write)?;
    let mut store = Store::new(&engine, Vec::new());
    store.set_fuel(fuel)?;
    let ended = linker
        .instantiate_and_start(&mut store, &module)
        .and_then(|instance| instance.get_typed_func::<(), ()>(&store, "_start"))
        .and_then(|start| start.call(&mut store, ()));
    Ok(match ended {
        Ok(()) => Outcome::Completed(store.into_data()),
        Err(error) => failed(&error),
    })
}

/// An engine for one module: it keeps the code of all that it ever translated.
fn engine() -> Engine {
    let mut config = Config::default();
    config
        .consume_fuel(true)
        .compilation_mode(CompilationMode::Eager)
        .set_max_recursion_depth(DEPTH)
        .set_max_stack_height(64 << 20)
        .wasm_custom_page_sizes(false)
        .wasm_wide_arithmetic(false);
    Engine::new(&config)
}

/// Keeps what the one buffer of the list holds.
fn fd_write(
    mut caller: Caller<'_, Vec<u8>>,
    _descriptor: i32,
    buffers: u32,
    _count: i32,
    _written: i32,
) -> Result<i32, Error> {
    let Some(Extern::Memory(memory)) = caller.get_export("memory") else {
        return Err(Error::new("no memory"));
    };
    let word = |address: u32| -> Result<u32, Error> {
        let mut word = [0; 4];
        memory.read(&caller, place(address), &mut word)?;
        Ok(u32::from_le_bytes(word))
    };
    let (address, length) = (word(buffers)?, word(buffers.saturating_add(4))?);
    let mut bytes = vec![0; place(length).min(64)];
    memory.read(&caller, place(address), &mut bytes)?;
    caller.data_mut().extend(bytes);
    Ok(0)
}

fn place(address: u32) -> usize {
    usize::try_from(address).unwrap_or(usize::MAX)
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "wasmi's own enum: whatever else it is, it is no end of ours"
)]
fn failed(error: &Error) -> Outcome {
    let kind = match error.as_trap_code() {
        Some(TrapCode::UnreachableCodeReached) => TrapKind::Unreachable,
        Some(TrapCode::MemoryOutOfBounds) => TrapKind::MemoryOutOfBounds,
        Some(TrapCode::TableOutOfBounds) => TrapKind::TableOutOfBounds,
        Some(TrapCode::IndirectCallToNull) => TrapKind::NullElement,
        Some(TrapCode::BadSignature) => TrapKind::WrongType,
        Some(TrapCode::IntegerDivisionByZero) => TrapKind::DivisionByZero,
        Some(TrapCode::IntegerOverflow) => TrapKind::IntegerOverflow,
        Some(TrapCode::BadConversionToInteger) => TrapKind::NoInteger,
        Some(TrapCode::StackOverflow) => TrapKind::StackExhausted,
        Some(TrapCode::OutOfFuel) => return Outcome::OutOfFuel,
        Some(_) | None => match error.kind() {
            ErrorKind::Instantiation(InstantiationError::ElementSegmentDoesNotFit { .. }) => {
                TrapKind::TableOutOfBounds
            }
            // What a bulk instruction says, where it fails before it begins.
            ErrorKind::Table(
                TableError::InitOutOfBounds
                | TableError::FillOutOfBounds
                | TableError::CopyOutOfBounds
                | TableError::SetOutOfBounds,
            ) => TrapKind::TableOutOfBounds,
            ErrorKind::Memory(MemoryError::OutOfBoundsAccess) => TrapKind::MemoryOutOfBounds,
            kind => return Outcome::Otherwise(format!("{kind:?}")),
        },
    };
    Outcome::Trapped(kind)
}
