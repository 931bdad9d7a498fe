//! Runs a script in a VM and brings its answers back.

use std::io::{Seek as _, Write as _};
use std::sync::{Arc, OnceLock};

use agentvm_policy::{Grants, Limits};
use agentvm_runtime::vfs::Filesystem;
use agentvm_runtime::{
    Ending, Engine, EngineSettings, Kept, Program, Usage, VmConfig, compile, prepare,
};

use crate::script::{Memory, Script};
use crate::{preview1, preview2};

/// By what a guest reaches its files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interface {
    /// A core module and `wasi_snapshot_preview1`.
    Preview1,
    /// A component and `wasi:filesystem`.
    Preview2,
}

/// A guest that interprets scripts. Loading it takes a moment, a run of it well under one.
#[derive(Debug)]
pub struct Guest {
    interface: Interface,
    program: Program,
}

/// What came of a script.
#[derive(Debug)]
pub struct Ran {
    /// How the guest ended: by itself, unless a call trapped.
    pub ending: Ending,
    /// What it used.
    pub usage: Usage,
    /// The answers of its calls, where it came to its end.
    pub memory: Memory,
}

impl Guest {
    /// The guest of an interface, loaded once for the whole process.
    pub fn of(interface: Interface) -> &'static Self {
        static GUESTS: OnceLock<[Guest; 2]> = OnceLock::new();
        let [preview1, preview2] =
            GUESTS.get_or_init(|| [Interface::Preview1, Interface::Preview2].map(load));
        match interface {
            Interface::Preview1 => preview1,
            Interface::Preview2 => preview2,
        }
    }

    /// Runs a script on `filesystem`, on a tokio runtime of this thread.
    pub fn run(&self, script: Script, filesystem: &Filesystem, limits: Limits) -> Ran {
        thread_local! {
            static TOKIO: tokio::runtime::Runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build()
                .expect("a runtime of one thread needs nothing");
        }
        TOKIO.with(|tokio| tokio.block_on(self.start(script, filesystem, limits)))
    }

    /// Runs a script on `filesystem`.
    pub async fn start(&self, mut script: Script, filesystem: &Filesystem, limits: Limits) -> Ran {
        match self.interface {
            Interface::Preview1 => script.end_preview1(),
            Interface::Preview2 => script.end_preview2(),
        }
        let written = Arc::new(Kept::default());
        let config = VmConfig {
            args: vec![script.text()],
            env: Vec::new(),
            grants: Grants {
                limits,
                ..Grants::default()
            },
            filesystem: filesystem.clone(),
            egress: None,
            stdout: written.clone(),
            stderr: written.clone(),
        };
        let (vm, handle) = prepare(&self.program, config);
        let ending = vm.run().await;
        Ran {
            ending,
            usage: handle.usage(),
            memory: Memory(written.bytes()),
        }
    }
}

/// Limits that no script is meant to feel.
pub fn limits() -> Limits {
    Limits {
        memory_bytes: 4 << 20,
        cpu_millicores: 64_000,
        fuel: None,
        timeout_ms: None,
        open_files: 1_000,
        ..Limits::default()
    }
}

fn load(interface: Interface) -> Guest {
    let text = match interface {
        Interface::Preview1 => preview1::module(),
        Interface::Preview2 => preview2::component(),
    };
    let program = program(&text)
        .unwrap_or_else(|error| panic!("the guest of {interface:?} is no guest: {error}"));
    Guest { interface, program }
}

fn program(text: &str) -> Result<Program, Box<dyn std::error::Error>> {
    let engine = Engine::new(&EngineSettings { slots: 16 })?;
    let compiled = compile(&engine, wat::parse_str(text)?)?;
    let mut file = tempfile::tempfile()?;
    file.write_all(&compiled.code)?;
    file.rewind()?;
    Ok(Program::load(&engine, compiled.kind, file)?)
}
