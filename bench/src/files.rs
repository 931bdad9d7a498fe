//! The virtual filesystem beside wasmtime's own on a directory of the host, and a native program.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use agentvm_runtime::vfs::{Filesystem, Follow, Open};
use agentvm_tests::{scratch, workspace};
use anyhow::{Context as _, Result};
use tokio::runtime::Runtime;

use crate::in_process::{Bench, empty_root};
use crate::peers::{Metering, Peers, done, stdout_of};
use crate::report::Row;
use crate::resident;
use crate::samples::Samples;

/// Cycles of create, write, stat and unlink in one run of the guest.
const CYCLES: u32 = 20_000;
/// Runs of it.
const RUNS: usize = 10;
/// Cycles and listings of the Go program: of ours and the native one, and of wasmtime's command,
/// which takes seconds for one listing.
const MANY: [&str; 2] = ["20000", "20"];
const FEW: [&str; 2] = ["2000", "1"];
/// Files that are made to weigh one, and files before them.
const WEIGHED: u32 = 50_000;
const WARM: u32 = 1_000;

/// Nanoseconds for one piece of each kind of work that the Go program does, by name.
type Rounds = BTreeMap<String, Samples>;

pub(crate) fn rows(peers: &Peers) -> Result<Vec<Row>> {
    let dir = scratch::dir("bench-files")?;
    let mut rows = vec![cycle(peers, &dir)?];
    rows.extend(go_program(peers, &dir)?);
    rows.push(weight(
        "memory of a file of 1 KiB",
        1 << 10,
        "under 1,536",
        1536.0,
    )?);
    rows.push(weight("memory of an empty file", 0, "under 256", 256.0)?);
    Ok(rows)
}

/// The five calls of a small file's life, in a guest that does nothing else.
fn cycle(peers: &Peers, dir: &Path) -> Result<Row> {
    let source = workspace::root().join("bench/guests/cycle.wat");
    let text = fs::read_to_string(&source).with_context(|| source.display().to_string())?;
    let guest = |name: &str, cycles: u32| -> Result<PathBuf> {
        let path = dir.join(name).with_extension("wasm");
        fs::write(
            &path,
            wat::parse_str(text.replace("CYCLES", &cycles.to_string()))?,
        )?;
        Ok(path)
    };
    let path = guest("cycle", CYCLES)?;
    let bench = Bench::open(&path)?;
    let runtime = Runtime::new()?;
    let mut ours = Samples::new();
    for _ in 0..RUNS {
        ours.push_us(runtime.block_on(bench.run_with_files(&["cycle"]))?.1);
    }
    let empty = guest("no-cycle", 0)?;
    let each = 1.0 / f64::from(CYCLES);
    let wasmtime_on = |host: &Path| -> Result<Samples> {
        let run = |path: &Path| -> Result<Samples> {
            peers.wasmtime_on(&peers.precompile(path, Metering::Fuel)?, host, RUNS)
        };
        let started = run(&empty)?.percentile(50.0);
        Ok(run(&path)?.less(started).times(each))
    };
    let on_disk = wasmtime_on(tempfile::tempdir_in(dir)?.path())?;
    let in_memory = wasmtime_on(host_directory()?.path())?;
    let row = Row::of(
        "files: create, write, stat, unlink",
        "us",
        &ours.times(each),
    );
    let held = on_disk.percentile(50.0) >= 20.0 * row.p50;
    Ok(row
        .promise("20 times faster than wasmtime-wasi", held)
        .against("wasmtime run on a host directory", &on_disk)
        .against("the same on a tmpfs", &in_memory))
}

