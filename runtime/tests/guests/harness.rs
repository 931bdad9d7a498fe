//! Builds guests from text, runs them under limits and keeps what they write.

use std::fmt::Write as _;
use std::io::{Seek, Write as _};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use agentvm_policy::{Grants, Limits};
use agentvm_runtime::vfs::{Budget, Filesystem};
use agentvm_runtime::{
    Compiled, Egress, Ending, Engine, EngineSettings, Kept, LoadError, ModuleError, Output,
    Program, Usage, Vm, VmConfig, VmHandle, compile, prepare,
};
use tokio::task::JoinHandle;

/// Longer than anything here takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| Engine::new(&EngineSettings { slots: 64 }).unwrap())
}

/// A program and what it is given.
pub(crate) struct Guest {
    program: Program,
    args: Vec<String>,
    env: Vec<(String, String)>,
    grants: Grants,
    filesystem: Filesystem,
    egress: Option<Arc<dyn Egress>>,
    stdout: Arc<dyn Output>,
    kept: Arc<Kept>,
}

/// A run that has ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) ending: Ending,
    pub(crate) usage: Usage,
    pub(crate) stdout: String,
    /// What `stdout` is as bytes.
    pub(crate) bytes: Vec<u8>,
    pub(crate) wall: Duration,
}

/// A run that goes on.
pub(crate) struct Running {
    pub(crate) handle: VmHandle,
    task: JoinHandle<Ending>,
    kept: Arc<Kept>,
    started: Instant,
}

impl Running {
    /// Waits for the end, for as long as is patient.
    pub(crate) async fn end(self) -> Ran {
        let ending = tokio::time::timeout(PATIENCE, self.task)
            .await
            .expect("it goes on")
            .unwrap();
        Ran {
            ending,
            usage: self.handle.usage(),
            stdout: self.kept.text(),
            bytes: self.kept.bytes(),
            wall: self.started.elapsed(),
        }
    }

    /// Waits until the guest has written `text`.
    pub(crate) async fn says(&self, text: &str) {
        until(|| self.kept.text().contains(text)).await;
    }
}

/// Waits for a condition, for as long as is patient.
pub(crate) async fn until(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

impl Guest {
    /// A whole module or component as text.
    pub(crate) fn wat(text: &str) -> Self {
        Self::of(load(text).unwrap())
    }

    /// A core module with one page of memory, every import of [`IMPORTS`], and `_start`
    /// with `body`.
    pub(crate) fn body(body: &str) -> Self {
        Self::with("", body)
    }

    /// As [`Guest::body`], with more `fields` in the module.
    pub(crate) fn with(fields: &str, body: &str) -> Self {
        Self::wat(&module(fields, body))
    }

    pub(crate) fn of(program: Program) -> Self {
        let kept = Arc::new(Kept::default());
        let limits = Limits {
            memory_bytes: 1 << 20,
            cpu_millicores: 1_000,
            fuel: None,
            timeout_ms: None,
            log_rate_bytes_per_second: 1 << 20,
            log_total_bytes: 1 << 30,
            storage_bytes: 1 << 20,
            inodes: 1_000,
            open_files: 64,
            connections: 32,
            egress_bytes: 1 << 20,
            egress_bytes_per_second: 1 << 20,
        };
        Self {
            program,
            args: Vec::new(),
            env: Vec::new(),
            grants: Grants {
                limits,
                ..Grants::default()
            },
            filesystem: Filesystem::new(Budget::default(), &[], 0).unwrap(),
            egress: None,
            stdout: kept.clone(),
            kept,
        }
    }

    pub(crate) fn limits(mut self, change: impl FnOnce(&mut Limits)) -> Self {
        change(&mut self.grants.limits);
        self
    }

    pub(crate) fn grants(mut self, change: impl FnOnce(&mut Grants)) -> Self {
        change(&mut self.grants);
        self
    }

    pub(crate) fn fuel(self, fuel: u64) -> Self {
        self.limits(|limits| limits.fuel = Some(fuel))
    }

    pub(crate) fn args(mut self, args: &[&str]) -> Self {
        self.args = args.iter().map(ToString::to_string).collect();
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn filesystem(mut self, filesystem: &Filesystem) -> Self {
        self.filesystem = filesystem.clone();
        self
    }

    /// Its requests go by `egress`, and it may make them.
    pub(crate) fn network(mut self, egress: Arc<dyn Egress>) -> Self {
        self.egress = Some(egress);
        self.grants(|grants| grants.network = true)
    }

    pub(crate) fn stdout(mut self, output: impl Output) -> Self {
        self.stdout = Arc::new(output);
        self
    }

    /// What its host holds for it from its start, besides memories and tables.
    pub(crate) fn instance_bytes(&self) -> u64 {
        self.program.instance_bytes()
    }

    pub(crate) fn prepare(self) -> (Vm, VmHandle, Arc<Kept>) {
        let stderr = self.kept.clone();
        let Self {
            program,
            args,
            env,
            grants,
            filesystem,
            egress,
            stdout,
            kept,
        } = self;
        let (vm, handle) = prepare(
            &program,
            VmConfig {
                args,
                env,
                grants,
                filesystem,
                egress,
                stdout,
                stderr,
            },
        );
        (vm, handle, kept)
    }

    pub(crate) fn start(self) -> Running {
        let (vm, handle, kept) = self.prepare();
        let task = tokio::spawn(vm.run());
        Running {
            handle,
            task,
            kept,
            started: Instant::now(),
        }
    }

    pub(crate) async fn run(self) -> Ran {
        self.start().end().await
    }

    /// The exit code of a guest that ends by itself.
    pub(crate) async fn exit_code(self) -> i32 {
        let ran = self.run().await;
        ran.ending
            .exit_code
            .unwrap_or_else(|| panic!("it did not exit: {:?}", ran.ending))
    }
}

/// Compiles and loads a module or component from text.
pub(crate) fn load(text: &str) -> Result<Program, ModuleError> {
    let compiled = compile(engine(), wat::parse_str(text).unwrap())?;
    Ok(load_on(engine(), &compiled).unwrap())
}

/// Loads compiled code from a file, the way a cell gets it.
pub(crate) fn load_on(engine: &Engine, compiled: &Compiled) -> Result<Program, LoadError> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&compiled.code).unwrap();
    file.rewind().unwrap();
    Program::load(engine, compiled.kind, file)
}

