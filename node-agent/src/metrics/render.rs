//! One scrape's numbers as metric families.

mod cells;
mod files;
mod network;
mod pressure;
#[cfg(test)]
mod tests;

use std::sync::atomic::AtomicU64;

use agentvm_cell_api::cell::Usage;
use agentvm_cell_api::gateway;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use files::Files;
use network::{Network, register_gateway};
use pressure::LimitsPressure;

use super::latency::{InNamespace, seconds};
use super::{Counted, Gathered, exposition};
use crate::ledger::{Row, sum};

type Seconds = Counter<f64, AtomicU64>;
type Count = Counter<u64, AtomicU64>;
/// Whole bytes: as a float, Prometheus would show `.0`.
type Bytes = Gauge;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Vm {
    namespace: String,
    vm: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VmState {
    namespace: String,
    vm: String,
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VmReason {
    namespace: String,
    vm: String,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VmInterface {
    namespace: String,
    vm: String,
    interface: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Compile {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Compiler {
    state: &'static str,
}

/// The families of VMs.
#[derive(Debug, Default)]
struct Vms {
    state: Family<VmState, Gauge>,
    restarts: Family<Vm, Count>,
    exits: Family<VmReason, Count>,
    cpu: Family<Vm, Seconds>,
    throttled: Family<Vm, Seconds>,
    fuel: Family<Vm, Count>,
    memory: Family<Vm, Bytes>,
    memory_peak: Family<Vm, Bytes>,
    memory_limit: Family<Vm, Bytes>,
    files: Files,
    pressure: LimitsPressure,
    network: Network,
    denials: Family<VmInterface, Count>,
    log: Family<Vm, Count>,
    log_dropped: Family<Vm, Count>,
    audited: Family<Vm, Gauge>,
}

/// The text of one scrape.
pub(super) fn render(gathered: &Gathered, counted: &Counted) -> String {
    let mut registry = Registry::default();
    let vms = Vms::default();
    vms.register(&mut registry);
    for row in &gathered.snapshot.rows {
        let running = gathered
            .cells
            .iter()
            .find_map(|(_, stats)| stats.vms.get(&row.uid));
        let network = gathered.gateway.as_ref();
        let network = network.and_then(|(_, used)| used.vms.get(&row.uid));
        vms.fill(row, running.filter(|_| row.is_live), network);
    }
    registry.register(
        "agentvm_start_latency_seconds",
        "From the request to the guest's first instruction",
        counted.latencies.family.clone(),
    );
    register_processes(&mut registry, gathered, counted);
    exposition::text(&registry)
}

impl Vms {
    fn register(&self, registry: &mut Registry) {
        let Self {
            state,
            restarts,
            exits,
            cpu,
            throttled,
            fuel,
            memory,
            memory_peak,
            memory_limit,
            files,
            pressure,
            network,
            denials,
            log,
            log_dropped,
            audited,
        } = self;
        registry.register(
            "agentvm_vm_state",
            "The state that the VM is in: 1 for that one",
            state.clone(),
        );
        registry.register(
            "agentvm_vm_restarts",
            "Runs after the first",
            restarts.clone(),
        );
        registry.register("agentvm_vm_exits", "Ends of runs by reason", exits.clone());
        registry.register(
            "agentvm_vm_cpu_seconds",
            "CPU time over all runs",
            cpu.clone(),
        );
        registry.register(
            "agentvm_vm_cpu_throttled_seconds",
            "Time ready to run, but out of CPU quota",
            throttled.clone(),
        );
        registry.register(
            "agentvm_vm_fuel",
            "Units of fuel over all runs",
            fuel.clone(),
        );
        registry.register("agentvm_vm_memory_bytes", "Bytes held now", memory.clone());
        registry.register(
            "agentvm_vm_memory_peak_bytes",
            "The most bytes that a run held",
            memory_peak.clone(),
        );
        registry.register(
            "agentvm_vm_memory_limit_bytes",
            "Bytes that it may hold",
            memory_limit.clone(),
        );
        files.register(registry);
        pressure.register(registry);
        network.register(registry);
        registry.register(
            "agentvm_vm_denials",
            "Calls of interfaces that are closed to it",
            denials.clone(),
        );
        registry.register(
            "agentvm_vm_log_bytes",
            "Bytes written to stdout and stderr",
            log.clone(),
        );
        registry.register(
            "agentvm_vm_log_dropped_bytes",
            "Of those, bytes that were dropped",
            log_dropped.clone(),
        );
        registry.register(
            "agentvm_vm_policy_audited_requests",
            "Requests that an Audit policy would refuse",
            audited.clone(),
        );
    }

    fn fill(&self, row: &Row, running: Option<&Usage>, network: Option<&gateway::Usage>) {
        let vm = Vm {
            namespace: row.namespace.clone(),
            vm: row.name.clone(),
        };
        let total = running.map_or_else(|| row.past.clone(), |usage| sum(&row.past, usage));
        if row.is_there {
            let state = VmState {
                namespace: row.namespace.clone(),
                vm: row.name.clone(),
                state: row.phase.as_str(),
            };
            self.state.get_or_create(&state).set(1);
        }
        self.restarts
            .get_or_create(&vm)
            .inc_by(u64::from(row.restarts));
        for (reason, count) in &row.exits {
            let labels = VmReason {
                namespace: row.namespace.clone(),
                vm: row.name.clone(),
                reason: reason.as_str(),
            };
            self.exits.get_or_create(&labels).inc_by(*count);
        }
        self.cpu.get_or_create(&vm).inc_by(seconds(total.cpu_ns));
        self.throttled
            .get_or_create(&vm)
            .inc_by(seconds(total.throttled_ns));
        self.fuel.get_or_create(&vm).inc_by(total.fuel);
        self.memory
            .get_or_create(&vm)
            .set(gauge(running.map_or(0, |usage| usage.memory_bytes)));
        self.memory_peak
            .get_or_create(&vm)
            .set(gauge(total.memory_peak_bytes));
        if let Some(limit) = row.memory_limit_bytes {
            self.memory_limit.get_or_create(&vm).set(gauge(limit));
        }
        self.files.fill(row, &vm, &total, running);
        self.pressure.fill(row, &vm);
        self.network.fill(row, &vm, network);
        for (interface, count) in total.denials {
            let labels = VmInterface {
                namespace: row.namespace.clone(),
                vm: row.name.clone(),
                interface,
            };
            self.denials.get_or_create(&labels).inc_by(count);
        }
        self.log.get_or_create(&vm).inc_by(total.log_bytes);
        self.log_dropped
            .get_or_create(&vm)
            .inc_by(total.log_dropped_bytes);
        if row.audited > 0 {
            self.audited
                .get_or_create(&vm)
                .set(i64::try_from(row.audited).unwrap_or(i64::MAX));
        }
    }
}

fn register_processes(registry: &mut Registry, gathered: &Gathered, counted: &Counted) {
    let resident: Family<InNamespace, Bytes> = Family::default();
    let cpu: Family<InNamespace, Seconds> = Family::default();
    let threads: Family<InNamespace, Gauge> = Family::default();
    let panics = Count::default();
    panics.inc_by(counted.panics.total());
    panics.inc_by(counted.gateways.panics());
    for (cell, stats) in &gathered.cells {
        let labels = InNamespace {
            namespace: cell.namespace.clone(),
        };
        resident
            .get_or_create(&labels)
            .set(gauge(stats.resident_bytes));
        cpu.get_or_create(&labels).inc_by(seconds(stats.cpu_ns));
        threads.get_or_create(&labels).set(i64::from(stats.threads));
    }
    registry.register(
        "agentvm_cell_resident_bytes",
        "Resident bytes of a namespace's cell",
        resident,
    );
    registry.register(
        "agentvm_cell_cpu_seconds",
        "CPU time of a namespace's cell",
        cpu,
    );
    registry.register(
        "agentvm_cell_threads",
        "Threads of a namespace's cell",
        threads,
    );
    registry.register(
        "agentvm_host_panics",
        "Panics in host code made for guests: each is a bug",
        panics,
    );
    cells::register(registry, gathered);
    register_warden(registry, gathered);
    if gathered.has_gateway {
        register_gateway(registry, gathered, counted);
    }
}

fn register_warden(registry: &mut Registry, gathered: &Gathered) {
    let up: Gauge = Gauge::default();
    up.set(i64::from(gathered.warden.is_some()));
    registry.register("agentvm_warden_up", "Whether the warden answers", up);
    let resident = Bytes::default();
    let compiles: Family<Compile, Count> = Family::default();
    let at_work: Family<Compiler, Gauge> = Family::default();
    if let Some(info) = &gathered.warden {
        for (state, count) in [
            ("running", info.compiles.running),
            ("waiting", info.compiles.waiting),
        ] {
            at_work.get_or_create(&Compiler { state }).set(gauge(count));
        }
        resident.set(gauge(info.resident_bytes));
        for (outcome, count) in [
            ("succeeded", info.compiles.succeeded),
            ("refused", info.compiles.refused),
            ("rejected_entry", info.compiles.rejected_entries),
        ] {
            compiles.get_or_create(&Compile { outcome }).inc_by(count);
        }
    }
    registry.register(
        "agentvm_warden_resident_bytes",
        "Resident bytes of the warden",
        resident,
    );
    registry.register("agentvm_compiles", "Compilations by outcome", compiles);
    registry.register(
        "agentvm_compilers",
        "Modules that are compiled now, or wait for a compiler",
        at_work,
    );
    let own = Bytes::default();
    own.set(gauge(own_resident_bytes()));
    registry.register(
        "agentvm_agent_resident_bytes",
        "Resident bytes of the node agent",
        own,
    );
}

fn own_resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse().ok())
        .unwrap_or_default();
    pages.saturating_mul(u64::try_from(rustix::param::page_size()).unwrap_or(4096))
}

/// A gauge's value; no memory is near its bound.
fn gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
