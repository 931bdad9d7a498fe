//! A healthy VM beside VMs that attack: how long after its moment its work is done.
//!
//! Two healthy VMs run at once, one in the attackers' namespace and one in another: the first shares
//! a cell's threads with them, the second only the machine.

mod attack;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::time::Duration;

use agentvm_cell_api::cell::VmSpec;
use agentvm_cell_api::client::CellClient;
use agentvm_cell_api::log::Line;
use agentvm_cell_api::mounts::{Mount, MountSource};
use agentvm_cell_api::warden::Module;
use agentvm_policy::{ClockGrant, EndReason, Grants, Limits};
use agentvm_tests::{guests, scratch};
use anyhow::{Context as _, Result, ensure};
use tokio::runtime::Runtime;

use self::attack::{ATTACKS, Attack, Attackers};
use crate::effort::Effort;
use crate::report::Row;
use crate::samples::Samples;
use crate::warden::{self, PATIENCE, Warden, spec, uid};

/// How often healthy VMs do their work, and for how long.
const PERIOD_MS: u64 = 50;
const PIECES: usize = 400;
/// The numbers of the healthy VMs' UIDs; attackers have others.
const HEALTHY: usize = 900_000;
/// VMs that one cell can hold.
const VMS: u32 = 64;

/// Every row of this suite.
pub(crate) fn rows(effort: Effort) -> Result<Vec<Row>> {
    Runtime::new()?.block_on(async {
        let stage = Stage::set(effort).await?;
        let quiet = stage.measure().await?;
        let mut rows = vec![Row::of(
            "neighbour: its work, nobody else there",
            "ms",
            &quiet.beside,
        )];
        for attack in &ATTACKS {
            eprintln!("bench: {} ...", attack.beside);
            let attackers = Attackers::start(attack, &stage.warden, &stage.noisy).await?;
            let attacked = stage.measure().await;
            attackers.stop().await?;
            rows.extend(attacked?.rows(attack, &quiet));
        }
        Ok(rows)
    })
}

/// How late the work was done, of both healthy VMs.
struct Late {
    beside: Samples,
    elsewhere: Samples,
}

impl Late {
    fn rows(&self, attack: &Attack, quiet: &Self) -> [Row; 2] {
        let row = |name, late: &Samples, quiet: &Samples| {
            let held = late.percentile(99.0) <= 2.0 * quiet.percentile(99.0);
            Row::of(name, "ms", late)
                .promise("p99 at most twice the quiet p99", held)
                .against("quiet", quiet)
        };
        [
            row(attack.beside, &self.beside, &quiet.beside),
            row(attack.elsewhere, &self.elsewhere, &quiet.elsewhere),
        ]
    }
}

/// A warden with two cells.
struct Stage {
    warden: Warden,
    noisy: CellClient,
    calm: CellClient,
    steady: Module,
    pieces: usize,
}

impl Stage {
    async fn set(effort: Effort) -> Result<Self> {
        let (warden, mut printed) = Warden::start(&scratch::dir("bench-neighbour")?, VMS)?;
        // Somebody reads the log, as a container runtime does.
        std::thread::spawn(move || {
            let mut piece = vec![0; 64 << 10];
            while printed.read(&mut piece).is_ok_and(|bytes| bytes > 0) {}
        });
        let noisy = warden.cell("noisy").await?;
        let calm = warden.cell("calm").await?;
        let steady = warden
            .compile(&std::fs::read(guests::c("steady")?)?)
            .await?;
        Ok(Self {
            warden,
            noisy,
            calm,
            steady,
            pieces: effort.of(PIECES),
        })
    }

    async fn measure(&self) -> Result<Late> {
        let (beside, elsewhere) = tokio::join!(
            self.healthy(&self.noisy, HEALTHY),
            self.healthy(&self.calm, HEALTHY + 1)
        );
        Ok(Late {
            beside: beside?,
            elsewhere: elsewhere?,
        })
    }

    /// Runs a healthy VM in that cell to its end.
    async fn healthy(&self, cell: &CellClient, number: usize) -> Result<Samples> {
        let uid = uid(number);
        cell.put_vm(&uid, &self.spec()).await?;
        let patience = PATIENCE + Duration::from_millis(PERIOD_MS) * u32::try_from(self.pieces)?;
        warden::wait_for_end(cell, &uid, Duration::from_millis(PERIOD_MS), patience).await?;
        let vm = cell.vm(&uid).await?.context("a VM that nobody forgot")?;
        let end = vm.end.context("it has ended")?;
        ensure!(
            end.reason == EndReason::Completed,
            "the healthy VM ended by {}: {}",
            end.reason.as_str(),
            end.message
        );
        let log = cell.log(&uid).await?;
        cell.delete_vm(&uid, Duration::ZERO, EndReason::Stopped)
            .await?;
        let mut late = Samples::new();
        for line in log.split(|&byte| byte == b'\n').filter(|l| !l.is_empty()) {
            let line: Line = serde_json::from_slice(line)?;
            let us: f64 = line.text.context("a number")?.parse()?;
            late.push(us / 1e3);
        }
        ensure!(late.len() == self.pieces, "{} of its lines", late.len());
        Ok(late)
    }

    fn spec(&self) -> VmSpec {
        let limits = Limits {
            memory_bytes: 32 << 20,
            cpu_millicores: 500,
            log_rate_bytes_per_second: 1 << 20,
            log_total_bytes: 1 << 20,
            storage_bytes: 1 << 20,
            inodes: 64,
            open_files: 16,
            ..Limits::default()
        };
        let grants = Grants {
            limits,
            clock: Some(ClockGrant {
                resolution_ns: 1_000,
            }),
            ..Grants::default()
        };
        let (period, pieces) = (PERIOD_MS.to_string(), self.pieces.to_string());
        let args = ["steady", &period, &pieces, "/work/piece"];
        let work = Mount {
            path: "/work".to_owned(),
            read_only: false,
            source: MountSource::EmptyDir {
                size_limit_bytes: None,
                archive: None,
            },
        };
        VmSpec {
            mounts: vec![work],
            env: BTreeMap::new(),
            ..spec(&self.steady, &args, grants)
        }
    }
}