/// What bodies of guests can call, each under its own name.
const IMPORTS: &[(&str, &str, &str)] = &[
    ("args_get", "i32 i32", "i32"),
    ("args_sizes_get", "i32 i32", "i32"),
    ("clock_res_get", "i32 i32", "i32"),
    ("clock_time_get", "i32 i64 i32", "i32"),
    ("environ_get", "i32 i32", "i32"),
    ("environ_sizes_get", "i32 i32", "i32"),
    ("fd_advise", "i32 i64 i64 i32", "i32"),
    ("fd_allocate", "i32 i64 i64", "i32"),
    ("fd_close", "i32", "i32"),
    ("fd_datasync", "i32", "i32"),
    ("fd_fdstat_get", "i32 i32", "i32"),
    ("fd_fdstat_set_flags", "i32 i32", "i32"),
    ("fd_fdstat_set_rights", "i32 i64 i64", "i32"),
    ("fd_filestat_get", "i32 i32", "i32"),
    ("fd_filestat_set_size", "i32 i64", "i32"),
    ("fd_filestat_set_times", "i32 i64 i64 i32", "i32"),
    ("fd_pread", "i32 i32 i32 i64 i32", "i32"),
    ("fd_prestat_dir_name", "i32 i32 i32", "i32"),
    ("fd_prestat_get", "i32 i32", "i32"),
    ("fd_pwrite", "i32 i32 i32 i64 i32", "i32"),
    ("fd_read", "i32 i32 i32 i32", "i32"),
    ("fd_readdir", "i32 i32 i32 i64 i32", "i32"),
    ("fd_renumber", "i32 i32", "i32"),
    ("fd_seek", "i32 i64 i32 i32", "i32"),
    ("fd_sync", "i32", "i32"),
    ("fd_tell", "i32 i32", "i32"),
    ("fd_write", "i32 i32 i32 i32", "i32"),
    ("path_create_directory", "i32 i32 i32", "i32"),
    ("path_filestat_get", "i32 i32 i32 i32 i32", "i32"),
    (
        "path_filestat_set_times",
        "i32 i32 i32 i32 i64 i64 i32",
        "i32",
    ),
    ("path_link", "i32 i32 i32 i32 i32 i32 i32", "i32"),
    ("path_open", "i32 i32 i32 i32 i32 i64 i64 i32 i32", "i32"),
    ("path_readlink", "i32 i32 i32 i32 i32 i32", "i32"),
    ("path_remove_directory", "i32 i32 i32", "i32"),
    ("path_rename", "i32 i32 i32 i32 i32 i32", "i32"),
    ("path_symlink", "i32 i32 i32 i32 i32", "i32"),
    ("path_unlink_file", "i32 i32 i32", "i32"),
    ("poll_oneoff", "i32 i32 i32 i32", "i32"),
    ("proc_exit", "i32", ""),
    ("proc_raise", "i32", "i32"),
    ("random_get", "i32 i32", "i32"),
    ("sched_yield", "", "i32"),
    ("sock_accept", "i32 i32 i32", "i32"),
    ("sock_recv", "i32 i32 i32 i32 i32 i32", "i32"),
    ("sock_send", "i32 i32 i32 i32 i32", "i32"),
    ("sock_shutdown", "i32 i32", "i32"),
];

/// Every function's name and its parameters' types.
pub(crate) fn functions() -> impl Iterator<Item = (&'static str, Vec<&'static str>)> {
    IMPORTS
        .iter()
        .map(|(name, params, _)| (*name, params.split_whitespace().collect()))
}

/// The text of a core module; `fields` can name another memory by exporting it.
pub(crate) fn module(fields: &str, body: &str) -> String {
    let mut text = String::from("(module");
    for (name, params, result) in IMPORTS {
        write!(
            text,
            "(import \"wasi_snapshot_preview1\" \"{name}\"
                (func ${name} (param {params}) (result {result})))"
        )
        .unwrap();
    }
    let memory = if fields.contains("(memory ") {
        ""
    } else {
        "(memory (export \"memory\") 1)"
    };
    write!(
        text,
        "{memory}{fields}(func $main (export \"_start\") {body}))"
    )
    .unwrap();
    text
}

/// An instruction sequence that writes `text`, using memory from 1024 on.
pub(crate) fn say(text: &str) -> String {
    let mut code = String::new();
    for (index, byte) in text.bytes().enumerate() {
        write!(
            code,
            "(i32.store8 (i32.const {}) (i32.const {byte}))",
            2_048 + index
        )
        .unwrap();
    }
    write!(
        code,
        "(i32.store (i32.const 1024) (i32.const 2048))
         (i32.store (i32.const 1028) (i32.const {}))
         (drop (call $fd_write (i32.const 1) (i32.const 1024) (i32.const 1) (i32.const 1032)))",
        text.len()
    )
    .unwrap();
    code
}
