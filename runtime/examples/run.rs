//! Runs a module, binary or text, the way a cell does, with unlimited fuel and one whole core:
//! `run [--bench N | --park N] [--memory MIB] [--env NAME=VALUE]... [--mount PATH]... [--stop-after MS]
//! FILE ARGS...`; each mount is an empty directory that can be written.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "an example that prints what it measures"
)]

use std::fs::File;
use std::io::{Seek, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use agentvm_policy::{EndReason, Grants, Limits};
use agentvm_runtime::vfs::{Access, Budget, Filesystem, Mount, Source};
use agentvm_runtime::{
    Ending, Engine, EngineSettings, Output, Program, Usage, VmConfig, compile, prepare,
};

type Failure = Box<dyn std::error::Error>;

/// Passes a guest's output on, or drops it while measuring.
enum Sink {
    Stdout,
    Stderr,
    Dropped,
}

impl Output for Sink {
    fn write(&self, bytes: &[u8]) {
        let _ = match self {
            Self::Stdout => std::io::stdout().write_all(bytes),
            Self::Stderr => std::io::stderr().write_all(bytes),
            Self::Dropped => Ok(()),
        };
    }
}

struct Options {
    runs: Option<usize>,
    parked: Option<u32>,
    memory_bytes: u64,
    env: Vec<(String, String)>,
    mounts: Vec<Mount>,
    stop_after: Option<Duration>,
    args: Vec<String>,
}

impl Options {
    fn parse() -> Result<Self, Failure> {
        let mut options = Self {
            runs: None,
            parked: None,
            memory_bytes: 1 << 30,
            env: Vec::new(),
            mounts: Vec::new(),
            stop_after: None,
            args: Vec::new(),
        };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or("a value is missing");
            match word.as_str() {
                "--bench" => options.runs = Some(value()?.parse()?),
                "--park" => options.parked = Some(value()?.parse()?),
                "--memory" => options.memory_bytes = value()?.parse::<u64>()? << 20,
                "--stop-after" => {
                    options.stop_after = Some(Duration::from_millis(value()?.parse()?));
                }
                "--env" => {
                    let pair = value()?;
                    let (name, value) = pair.split_once('=').ok_or("--env takes NAME=VALUE")?;
                    options.env.push((name.to_owned(), value.to_owned()));
                }
                "--mount" => options.mounts.push(Mount {
                    path: value()?,
                    access: Access::ReadWrite,
                    source: Source::Empty { max_bytes: None },
                }),
                _ => {
                    options.args = std::iter::once(word).chain(words).collect();
                    break;
                }
            }
        }
        Ok(options)
    }

    fn vm(&self, stdout: Sink, stderr: Sink) -> Result<VmConfig, Failure> {
        let limits = Limits {
            memory_bytes: self.memory_bytes,
            cpu_millicores: 1_000,
            open_files: 1_024,
            ..Limits::default()
        };
        let budget = Budget {
            bytes: 1 << 30,
            inodes: 1_000_000,
        };
        Ok(VmConfig {
            args: self.args.clone(),
            env: self.env.clone(),
            grants: Grants {
                limits,
                ..Grants::default()
            },
            filesystem: Filesystem::new(budget, &self.mounts, 0)?,
            egress: None,
            stdout: Arc::new(stdout),
            stderr: Arc::new(stderr),
        })
    }
}

#[tokio::main]
async fn main() -> Result<ExitCode, Failure> {
    let options = Options::parse()?;
    let path = options.args.first().ok_or("name a module")?;
    let program = load(path, options.parked.unwrap_or(16))?;
    if let Some(vms) = options.parked {
        park(&program, &options, vms).await?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(runs) = options.runs {
        bench(&program, &options, runs).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let (ending, usage) = run_once(&program, &options).await?;
    eprintln!("{:?}: {}\n{usage:?}", ending.reason, ending.message);
    Ok(ending
        .exit_code
        .and_then(|code| u8::try_from(code).ok())
        .unwrap_or(1)
        .into())
}

fn load(path: &str, slots: u32) -> Result<Program, Failure> {
    let engine = Engine::new(&EngineSettings { slots })?;
    let started = Instant::now();
    let compiled = compile(&engine, wat::parse_file(path)?)?;
    let mut file: File = tempfile::tempfile()?;
    file.write_all(&compiled.code)?;
    file.rewind()?;
    eprintln!(
        "compiled in {:?} to {} bytes",
        started.elapsed(),
        compiled.code.len()
    );
    let started = Instant::now();
    let program = Program::load(&engine, compiled.kind, file)?;
    eprintln!("loaded in {:?}", started.elapsed());
    Ok(program)
}

async fn run_once(program: &Program, options: &Options) -> Result<(Ending, Usage), Failure> {
    let (vm, handle) = prepare(program, options.vm(Sink::Stdout, Sink::Stderr)?);
    let run = tokio::spawn(vm.run());
    if let Some(after) = options.stop_after {
        tokio::time::sleep(after).await;
        handle.stop(EndReason::Stopped, Duration::from_secs(2));
    }
    Ok((run.await?, handle.usage()))
}

/// Starts many VMs that wait for their input, and says what each costs while it does.
async fn park(program: &Program, options: &Options, vms: u32) -> Result<(), Failure> {
    let before = resident_kib()?;
    let started = Instant::now();
    let mut runs = Vec::new();
    for _ in 0..vms {
        let (vm, handle) = prepare(program, options.vm(Sink::Dropped, Sink::Dropped)?);
        runs.push((tokio::spawn(vm.run()), handle));
    }
    for (_, handle) in &runs {
        handle.started().await;
    }
    let took = started.elapsed();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let each = (resident_kib()? - before) as f64 / f64::from(vms);
    println!("{vms} started in {took:?}, {each:.1} KiB each");
    let started = Instant::now();
    for (_, handle) in &runs {
        handle.stop(EndReason::Stopped, Duration::from_secs(10));
    }
    for (run, _) in runs {
        run.await?;
    }
    println!(
        "ended in {:?}, {} KiB more resident than before",
        started.elapsed(),
        { resident_kib()?.saturating_sub(before) }
    );
    Ok(())
}

fn resident_kib() -> Result<u64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .ok_or("no VmRSS")?;
    Ok(line.split_whitespace().nth(1).ok_or("no number")?.parse()?)
}

async fn bench(program: &Program, options: &Options, runs: usize) -> Result<(), Failure> {
    let mut micros = Vec::with_capacity(runs);
    for _ in 0..runs {
        let started = Instant::now();
        let (vm, handle) = prepare(program, options.vm(Sink::Dropped, Sink::Dropped)?);
        let ending = vm.run().await;
        drop(handle);
        micros.push(started.elapsed().as_nanos() as f64 / 1_000.0);
        assert!(ending.exit_code == Some(0), "{ending:?}");
    }
    micros.sort_by(f64::total_cmp);
    let at = |percent: usize| {
        micros
            .get((runs - 1) * percent / 100)
            .copied()
            .unwrap_or_default()
    };
    println!(
        "create + run + drop: p50 {:.1} us, p90 {:.1} us, p99 {:.1} us",
        at(50),
        at(90),
        at(99)
    );
    Ok(())
}
