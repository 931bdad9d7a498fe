//! The limits of one VM: units, built-in defaults, minima and maxima.

use serde::{Deserialize, Serialize};

use crate::human;

/// The limits a VM runs under, every one decided.
///
/// `Limits::default()` is zero everywhere: it permits nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Limits {
    /// Bytes of linear memory, tables and host-side buffers together.
    pub memory_bytes: u64,
    /// Thousandths of one core, averaged; a VM that uses more is delayed, not ended.
    pub cpu_millicores: u64,
    /// Instructions' worth of fuel for the whole life; `None` is unlimited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fuel: Option<u64>,
    /// Wall-clock milliseconds from the start of one run to its end; `None` is unlimited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Bytes of stdout and stderr together per second; what is over is dropped and counted.
    pub log_rate_bytes_per_second: u64,
    /// Bytes of stdout and stderr together in one run; what is over is dropped and counted.
    ///
    /// An agent of the version before does not say it: the built-in default holds there.
    #[serde(default = "built_in_log_total")]
    pub log_total_bytes: u64,
    /// Bytes that the files of its mounts hold together, their names and inodes included.
    #[serde(default)]
    pub storage_bytes: u64,
    /// Inodes of its mounts together.
    #[serde(default)]
    pub inodes: u64,
    /// Descriptors that are open at a time, beyond stdin, stdout, stderr and `/`.
    #[serde(default)]
    pub open_files: u64,
    /// Requests to the network in flight. An agent of the version before grants none, as of the
    /// two that follow.
    #[serde(default)]
    pub connections: u64,
    /// Bytes of the bodies that it sends in its whole life.
    #[serde(default)]
    pub egress_bytes: u64,
    /// Bytes of the bodies that it sends and gets, per second; what is over waits.
    #[serde(default)]
    pub egress_bytes_per_second: u64,
}

const fn built_in_log_total() -> u64 {
    match LimitField::LogTotal.default() {
        Some(bytes) => bytes,
        None => LimitField::LogTotal.max(),
    }
}

/// The limits that a manifest or a policy names; `None` is "not named".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LimitRequest {
    /// See [`Limits::memory_bytes`].
    pub memory_bytes: Option<u64>,
    /// See [`Limits::cpu_millicores`].
    pub cpu_millicores: Option<u64>,
    /// See [`Limits::fuel`].
    pub fuel: Option<u64>,
    /// See [`Limits::timeout_ms`].
    pub timeout_ms: Option<u64>,
    /// See [`Limits::log_rate_bytes_per_second`].
    pub log_rate_bytes_per_second: Option<u64>,
    /// See [`Limits::log_total_bytes`].
    pub log_total_bytes: Option<u64>,
    /// See [`Limits::storage_bytes`].
    pub storage_bytes: Option<u64>,
    /// See [`Limits::inodes`].
    pub inodes: Option<u64>,
    /// See [`Limits::open_files`].
    pub open_files: Option<u64>,
    /// See [`Limits::connections`].
    pub connections: Option<u64>,
    /// See [`Limits::egress_bytes`].
    pub egress_bytes: Option<u64>,
    /// See [`Limits::egress_bytes_per_second`].
    pub egress_bytes_per_second: Option<u64>,
}

/// One row of the limit table: the field as users write it, and what it may be.
///
/// On the wire it is its [name](LimitField::name), such as `logRate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LimitField {
    /// `limits.memory`, bytes.
    Memory,
    /// `limits.cpu`, millicores.
    Cpu,
    /// `limits.fuel`, units.
    Fuel,
    /// `limits.timeout`, milliseconds.
    Timeout,
    /// `limits.logRate`, bytes per second.
    LogRate,
    /// `limits.logTotal`, bytes.
    LogTotal,
    /// `limits.storage`, bytes.
    Storage,
    /// `limits.inodes`, a count.
    Inodes,
    /// `limits.openFiles`, a count.
    OpenFiles,
    /// `limits.connections`, a count.
    Connections,
    /// `limits.egress`, bytes.
    Egress,
    /// `limits.egressRate`, bytes per second.
    EgressRate,
}

impl LimitField {
    /// Every limit, in the order in which they are reported.
    pub const ALL: [Self; 12] = [
        Self::Memory,
        Self::Cpu,
        Self::Fuel,
        Self::Timeout,
        Self::LogRate,
        Self::LogTotal,
        Self::Storage,
        Self::Inodes,
        Self::OpenFiles,
        Self::Connections,
        Self::Egress,
        Self::EgressRate,
    ];

