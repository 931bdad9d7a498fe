//! Runs a module in a VM, from its bytes to everything dropped, and measures.

use std::io::{Seek as _, Write as _};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use agentvm_policy::{EndReason, Grants};
use agentvm_runtime::vfs::{Access, Budget, Filesystem, Mount, Source};
use agentvm_runtime::{
    Ending, Engine, EngineSettings, Kept, Program, Usage, VmConfig, compile, prepare, thread_cpu,
};

use crate::clock;
use crate::module::Module;
use crate::outcome::{Outcome, TrapKind};
use crate::shape::Shape;

/// More VMs than there are threads that run one each.
const SLOTS: u32 = 64;
/// Bytes that an instruction works on in one step: so few that modules as small as these have more.
const PIECE_BYTES: u32 = 500;

/// A run that is over.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) ending: Ending,
    pub(crate) usage: Usage,
    /// What it wrote to stdout and stderr.
    pub(crate) written: Vec<u8>,
    /// Time of a processor from its start until all of it was dropped.
    pub(crate) cpu: Duration,
    /// The same by the clock of this process.
    pub(crate) wall: Duration,
}

impl Ran {
    /// The end in words that another engine has, too.
    pub(crate) fn outcome(&self) -> Outcome {
        match self.ending.reason {
            EndReason::Completed => Outcome::Completed(self.written.clone()),
            EndReason::OutOfFuel => Outcome::OutOfFuel,
            EndReason::Trap => match TrapKind::of_message(&self.ending.message) {
                Some(kind) => Outcome::Trapped(kind),
                None => Outcome::Otherwise(self.ending.message.clone()),
            },
            EndReason::Error
            | EndReason::MemoryLimit
            | EndReason::DeadlineExceeded
            | EndReason::Stopped
            | EndReason::Evicted
            | EndReason::Fenced
            | EndReason::HostError => Outcome::Otherwise(self.ending.message.clone()),
        }
    }
}

/// A module that was compiled and loaded.
#[derive(Debug)]
pub(crate) struct Loaded(Program);

/// Compiles a module and loads its code, as warden and cell do.
///
/// # Errors
///
/// Why it was refused.
pub(crate) fn load(module: &Module) -> anyhow::Result<Loaded> {
    let engine = engine()?;
    let compiled = compile(engine, &module.wasm)?;
    let mut file = tempfile::tempfile()?;
    file.write_all(&compiled.code)?;
    file.rewind()?;
    Ok(Loaded(Program::load(engine, compiled.kind, file)?))
}

fn engine() -> anyhow::Result<&'static Engine> {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    if let Some(engine) = ENGINE.get() {
        return Ok(engine);
    }
    let engine = Engine::new(&EngineSettings { slots: SLOTS })?.in_pieces_of(PIECE_BYTES);
    Ok(ENGINE.get_or_init(|| engine))
}

/// Runs it under the limits of its shape, on this thread.
///
/// # Errors
///
/// Where this machine can't.
pub(crate) fn run(program: &Loaded, shape: Shape) -> anyhow::Result<Ran> {
    let tokio = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    let written = Arc::new(Kept::default());
    let (started, cpu) = (clock::now(), thread_cpu());
    let config = VmConfig {
        args: vec!["module".to_owned(), "one".to_owned()],
        env: vec![("NAME".to_owned(), "value".to_owned())],
        grants: Grants {
            limits: shape.limits(),
            ..Grants::default()
        },
        filesystem: files(shape)?,
        egress: None,
        stdout: written.clone(),
        stderr: written.clone(),
    };
    let (vm, handle) = prepare(&program.0, config);
    let ending = tokio.block_on(vm.run());
    let usage = handle.usage();
    drop(handle);
    Ok(Ran {
        ending,
        usage,
        cpu: thread_cpu().saturating_sub(cpu),
        wall: clock::now().saturating_sub(started),
        written: written.bytes(),
    })
}

/// Only those that call the host have files.
fn files(shape: Shape) -> anyhow::Result<Filesystem> {
    let limits = shape.limits();
    let budget = Budget {
        bytes: limits.storage_bytes,
        inodes: limits.inodes,
    };
    let root = Mount {
        path: "/".to_owned(),
        access: Access::ReadWrite,
        source: Source::Empty { max_bytes: None },
    };
    Ok(match shape {
        Shape::Calls => Filesystem::new(budget, &[root], 0)?,
        Shape::Pure | Shape::Wild | Shape::Mangled => Filesystem::new(budget, &[], 0)?,
    })
}
