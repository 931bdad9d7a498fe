//! The families of VMs that have mounts.

use agentvm_cell_api::cell::{FilesystemOperations, Usage};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::{Bytes, Count, Vm, gauge};
use crate::ledger::{Row, StorageLimit};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VmResult {
    namespace: String,
    vm: String,
    result: &'static str,
}

/// The families of VMs that have mounts.
#[derive(Debug, Default)]
pub(super) struct Files {
    bytes: Family<Vm, Bytes>,
    peak: Family<Vm, Bytes>,
    limit: Family<Vm, Bytes>,
    inodes: Family<Vm, Gauge>,
    inodes_limit: Family<Vm, Gauge>,
    operations: Family<VmResult, Count>,
}

impl Files {
    pub(super) fn register(&self, registry: &mut Registry) {
        let Self {
            bytes,
            peak,
            limit,
            inodes,
            inodes_limit,
            operations,
        } = self;
        registry.register(
            "agentvm_vm_storage_bytes",
            "Bytes that its files hold now",
            bytes.clone(),
        );
        registry.register(
            "agentvm_vm_storage_peak_bytes",
            "The most bytes that the files of a run held",
            peak.clone(),
        );
        registry.register(
            "agentvm_vm_storage_limit_bytes",
            "Bytes that its files may hold",
            limit.clone(),
        );
        registry.register("agentvm_vm_inodes", "Inodes held now", inodes.clone());
        registry.register(
            "agentvm_vm_inodes_limit",
            "Inodes that it may hold",
            inodes_limit.clone(),
        );
        registry.register(
            "agentvm_vm_filesystem_operations",
            "Calls of its files by what came of them",
            operations.clone(),
        );
    }

    pub(super) fn fill(&self, row: &Row, vm: &Vm, total: &Usage, running: Option<&Usage>) {
        let Some(StorageLimit { bytes, inodes }) = row.storage_limit else {
            return;
        };
        self.limit.get_or_create(vm).set(gauge(bytes));
        self.inodes_limit.get_or_create(vm).set(gauge(inodes));
        self.bytes
            .get_or_create(vm)
            .set(gauge(running.map_or(0, |usage| usage.storage_bytes)));
        self.inodes
            .get_or_create(vm)
            .set(gauge(running.map_or(0, |usage| usage.inodes)));
        self.peak
            .get_or_create(vm)
            .set(gauge(total.storage_peak_bytes));
        let FilesystemOperations {
            ok,
            quota,
            host,
            other,
        } = total.filesystem;
        for (result, count) in [
            ("ok", ok),
            ("quota", quota),
            ("host", host),
            ("other", other),
        ] {
            let labels = VmResult {
                namespace: vm.namespace.clone(),
                vm: vm.vm.clone(),
                result,
            };
            self.operations.get_or_create(&labels).inc_by(count);
        }
    }
}
