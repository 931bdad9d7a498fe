//! Files that are copied into a VM's mounts before it starts, and out of them after its end.
//!
//! | step | when | what it may refuse |
//! | --- | --- | --- |
//! | [`flag`], [`place`] | before anything runs | flags that no mount fits |
//! | [`mod@gather`] | before anything runs | what a VM could not hold: odd names, devices |
//! | [`Copies`] | at each start and each end of a run | what exceeds a quota |
//! | [`mod@scatter`] | at the very end | whatever leads out of the folder |

mod flag;
mod gather;
mod guards;
mod place;
mod scatter;

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use agentvm_cell::archive::{MAX_ARCHIVE_BYTES, Writer};
use agentvm_cell_api::cell::{VmSpec, VmStatus};
use agentvm_cell_api::client::{CellClient, ClientError, WardenClient};
use agentvm_cell_api::mounts::MountSource;
use agentvm_cell_api::problem::Reason;
use agentvm_crds::AskedMount;
use agentvm_node_agent::border::Runs;
use agentvm_policy::{EndReason, Limits};
use bytes::Bytes;
use futures::Stream;
use futures::future::{BoxFuture, FutureExt as _};
use tokio::sync::Mutex;

pub(super) use self::flag::{CopyIn, CopyOut};
use self::gather::{Bounds, gather};
use self::place::place_in;

/// Bytes that are sent at once.
const PIECE_BYTES: usize = 256 << 10;

/// Why nothing is run.
#[derive(Debug, thiserror::Error)]
pub(super) enum CopyError {
    /// Flags that name no VM.
    #[error("{flag} needs files with exactly one AgentVM, these hold {vms}")]
    WhichVm {
        /// The flag.
        flag: String,
        /// How many there are.
        vms: usize,
    },
    /// A place that can't be copied into or out of.
    #[error("{flag}: {why}")]
    Place {
        /// The flag as it was given.
        flag: String,
        /// Which place, and what would do.
        why: String,
    },
    /// A folder that can't be copied in.
    #[error("{flag}: {source}")]
    Gather {
        /// The flag as it was given.
        flag: String,
        /// What in it.
        source: gather::GatherError,
    },
    /// A folder that can't be copied into.
    #[error("{flag}: {source}")]
    Scatter {
        /// The flag as it was given.
        flag: String,
        /// What about it.
        source: scatter::ScatterError,
    },
    /// No room for the archive.
    #[error("no temporary file for what is copied: {0}")]
    Temporary(#[source] std::io::Error),
}

/// What is copied into one VM and out of it.
#[derive(Debug, Default)]
pub(super) struct Copies {
    /// By the path of the mount that they are unpacked in.
    ins: BTreeMap<String, Arc<File>>,
    outs: Vec<CopyOut>,
    /// The run that was started last.
    run: Mutex<Option<Run>>,
}

/// One run.
#[derive(Debug, Default)]
struct Run {
    /// One archive for each [`CopyOut`], or why there is none.
    left: Option<Vec<Result<File, String>>>,
}

/// The VM that is copied into and out of.
#[derive(Debug)]
pub(super) struct Target {
    /// Its mounts.
    pub(super) mounts: Vec<AskedMount>,
    /// What it may hold.
    pub(super) limits: Limits,
}

impl Copies {
    /// Reads everything that is copied in, and checks everything else that can be known before
    /// the start.
    pub(super) fn prepare(
        ins: &[CopyIn],
        outs: &[CopyOut],
        targets: &[Target],
    ) -> Result<Self, CopyError> {
        let flags = ins.iter().map(ToString::to_string);
        let Some(flag) = flags.chain(outs.iter().map(ToString::to_string)).next() else {
            return Ok(Self::default());
        };
        let [target] = targets else {
            let vms = targets.len();
            return Err(CopyError::WhichVm { flag, vms });
        };
        for (index, out) in outs.iter().enumerate() {
            let refused = |why| CopyError::Place {
                flag: out.to_string(),
                why,
            };
            place_in(&target.mounts, &out.path).map_err(refused)?;
            if outs.iter().take(index).any(|other| other.dir == out.dir) {
                return Err(refused("this folder is named twice".to_owned()));
            }
            scatter::check(&out.dir).map_err(|source| CopyError::Scatter {
                flag: out.to_string(),
                source,
            })?;
        }
        Ok(Self {
            ins: archives(ins, target)?,
            outs: outs.to_vec(),
            run: Mutex::default(),
        })
    }

    /// Writes what the last run left into its folders. Yields a sentence for each that failed.
    pub(super) async fn finish(&self, warden: &WardenClient, uid: &str, ns: &str) -> Vec<String> {
        let mut run = self.run.lock().await;
        let Some(run) = run.as_mut() else {
            return Vec::new();
        };
        if run.left.is_none() && !self.outs.is_empty() {
            run.left = match cell(warden, ns).await {
                Ok(cell) => self.collect(&cell, uid).await,
                Err(why) => Some(self.outs.iter().map(|_| Err(why.clone())).collect()),
            };
        }
        let left = run.left.take().unwrap_or_else(|| {
            let why = || Err("its files were gone before they could be read".to_owned());
            self.outs.iter().map(|_| why()).collect()
        });
        let mut lines = Vec::new();
        for (out, archive) in self.outs.iter().zip(left) {
            if let Err(why) = write_out(archive, out.dir.clone()).await {
                lines.push(format!("{out}: {why}"));
            }
        }
        lines
    }

