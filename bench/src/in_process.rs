//! Create, run and drop a VM in this process, code cached.

use std::io::{Seek as _, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use agentvm_policy::{EndReason, Grants, LimitField, Limits};
use agentvm_runtime::vfs::{Access, Budget, Filesystem, Mount, Source};
use agentvm_runtime::{Engine, EngineSettings, Kept, Output, Program, VmConfig, compile, prepare};
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
        let config = config(args, no_files()?, output.clone());
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

impl Bench {
    /// Runs it once with an empty, writable `/`; what it printed, and how long it took.
    pub(crate) async fn run_with_files(&self, args: &[&str]) -> Result<(String, Duration)> {
        let output = Arc::new(Kept::default());
        let config = config(args, empty_root()?, output.clone());
        let start = Instant::now();
        let (vm, handle) = prepare(&self.program, config);
        let ending = vm.run().await;
        drop(handle);
        let took = start.elapsed();
        ensure!(
            ending.reason == EndReason::Completed,
            "{}: {}",
            ending.reason.as_str(),
            ending.message
        );
        Ok((String::from_utf8(output.bytes())?, took))
    }
}

fn config(args: &[&str], filesystem: Filesystem, stdout: Arc<dyn Output>) -> VmConfig {
    VmConfig {
        args: args.iter().map(|&arg| arg.to_owned()).collect(),
        env: Vec::new(),
        grants: generous(),
        filesystem,
        egress: None,
        stdout,
        stderr: Arc::new(Kept::default()),
    }
}

fn no_files() -> Result<Filesystem> {
    Ok(Filesystem::new(Budget::default(), &[], 0)?)
}

/// A filesystem of one empty directory, as large as a VM's can be.
pub(crate) fn empty_root() -> Result<Filesystem> {
    let budget = Budget {
        bytes: LimitField::Storage.max(),
        inodes: LimitField::Inodes.max(),
    };
    let root = Mount {
        path: "/".to_owned(),
        access: Access::ReadWrite,
        source: Source::Empty { max_bytes: None },
    };
    Ok(Filesystem::new(budget, &[root], 0)?)
}

/// One whole core and 512 MiB: the peers have no quota either.
pub(crate) fn generous() -> Grants {
    let limits = Limits {
        memory_bytes: 512 << 20,
        cpu_millicores: LimitField::Cpu.max(),
        fuel: None,
        timeout_ms: None,
        log_rate_bytes_per_second: 1 << 20,
        log_total_bytes: LimitField::LogTotal.max(),
        storage_bytes: LimitField::Storage.max(),
        inodes: LimitField::Inodes.max(),
        open_files: LimitField::OpenFiles.max(),
        connections: LimitField::Connections.max(),
        egress_bytes: LimitField::Egress.max(),
        egress_bytes_per_second: LimitField::EgressRate.max(),
    };
    Grants {
        limits,
        ..Grants::default()
    }
}
