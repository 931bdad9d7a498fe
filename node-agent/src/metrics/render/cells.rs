//! The families of cells, and of how many there may be.

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::gauge;
use crate::metrics::Gathered;
use crate::metrics::latency::InNamespace;

pub(super) fn register(registry: &mut Registry, gathered: &Gathered) {
    let running: Gauge = Gauge::default();
    running.set(i64::try_from(gathered.running_cells).unwrap_or(i64::MAX));
    registry.register("agentvm_cells", "Cells that run", running);
    let vms: Family<InNamespace, Gauge> = Family::default();
    for (cell, stats) in &gathered.cells {
        let labels = InNamespace {
            namespace: cell.namespace.clone(),
        };
        let count = u64::try_from(stats.vms.len()).unwrap_or(u64::MAX);
        vms.get_or_create(&labels).set(gauge(count));
    }
    registry.register("agentvm_cell_vms", "VMs that a namespace's cell holds", vms);
    let Some(info) = &gathered.warden else {
        return;
    };
    let bounds = [
        ("agentvm_cells_limit", "Cells that may run", info.max_cells),
        (
            "agentvm_cell_vms_limit",
            "VMs that one cell may hold",
            info.max_vms_per_cell,
        ),
    ];
    for (name, help, most) in bounds.into_iter().filter(|(.., most)| *most > 0) {
        let bound: Gauge = Gauge::default();
        bound.set(i64::from(most));
        registry.register(name, help, bound);
    }
}