    /// What a run that has ended has left; `None` where it still runs.
    async fn collect(&self, cell: &CellClient, uid: &str) -> Option<Vec<Result<File, String>>> {
        let mut left = Vec::new();
        for out in &self.outs {
            left.push(match fetch(cell, uid, &out.path).await {
                Err(Missing::StillRuns) => return None,
                Err(Missing::Failed(why)) => Err(why),
                Ok(archive) => Ok(archive),
            });
        }
        Some(left)
    }
}

impl Runs for Copies {
    fn start<'a>(
        &'a self,
        cell: &'a CellClient,
        uid: &'a str,
        mut spec: VmSpec,
    ) -> BoxFuture<'a, Result<VmStatus, ClientError>> {
        async move {
            for (index, mount) in spec.mounts.iter_mut().enumerate() {
                if let (Some(file), MountSource::EmptyDir { archive, .. }) =
                    (self.ins.get(&mount.path), &mut mount.source)
                {
                    let name = format!("{uid}-{index}");
                    cell.put_archive(&name, pieces(Arc::clone(file))).await?;
                    *archive = Some(name);
                }
            }
            spec.keep_files = !self.outs.is_empty();
            let status = cell.put_vm(uid, &spec).await?;
            *self.run.lock().await = Some(Run::default());
            Ok(status)
        }
        .boxed()
    }

    fn delete<'a>(
        &'a self,
        cell: &'a CellClient,
        uid: &'a str,
        grace: Duration,
        reason: EndReason,
    ) -> BoxFuture<'a, Result<Option<VmStatus>, ClientError>> {
        async move {
            if let Some(run) = self.run.lock().await.as_mut()
                && run.left.is_none()
                && !self.outs.is_empty()
            {
                run.left = self.collect(cell, uid).await;
            }
            cell.delete_vm(uid, grace, reason).await
        }
        .boxed()
    }
}

/// One archive for each mount that is copied into.
fn archives(ins: &[CopyIn], target: &Target) -> Result<BTreeMap<String, Arc<File>>, CopyError> {
    let mut writers: BTreeMap<String, Writer<File>> = BTreeMap::new();
    let mut bounds = Bounds::of(&target.limits);
    for copy in ins {
        let flag = || copy.to_string();
        let place = place_in(&target.mounts, &copy.path)
            .map_err(|why| CopyError::Place { flag: flag(), why })?;
        let writer = match writers.entry(place.mount) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => {
                let file = tempfile::tempfile().map_err(CopyError::Temporary)?;
                entry.insert(Writer::new(file))
            }
        };
        gather(&copy.dir, &place.below, writer, &mut bounds).map_err(|source| {
            CopyError::Gather {
                flag: flag(),
                source,
            }
        })?;
    }
    let finished = writers.into_iter().map(|(mount, writer)| {
        let file = writer.finish().map_err(CopyError::Temporary)?;
        Ok((mount, Arc::new(file)))
    });
    finished.collect()
}

/// A file from its start on, in pieces.
fn pieces(file: Arc<File>) -> impl Stream<Item = std::io::Result<Bytes>> + Send + 'static {
    futures::stream::try_unfold(0_u64, move |offset| {
        let file = Arc::clone(&file);
        async move {
            let reading = tokio::task::spawn_blocking(move || {
                let mut piece = vec![0; PIECE_BYTES];
                let read = file.read_at(&mut piece, offset)?;
                piece.truncate(read);
                Ok::<_, std::io::Error>(piece)
            });
            let piece = reading.await.map_err(std::io::Error::other)??;
            let read = u64::try_from(piece.len()).unwrap_or(0);
            Ok((read > 0).then(|| (Bytes::from(piece), offset + read)))
        }
    })
}

/// Why there is no archive.
enum Missing {
    StillRuns,
    Failed(String),
}

async fn fetch(cell: &CellClient, uid: &str, path: &str) -> Result<File, Missing> {
    let failed = |error: &dyn std::fmt::Display| Missing::Failed(error.to_string());
    let file = tempfile::tempfile().map_err(|error| failed(&error))?;
    let copy = file.try_clone().map_err(|error| failed(&error))?;
    let mut out = tokio::fs::File::from_std(copy);
    match cell.archive(uid, path, MAX_ARCHIVE_BYTES, &mut out).await {
        Ok(()) => Ok(file),
        Err(error) if error.reason() == Some(Reason::Conflict) => Err(Missing::StillRuns),
        Err(ClientError::Problem(problem)) => Err(Missing::Failed(problem.message)),
        Err(error) => Err(failed(&error)),
    }
}

async fn cell(warden: &WardenClient, namespace: &str) -> Result<CellClient, String> {
    let cells = warden.cells().await.map_err(|error| error.to_string())?;
    let cell = cells.cells.iter().find(|cell| cell.namespace == namespace);
    let socket = cell.map(|cell| cell.socket.clone());
    Ok(CellClient::new(socket.ok_or("its cell is gone")?))
}

async fn write_out(archive: Result<File, String>, dir: PathBuf) -> Result<(), String> {
    let archive = archive?;
    let writing = tokio::task::spawn_blocking(move || scatter::scatter(&archive, &dir));
    match writing.await {
        Ok(written) => written.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}
