//! One VM's life, from a `PUT` to its end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use agentvm_cell_api::cell::VmSpec;
use agentvm_cell_api::log::Stream;
use agentvm_cell_api::problem::{Problem, Reason};
use agentvm_policy::EndReason;
use agentvm_runtime::vfs::Filesystem;
use agentvm_runtime::{Ending, Vm, VmConfig, VmHandle};

use super::archive;
use super::log::{Names, VmLog};
use super::mounts;
use super::network::VmNetwork;
use super::programs::Loaded;
use super::routes::Cell;
use super::schedule::{Account, Payer, Running};
use super::vms::{Entry, Put, Vms};

/// Starts the VM, or updates the one that is there.
pub(super) async fn put(cell: &Arc<Cell>, uid: &str, spec: VmSpec) -> Result<Put, Problem> {
    let asked = Instant::now();
    if let Some(status) = cell.vms.update(uid, &spec)? {
        // Files that were swapped may have freed others.
        cell.reclaim.free(None);
        return Ok(Put::Updated(status));
    }
    cell.pace.turn().await;
    let (loaded, log_file) = tokio::join!(cell.programs.get(&spec.module), cell.link.log_file());
    let loaded = loaded?;
    if loaded.kind != spec.kind {
        return Err(Problem {
            reason: Reason::BadRequest,
            message: format!("the module is a {:?}, not a {:?}", loaded.kind, spec.kind),
        });
    }
    let log_file = log_file
        .inspect_err(|problem| tracing::warn!(%uid, %problem, "VM runs without a log file"))
        .ok();
    let names = Names {
        namespace: cell.namespace.clone(),
        vm: spec.name.clone(),
        uid: uid.to_owned(),
    };
    let log = cell.logs.open(names, &spec.grants.limits, log_file);
    let filesystem = mounts::filesystem(&spec, mounts::now())?;
    archive::unpack_all(cell, &spec, &filesystem).await?;
    let network = cell.network.open(uid, &spec.grants);
    let (vm, handle) = prepare(&loaded, &spec, filesystem.clone(), &log, network.as_ref());
    let payer = handle.clone();
    log.charge_to(move |used| payer.charge_cpu(used));
    if let Some(network) = &network {
        let payer = handle.clone();
        network.charge_to(move |used| payer.charge_cpu(used));
    }
    let entry = Entry::new(
        &spec,
        asked,
        handle.clone(),
        log.clone(),
        filesystem,
        network.clone(),
    );
    let put = cell.vms.insert(uid, entry, &spec)?;
    if let Put::Started(_) = &put {
        let guest = cell.guests.spawn(Pays(handle.clone()), vm.run());
        let (vms, reclaim, uid) = (cell.vms.clone(), cell.reclaim.clone(), uid.to_owned());
        tokio::spawn(async move {
            let ending = follow(&vms, &uid, guest, &handle).await;
            // Before the end is told, so that who is told finds the whole log.
            log.finish();
            if let Some(network) = network {
                network.end();
            }
            reclaim.free(vms.ended(&uid, ending));
        });
    }
    Ok(put)
}

/// A VM pays for its task.
struct Pays(VmHandle);

impl Payer for Pays {
    fn account(&self) -> Account {
        Account {
            millicores: self.0.cpu_millicores(),
            charged: self.0.usage().cpu,
        }
    }

    fn charge(&self, used: Duration) {
        self.0.charge_cpu(used);
    }
}

fn prepare(
    loaded: &Loaded,
    spec: &VmSpec,
    filesystem: Filesystem,
    log: &Arc<VmLog>,
    network: Option<&VmNetwork>,
) -> (Vm, VmHandle) {
    let config = VmConfig {
        args: spec.args.clone(),
        env: spec
            .env
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
        grants: spec.grants,
        filesystem,
        egress: network.map(VmNetwork::egress),
        stdout: log.output(Stream::Stdout),
        stderr: log.output(Stream::Stderr),
    };
    agentvm_runtime::prepare(&loaded.program, config)
}

/// Writes down the start of a run that goes on by itself, and waits for its end.
async fn follow(vms: &Vms, uid: &str, mut guest: Running<Ending>, handle: &VmHandle) -> Ending {
    let ended_before_it_started = tokio::select! {
        biased;
        () = handle.started() => {
            vms.started(uid);
            None
        }
        ended = &mut guest => Some(ended),
    };
    let ended = match ended_before_it_started {
        Some(ended) => ended,
        None => guest.await,
    };
    let ending = ended.unwrap_or_else(|error| Ending {
        reason: EndReason::HostError,
        exit_code: None,
        message: format!("the host failed while it ran the program: {error}"),
    });
    tracing::debug!(%uid, reason = ending.reason.as_str(), exit_code = ?ending.exit_code, "VM ended");
    ending
}
