//! A VM of this process that runs one program to its end.

use std::fs::{self, File};
use std::io::{Seek as _, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use agentvm_policy::{Grants, Limits};
use agentvm_runtime::vfs::{Budget, Filesystem};
use agentvm_runtime::{
    Egress, Engine, EngineSettings, Kept, Program, Usage, VmConfig, compile, prepare,
};
use agentvm_tests::Result;

/// Longer than any of the programs takes on a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);
/// The most requests of a VM at a time.
pub(crate) const CONNECTIONS: u64 = 8;

/// What a program printed, and used.
pub(crate) struct Ran {
    pub(crate) printed: String,
    pub(crate) usage: Usage,
}

/// A program that was compiled.
pub(crate) struct Module(Program);

impl Module {
    pub(crate) fn load(path: &Path) -> Result<Self> {
        /// Compiling takes two gigabytes at most, once.
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let compiled = compile(engine(), &fs::read(path)?)?;
        let mut code: File = tempfile::tempfile()?;
        code.write_all(&compiled.code)?;
        code.rewind()?;
        Ok(Self(Program::load(engine(), compiled.kind, code)?))
    }

    /// Runs it with `argument`, if any, and `egress` to make its requests by.
    pub(crate) async fn run(&self, argument: Option<&str>, egress: Option<Arc<dyn Egress>>) -> Ran {
        let kept = Arc::new(Kept::default());
        let args = ["program"].into_iter().chain(argument);
        let (vm, handle) = prepare(
            &self.0,
            VmConfig {
                args: args.map(str::to_owned).collect(),
                env: Vec::new(),
                grants: Grants {
                    limits: limits(),
                    network: egress.is_some(),
                    ..Grants::default()
                },
                filesystem: Filesystem::new(Budget::default(), &[], 0).unwrap(),
                egress,
                stdout: kept.clone(),
                stderr: kept.clone(),
            },
        );
        let ending = tokio::time::timeout(PATIENCE, vm.run()).await;
        let printed = kept.text();
        let ending = ending.unwrap_or_else(|_| panic!("it goes on; it printed {printed}"));
        assert_eq!(ending.exit_code, Some(0), "{}: {printed}", ending.message);
        let usage = handle.usage();
        Ran { printed, usage }
    }
}

fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| Engine::new(&EngineSettings { slots: 4 }).unwrap())
}

fn limits() -> Limits {
    Limits {
        memory_bytes: 256 << 20,
        cpu_millicores: 1_000,
        open_files: 64,
        connections: CONNECTIONS,
        ..Limits::default()
    }
}
