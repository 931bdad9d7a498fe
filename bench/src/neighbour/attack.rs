//! What attackers do, and the VMs and requests that do it.

use std::fmt::Write as _;
use std::fs;
use std::time::{Duration, Instant};

use agentvm_cell_api::cell::{VmSpec, VmState};
use agentvm_cell_api::client::CellClient;
use agentvm_cell_api::mounts::{Mount, MountSource};
use agentvm_policy::{EndReason, Grants, LimitField, Limits};
use agentvm_tests::{guests, workspace};
use anyhow::{Context as _, Result, ensure};
use tokio::task::JoinSet;

use crate::warden::{self, PATIENCE, Warden, spec, uid};

/// VMs that attack at once, each with a whole core as its limit; and requests in flight.
const ATTACKERS: usize = 8;
const REQUESTS: usize = 4;
/// How long those who start VMs wait before they look whether one has ended.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// Nested loops in a module that is slow to compile.
const NESTED: usize = 150;
/// The numbers of VMs that come and go.
const COMING: usize = 100_000;

/// One class of attacks.
pub(super) struct Attack {
    /// The row of the healthy VM in the attackers' namespace.
    pub(super) beside: &'static str,
    /// The row of the one in another.
    pub(super) elsewhere: &'static str,
    by: By,
}

/// What is done.
#[derive(Clone, Copy)]
enum By {
    /// VMs of the text in this file of the workspace.
    Vms(&'static str),
    /// VMs that are started and end at once, over and over.
    Starts,
    /// Modules that are slow to compile, each another.
    Modules,
}

const fn vms(beside: &'static str, elsewhere: &'static str, file: &'static str) -> Attack {
    Attack {
        beside,
        elsewhere,
        by: By::Vms(file),
    }
}

/// Every class.
pub(super) const ATTACKS: [Attack; 10] = [
    vms(
        "neighbour: 8 VMs of its namespace spin",
        "neighbour: 8 VMs of another namespace spin",
        "tests/guests/spin.wat",
    ),
    vms(
        "neighbour: 8 of its namespace fill 256 MiB in one instruction",
        "neighbour: 8 of another fill 256 MiB in one instruction",
        "bench/guests/attacks/fill.wat",
    ),
    vms(
        "neighbour: 8 of its namespace flood stdout with lines",
        "neighbour: 8 of another flood stdout with lines",
        "bench/guests/attacks/flood.wat",
    ),
    vms(
        "neighbour: 8 of its namespace poll 1,024 things",
        "neighbour: 8 of another poll 1,024 things",
        "bench/guests/attacks/poll.wat",
    ),
    vms(
        "neighbour: 8 of its namespace ask for random bytes",
        "neighbour: 8 of another ask for random bytes",
        "bench/guests/attacks/random.wat",
    ),
    vms(
        "neighbour: 8 of its namespace look up paths of 2,000 steps",
        "neighbour: 8 of another look up paths of 2,000 steps",
        "bench/guests/attacks/path.wat",
    ),
    vms(
        "neighbour: 8 of its namespace make and remove files",
        "neighbour: 8 of another make and remove files",
        "bench/guests/cycle.wat",
    ),
    vms(
        "neighbour: 8 of its namespace ask for memory that there is not",
        "neighbour: 8 of another ask for memory that there is not",
        "bench/guests/attacks/grow.wat",
    ),
    Attack {
        beside: "neighbour: VMs of its namespace come and go, 4 at a time",
        elsewhere: "neighbour: VMs of another come and go, 4 at a time",
        by: By::Starts,
    },
    Attack {
        beside: "neighbour: its namespace has 4 modules compiled at a time",
        elsewhere: "neighbour: another has 4 modules compiled at a time",
        by: By::Modules,
    },
];

/// Those who attack, until they are stopped.
pub(super) struct Attackers {
    cell: CellClient,
    vms: Vec<String>,
    requests: JoinSet<Result<()>>,
}

impl Attackers {
    /// Starts them, and waits until VMs among them run.
    pub(super) async fn start(attack: &Attack, warden: &Warden, cell: &CellClient) -> Result<Self> {
        let mut attackers = Self {
            cell: cell.clone(),
            vms: Vec::new(),
            requests: JoinSet::new(),
        };
        match attack.by {
            By::Vms(file) => attackers.start_vms(file, warden).await?,
            By::Starts => attackers.start_coming(warden).await?,
            By::Modules => attackers.start_compiling(warden),
        }
        Ok(attackers)
    }

