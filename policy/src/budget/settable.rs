//! What is seen where a VM reaches a limit that its manifest sets.

use crate::{EndReason, LimitField};

/// What is seen at one of the limits under `spec.limits`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AtLimit {
    /// What the program sees.
    pub guest: &'static str,
    /// How the run ends, where it does.
    pub end: Option<EndReason>,
    /// The series that shows use or refusals.
    pub series: &'static str,
}

/// What is seen where a VM reaches `field`.
pub const fn at_limit(field: LimitField) -> AtLimit {
    match field {
        LimitField::Memory => AtLimit {
            guest: "`memory.grow` and `table.grow` are -1",
            end: Some(EndReason::MemoryLimit),
            series: "agentvm_vm_memory_bytes",
        },
        LimitField::Cpu => AtLimit {
            guest: "a delay",
            end: None,
            series: "agentvm_vm_cpu_throttled_seconds_total",
        },
        LimitField::Fuel => AtLimit {
            guest: "the end",
            end: Some(EndReason::OutOfFuel),
            series: "agentvm_vm_fuel_total",
        },
        LimitField::Timeout => AtLimit {
            guest: "the end",
            end: Some(EndReason::DeadlineExceeded),
            series: "agentvm_vm_exits_total",
        },
        LimitField::LogRate => AtLimit {
            guest: "nothing: what is over is dropped",
            end: None,
            series: "agentvm_vm_log_dropped_bytes_total",
        },
        LimitField::LogTotal => AtLimit {
            guest: "nothing: all that follows is dropped",
            end: None,
            series: "agentvm_vm_log_dropped_bytes_total",
        },
        LimitField::Storage => AtLimit {
            guest: "ENOSPC",
            end: None,
            series: "agentvm_vm_storage_bytes",
        },
        LimitField::Inodes => AtLimit {
            guest: "ENOSPC",
            end: None,
            series: "agentvm_vm_inodes",
        },
        LimitField::OpenFiles => AtLimit {
            guest: "EMFILE; a component: `insufficient-memory`",
            end: None,
            series: "agentvm_vm_filesystem_operations_total",
        },
        LimitField::Connections => AtLimit {
            guest: "`connection-limit-reached`",
            end: None,
            series: "agentvm_vm_network_requests_in_flight",
        },
        LimitField::Egress => AtLimit {
            guest: "`HTTP-request-body-size`",
            end: None,
            series: "agentvm_vm_network_sent_bytes_total",
        },
        LimitField::EgressRate => AtLimit {
            guest: "a delay",
            end: None,
            series: "agentvm_vm_network_throttled_seconds_total",
        },
    }
}
