//! Create, run and drop a VM in this process, code cached.

use std::io::{Seek as _, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use agentvm_policy::{EndReason, Grants, LimitField, Limits};
use agentvm_runtime::vfs::{Budget, Filesystem};
use agentvm_runtime::{Engine, EngineSettings, Output, Program, VmConfig, compile, prepare};
use anyhow::{Context, Result, ensure};

use crate::samples::Samples;

/// Says when the first byte was written.
#[derive(Debug, Default)]
struct FirstByte(Mutex<Option<Instant>>);

impl Output for FirstByte {
    fn write(&self, _bytes: &[u8]) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert_with(Instant::now);
    }
}

/// The two intervals that matter, in microseconds.
#[derive(Debug, Default)]
pub(crate) struct Timings {
    /// From nothing to everything dropped.
    pub(crate) whole: Samples,
    /// From nothing to the first byte of output.
    pub(crate) first_byte: Samples,
}

/// An engine and one program in it, ready to start VMs.
pub(crate) struct Bench {
    program: Program,
    _engine: Engine,
}

impl Bench {
    /// Compiles `wasm` and loads the code as a cell does, from a file.
    pub(crate) fn load(wasm: &[u8]) -> Result<Self> {
        let engine = Engine::new(&EngineSettings { slots: 64 })?;
        let compiled = compile(&engine, wasm)?;
        let mut file = tempfile::tempfile()?;
        file.write_all(&compiled.code)?;
        file.rewind()?;
        let program = Program::load(&engine, compiled.kind, file)?;
        Ok(Self {
            program,
            _engine: engine,
        })
    }

    /// Reads a module from `path` and loads it.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        Self::load(&std::fs::read(path).with_context(|| path.display().to_string())?)
    }

    /// Runs it `n` times after a warm-up of `n / 10`, each to its end.
    pub(crate) async fn run(&self, args: &[&str], n: usize) -> Result<Timings> {
        let mut timings = Timings::default();
        for _ in 0..n / 10 {
            self.run_once(args, &mut Timings::default()).await?;
        }
        for _ in 0..n {
            self.run_once(args, &mut timings).await?;
        }
        Ok(timings)
    }

    async fn run_once(&self, args: &[&str], timings: &mut Timings) -> Result<()> {
        let output = Arc::new(FirstByte::default());
        let config = VmConfig {
            args: args.iter().map(|&arg| arg.to_owned()).collect(),
            env: Vec::new(),
            grants: generous(),
            filesystem: Filesystem::new(Budget::default(), &[], 0)?,
            stdout: output.clone(),
            stderr: Arc::new(FirstByte::default()),
        };
        let start = Instant::now();
        let (vm, handle) = prepare(&self.program, config);
        let ending = vm.run().await;
        drop(handle);
        timings.whole.push_us(start.elapsed());
        ensure!(
            ending.reason == EndReason::Completed,
            "{}: {}",
            ending.reason.as_str(),
            ending.message
        );
        let first = *output.0.lock().unwrap_or_else(PoisonError::into_inner);
        timings.first_byte.push_us(
            first
                .context("the guest printed nothing")?
                .duration_since(start),
        );
        Ok(())
    }
}

/// One whole core and 512 MiB: the peers have no quota either.
pub(crate) fn generous() -> Grants {
    let limits = Limits {
        memory_bytes: 512 << 20,
        cpu_millicores: LimitField::Cpu.max(),
        fuel: None,
        timeout_ms: None,
        log_rate_bytes_per_second: 1 << 20,
        storage_bytes: LimitField::Storage.max(),
        inodes: LimitField::Inodes.max(),
        open_files: LimitField::OpenFiles.max(),
    };
    Grants {
        limits,
        clock: None,
    }
}