    /// The field's name under `limits`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Cpu => "cpu",
            Self::Fuel => "fuel",
            Self::Timeout => "timeout",
            Self::LogRate => "logRate",
            Self::LogTotal => "logTotal",
            Self::Storage => "storage",
            Self::Inodes => "inodes",
            Self::OpenFiles => "openFiles",
            Self::Connections => "connections",
            Self::Egress => "egress",
            Self::EgressRate => "egressRate",
        }
    }

    /// The value where neither the manifest nor a policy names one; `None` is unlimited.
    pub const fn default(self) -> Option<u64> {
        match self {
            Self::Memory | Self::Storage => Some(64 << 20),
            Self::Cpu => Some(250),
            Self::Fuel | Self::Timeout => None,
            Self::LogRate => Some(64 << 10),
            Self::LogTotal => Some(1 << 30),
            Self::Inodes => Some(16_384),
            Self::OpenFiles => Some(128),
            Self::Connections => Some(32),
            Self::Egress => Some(100 << 20),
            Self::EgressRate => Some(10 << 20),
        }
    }

    /// The smallest value that is accepted.
    pub const fn min(self) -> u64 {
        match self {
            Self::Memory | Self::LogTotal | Self::Storage => 64 << 10,
            Self::Cpu => 10,
            Self::Fuel => 1_000,
            Self::Timeout => 100,
            Self::LogRate | Self::EgressRate => 1 << 10,
            Self::Inodes => 16,
            Self::OpenFiles => 8,
            Self::Connections => 1,
            // It may be that it sends no bodies at all.
            Self::Egress => 0,
        }
    }

    /// The largest value that is accepted, whatever a policy says.
    ///
    /// Memory is bounded by a pool slot (1 GiB), CPU by one core since a VM has one thread.
    pub const fn max(self) -> u64 {
        match self {
            Self::Memory | Self::Storage => 1 << 30,
            Self::Cpu => 1_000,
            Self::Fuel => 1_000_000_000_000_000,
            Self::Timeout => 30 * 24 * 3600 * 1000,
            Self::LogRate => 16 << 20,
            Self::LogTotal | Self::Egress => 1 << 40,
            Self::Inodes => 1_000_000,
            Self::OpenFiles | Self::Connections => 1_024,
            Self::EgressRate => 10 << 30,
        }
    }

    /// The field's path in a manifest, such as `spec.limits.memory`.
    pub fn path(self) -> String {
        format!("spec.limits.{}", self.name())
    }

    /// A value of this limit as people write it: `64Mi`, `250m`, `5G`, `10m`.
    pub fn show(self, value: u64) -> String {
        match self {
            Self::Memory
            | Self::LogRate
            | Self::LogTotal
            | Self::Storage
            | Self::Egress
            | Self::EgressRate => human::bytes(value),
            Self::Cpu => human::millicores(value),
            Self::Fuel | Self::Inodes | Self::OpenFiles | Self::Connections => human::count(value),
            Self::Timeout => human::duration_ms(value),
        }
    }

    /// A value that was measured, rounded down to a few digits: `61Mi`, `4812M`.
    pub fn show_about(self, value: u64) -> String {
        match self {
            Self::Memory
            | Self::LogRate
            | Self::LogTotal
            | Self::Storage
            | Self::Egress
            | Self::EgressRate => human::bytes(rounded(value, 1_024)),
            Self::Fuel | Self::Inodes | Self::OpenFiles | Self::Connections => {
                human::count(rounded(value, 1_000))
            }
            Self::Cpu | Self::Timeout => self.show(value),
        }
    }

    /// This field of `request`.
    pub const fn of(self, request: &LimitRequest) -> Option<u64> {
        match self {
            Self::Memory => request.memory_bytes,
            Self::Cpu => request.cpu_millicores,
            Self::Fuel => request.fuel,
            Self::Timeout => request.timeout_ms,
            Self::LogRate => request.log_rate_bytes_per_second,
            Self::LogTotal => request.log_total_bytes,
            Self::Storage => request.storage_bytes,
            Self::Inodes => request.inodes,
            Self::OpenFiles => request.open_files,
            Self::Connections => request.connections,
            Self::Egress => request.egress_bytes,
            Self::EgressRate => request.egress_bytes_per_second,
        }
    }
}

/// `value`, as a multiple of the largest power of `step` of which it has at least ten.
fn rounded(value: u64, step: u64) -> u64 {
    let mut unit: u64 = 1;
    while let Some(next) = unit.checked_mul(step)
        && value / next >= 10
    {
        unit = next;
    }
    value - value % unit
}
