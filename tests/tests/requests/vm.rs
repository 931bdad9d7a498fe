//! A VM of this process that runs one program to its end.

use std::fs::{self, File};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use agentvm_policy::{Grants, Limits};
use agentvm_runtime::vfs::{Budget, Filesystem};
use agentvm_runtime::{
    Egress, Engine, EngineSettings, Kept, Kind, Program, Usage, VmConfig, compile, prepare,
};
use agentvm_tests::{Result, cache};
use anyhow::Context as _;

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
    /// Compiles a module of the cache, once for each engine.
    pub(crate) fn load(kind: Kind, module: &Path) -> Result<Self> {
        let folder = module.parent().and_then(Path::file_name);
        let folder = folder.context("it lies in no folder")?.to_string_lossy();
        let engine_hash: String = engine().hash().chars().take(16).collect();
        let dir = cache::once(&format!("{folder}-{engine_hash}"), |dir| {
            let compiled = compile(engine(), fs::read(module)?)?;
            fs::write(dir.join("code"), compiled.code)?;
            Ok(())
        })?;
        let code = File::open(dir.join("code"))?;
        Ok(Self(Program::load(engine(), kind, code)?))
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
