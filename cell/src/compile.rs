//! The compiler: turns one module into code, jailed, and ends.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;

use agentvm_cell_api::problem::{Problem, Reason};
use agentvm_cell_api::warden::{JailLevel, ModuleKind};
use agentvm_runtime::{Compiled, Engine, EngineSettings, Kind, ModuleError};
use clap::Args;

use crate::cell::tie_to_warden;
use crate::control::{self, ControlError, FromCompiler, ToCompiler};
use crate::jail::{self, Bounds};
use crate::warden::jail_level;

/// Descriptors that a compiler may have open.
const MAX_OPEN_FILES: u64 = agentvm_policy::budget::COMPILER_OPEN_FILES.value;

/// How much less of the CPU a compiler gets than cells do.
const NICENESS: i32 = 15;

/// The longest message about a module, in characters.
const MAX_MESSAGE_CHARS: usize = agentvm_policy::budget::MODULE_MESSAGE_CHARS.usize();

/// How one compilation runs. The module arrives over stdin.
#[derive(Clone, Debug, Args)]
pub struct Settings {
    /// MiB of memory beyond what the engine itself reserves.
    #[arg(long, value_name = "MIB")]
    pub memory_mib: u64,
    /// CPU seconds over all threads.
    #[arg(long, value_name = "SECONDS")]
    pub cpu_seconds: u64,
    /// The weakest jail to compile in.
    #[arg(long, default_value = "full", value_parser = jail_level, value_name = "LEVEL")]
    pub require_jail: JailLevel,
}

/// Why nothing was compiled. Never the module's fault.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The warden is gone or speaks another language.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// It was told that much already.
    #[error("the compiler can't run: {0}")]
    Told(String),
}

/// Compiles the module that the warden sends over stdin.
pub fn run(settings: &Settings) -> Result<(), CompileError> {
    let control = take_stdin()?;
    let engine = match prepare(settings) {
        Ok(engine) => engine,
        Err(message) => {
            control::send(
                &control,
                &FromCompiler::Failed {
                    message: message.clone(),
                },
                &[],
            )?;
            return Err(CompileError::Told(message));
        }
    };
    control::send(&control, &FromCompiler::Jailed, &[])?;
    let Some((ToCompiler::Compile, descriptors)) = control::receive(&control)? else {
        return Ok(());
    };
    let answer = match <[OwnedFd; 2]>::try_from(descriptors) {
        Ok([module, code]) => compile(&engine, &module.into(), code.into()),
        Err(other) => FromCompiler::Failed {
            message: format!("{} descriptors came instead of 2", other.len()),
        },
    };
    Ok(control::send(&control, &answer, &[])?)
}

/// The control channel, out of the way of whoever reads stdin.
pub(crate) fn take_stdin() -> Result<OwnedFd, ControlError> {
    Ok(rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?)
}

/// Builds the engine, which still needs files, then closes the jail behind itself.
fn prepare(settings: &Settings) -> Result<Engine, String> {
    tie_to_warden().map_err(|errno| errno.to_string())?;
    // A compiler that can't be nice is still a compiler.
    let _nice = rustix::process::nice(NICENESS);
    let engine = Engine::new(&EngineSettings { slots: 0 }).map_err(|error| error.to_string())?;
    let bounds = Bounds {
        open_files: MAX_OPEN_FILES,
        address_space_bytes: Some(settings.memory_mib << 20),
        cpu_seconds: Some(settings.cpu_seconds),
    };
    jail::enter(&bounds, settings.require_jail).map_err(|error| error.to_string())?;
    Ok(engine)
}

fn compile(engine: &Engine, module: &File, mut code: File) -> FromCompiler {
    let wasm = match read(module) {
        Ok(wasm) => wasm,
        Err(error) => {
            return FromCompiler::Failed {
                message: format!("the module can't be read: {error}"),
            };
        }
    };
    match agentvm_runtime::compile(engine, wasm) {
        Ok(Compiled { kind, code: bytes }) => match code.write_all(&bytes) {
            Ok(()) => FromCompiler::Compiled {
                kind: module_kind(kind),
            },
            Err(error) => FromCompiler::Failed {
                message: format!("the code can't be written: {error}"),
            },
        },
        Err(error) => FromCompiler::Refused(problem(&error)),
    }
}

/// Reads a whole file from its start; its position belongs to the warden too.
fn read(file: &File) -> std::io::Result<Vec<u8>> {
    use std::os::unix::fs::FileExt;
    let bytes = rustix::fs::fstat(file)?.st_size;
    let mut wasm = vec![0; usize::try_from(bytes).unwrap_or(0)];
    file.read_exact_at(&mut wasm, 0)?;
    Ok(wasm)
}

/// A runtime's [`Kind`] on the wire.
pub(crate) fn module_kind(kind: Kind) -> ModuleKind {
    match kind {
        Kind::Core => ModuleKind::Core,
        Kind::Component => ModuleKind::Component,
    }
}

/// What the runtime holds against a module, for whoever sent it.
fn problem(error: &ModuleError) -> Problem {
    let reason = match error {
        ModuleError::NotWasm { .. }
        | ModuleError::Invalid { .. }
        | ModuleError::NoEntryPoint { .. }
        | ModuleError::Oversized { .. } => Reason::InvalidModule,
        ModuleError::MissingImports { .. } => Reason::MissingImports,
        ModuleError::TooLarge { .. } | ModuleError::Compile { .. } => Reason::CompileLimit,
    };
    Problem {
        reason,
        message: error.to_string().chars().take(MAX_MESSAGE_CHARS).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_short_whatever_the_module_is_called() {
        let names = vec!["x".repeat(10_000)];
        let problem = problem(&ModuleError::MissingImports { names });
        assert_eq!(problem.reason, Reason::MissingImports);
        assert_eq!(problem.message.chars().count(), MAX_MESSAGE_CHARS);
    }
}