/// What an ordinary program does with files, by the same source everywhere.
fn go_program(peers: &Peers, dir: &Path) -> Result<Vec<Row>> {
    let native = build(dir, "files", &[])?;
    let wasm = build(dir, "files.wasm", &[("GOOS", "wasip1"), ("GOARCH", "wasm")])?;
    let args = [["files", "/"].as_slice(), &MANY].concat();
    let (printed, _) = Runtime::new()?.block_on(Bench::open(&wasm)?.run_with_files(&args))?;
    let ours = rounds(&printed)?;
    let host = host_directory()?;
    let native = rounds(&stdout_of(
        Command::new(native).arg(host.path()).args(MANY),
    )?)?;
    let module = peers.precompile(&wasm, Metering::Fuel)?;
    let host = host_directory()?;
    let mut theirs = peers.wasmtime_with_directory(&module, host.path());
    let theirs = rounds(&stdout_of(theirs.arg("/").args(FEW))?)?;

    let of = |rounds: &Rounds, work: &str, unit: f64| -> Result<Samples> {
        let found = rounds
            .get(work)
            .with_context(|| format!("no round of {work}"))?;
        Ok(found.times(unit))
    };
    let (us, ms) = (1e-3, 1e-6);
    let copying = |name, work, memcpy| -> Result<Row> {
        let row = Row::of(name, "us", &of(&ours, work, us)?);
        let memcpy = of(&native, memcpy, us)?;
        let held = row.p50 <= 2.0 * memcpy.percentile(50.0);
        Ok(row
            .promise("at least half of memcpy's speed", held)
            .against("memcpy", &memcpy)
            .against("native program", &of(&native, work, us)?)
            .against("wasmtime run", &of(&theirs, work, us)?))
    };
    let list = Row::of("files: list 10,000 names", "ms", &of(&ours, "list", ms)?);
    let held = list.p50 < 5.0;
    Ok(vec![
        Row::of(
            "files: a small file's life in Go",
            "us",
            &of(&ours, "cycle", us)?,
        )
        .against("native program", &of(&native, "cycle", us)?)
        .against("wasmtime run", &of(&theirs, "cycle", us)?),
        copying("files: write 64 KiB of a new file", "write-new", "copy-new")?,
        copying("files: write 64 KiB over", "write", "copy")?,
        copying("files: read 64 KiB", "read", "copy")?,
        list.promise("under 5", held)
            .against("native program", &of(&native, "list", ms)?)
            .against("wasmtime run", &of(&theirs, "list", ms)?),
    ])
}

/// An empty directory of the host's memory, so that no disk's journal is measured.
fn host_directory() -> Result<tempfile::TempDir> {
    tempfile::tempdir_in("/dev/shm").context("the peers work on a tmpfs at /dev/shm")
}

fn build(dir: &Path, name: &str, target: &[(&str, &str)]) -> Result<PathBuf> {
    let out = dir.join(name);
    let mut go = Command::new("go");
    go.current_dir(workspace::root().join("bench/guests/files"))
        .env("CGO_ENABLED", "0")
        .env("GOWORK", "off")
        .envs(target.iter().copied());
    done(go.args(["build", "-trimpath", "-o"]).arg(&out).arg("."))?;
    Ok(out)
}

fn rounds(printed: &str) -> Result<Rounds> {
    let mut rounds = Rounds::new();
    for line in printed.lines() {
        let (name, ns) = line.split_once(' ').with_context(|| line.to_owned())?;
        rounds.entry(name.to_owned()).or_default().push(ns.parse()?);
    }
    Ok(rounds)
}

/// Resident bytes that one more file of `bytes` takes, in a process of its own: in this one the
/// heap has room from earlier suites.
fn weight(name: &'static str, bytes: usize, target: &'static str, most: f64) -> Result<Row> {
    let mut child = Command::new(std::env::current_exe()?);
    let each: f64 = stdout_of(child.args(["--weigh", &bytes.to_string()]))?
        .trim()
        .parse()?;
    let row = Row::of(name, "bytes", &Samples::one(each));
    Ok(row.promise(target, each < most))
}

/// What [`weight`] has its own process do.
pub(crate) fn weigh(bytes: usize) -> Result<f64> {
    let content = vec![7; bytes];
    let filesystem = empty_root()?;
    fill(&filesystem, 0, WARM, &content)?;
    let before = resident::resident_mib(std::process::id())?;
    fill(&filesystem, WARM, WEIGHED, &content)?;
    let grown = resident::resident_mib(std::process::id())? - before;
    Ok(grown * f64::from(1 << 20) / f64::from(WEIGHED))
}

fn fill(filesystem: &Filesystem, from: u32, count: u32, content: &[u8]) -> Result<()> {
    let how = Open {
        create: true,
        write: true,
        ..Open::default()
    };
    let root = filesystem.root();
    for index in from..from + count {
        let file = root.open(&format!("file-{index}"), Follow::Yes, how, 0)?;
        if !content.is_empty() {
            file.write_at(0, content, 0)?;
        }
    }
    Ok(())
}