    async fn start_vms(&mut self, file: &str, warden: &Warden) -> Result<()> {
        let text = fs::read_to_string(workspace::root().join(file)).context(file.to_owned())?;
        let endless = text.replace("CYCLES", "2000000000");
        let module = warden.compile(&wat::parse_str(endless)?).await?;
        let spec = VmSpec {
            mounts: vec![root()],
            ..spec(&module, &["attacker"], hostile())
        };
        for number in 0..ATTACKERS {
            let uid = uid(number);
            self.cell.put_vm(&uid, &spec).await?;
            self.vms.push(uid);
        }
        let end = Instant::now() + PATIENCE;
        for uid in &self.vms {
            while self.state(uid).await? != VmState::Running {
                ensure!(Instant::now() < end, "an attacker does not run");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        Ok(())
    }

    async fn state(&self, uid: &str) -> Result<VmState> {
        let vm = self.cell.vm(uid).await?.context("an attacker is there")?;
        ensure!(vm.end.is_none(), "an attacker has ended: {:?}", vm.end);
        Ok(vm.state)
    }

    async fn start_coming(&mut self, warden: &Warden) -> Result<()> {
        let module = warden.compile(&guests::probe("hello")?).await?;
        let spec = spec(&module, &["hello"], hostile());
        for lane in 0..REQUESTS {
            let (cell, spec) = (self.cell.clone(), spec.clone());
            self.requests.spawn(async move {
                for number in (COMING + lane..).step_by(REQUESTS) {
                    let uid = uid(number);
                    cell.put_vm(&uid, &spec).await?;
                    warden::wait_for_end(&cell, &uid, LOOK_EVERY, PATIENCE).await?;
                    let now = Duration::ZERO;
                    cell.delete_vm(&uid, now, EndReason::Stopped).await?;
                }
                Ok(())
            });
        }
        Ok(())
    }

    fn start_compiling(&mut self, warden: &Warden) {
        for lane in 0..REQUESTS {
            let warden = warden.client();
            self.requests.spawn(async move {
                for number in (lane..).step_by(REQUESTS) {
                    let wasm = wat::parse_str(nested(number)?)?;
                    // What becomes of it does not matter: it may well be refused.
                    let _ = crate::warden::compile(&warden, Some("noisy"), &wasm).await;
                }
                Ok(())
            });
        }
    }

    /// Stops them, and waits until nothing is left of them.
    pub(super) async fn stop(mut self) -> Result<()> {
        while let Some(ended) = self.requests.try_join_next() {
            ended.context("a task")??;
        }
        self.requests.shutdown().await;
        let end = Instant::now() + PATIENCE;
        let now = Duration::ZERO;
        loop {
            let vms = self.cell.list_vms(0, now).await?.vms;
            if vms.is_empty() {
                return Ok(());
            }
            ensure!(Instant::now() < end, "{} attackers stay", vms.len());
            for vm in vms {
                self.cell
                    .delete_vm(&vm.uid, now, EndReason::Stopped)
                    .await?;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Whatever a VM can have.
fn hostile() -> Grants {
    let limits = Limits {
        memory_bytes: 257 << 20,
        cpu_millicores: LimitField::Cpu.max(),
        log_rate_bytes_per_second: LimitField::LogRate.max(),
        log_total_bytes: LimitField::LogTotal.max(),
        storage_bytes: LimitField::Storage.max(),
        inodes: LimitField::Inodes.max(),
        open_files: LimitField::OpenFiles.max(),
        ..Limits::default()
    };
    Grants {
        limits,
        ..Grants::default()
    }
}

fn root() -> Mount {
    Mount {
        path: "/".to_owned(),
        read_only: false,
        source: MountSource::EmptyDir {
            size_limit_bytes: None,
            archive: None,
        },
    }
}

/// A module of loops in each other, another for each number.
fn nested(number: usize) -> Result<String> {
    let mut text = format!(
        "(module (memory (export \"memory\") 1) (func (export \"_start\") (local $n i32)
           (local.set $n (i32.const {number}))"
    );
    for depth in 0..NESTED {
        write!(
            text,
            "(loop $l{depth} (local.set $n (i32.add (local.get $n) (i32.const {depth})))"
        )?;
    }
    for depth in (0..NESTED).rev() {
        write!(text, "(br_if $l{depth} (local.get $n)))")?;
    }
    text.push_str("))");
    Ok(text)
}
