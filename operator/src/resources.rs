//! Amounts of what VMs use of a node: memory, CPU and VM slots.

use agentvm_crds::agentvm::Claimed;
use agentvm_crds::quantity;
use agentvm_policy::{LimitField, Limits};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// An amount of each resource that placement counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// Bytes of guest memory and of files, which are held in memory too.
    pub memory_bytes: u64,
    /// Thousandths of a core.
    pub cpu_millicores: u64,
    /// VMs.
    pub vms: u64,
}

impl Resources {
    /// What one VM with these limits holds. Its files are held in memory too, where it can have
    /// any: a VM without mounts has none.
    pub const fn of_one(limits: &Limits, has_files: bool) -> Self {
        let storage_bytes = if has_files { limits.storage_bytes } else { 0 };
        Self {
            memory_bytes: limits.memory_bytes.saturating_add(storage_bytes),
            cpu_millicores: limits.cpu_millicores,
            vms: 1,
        }
    }

    /// What an assignment says of one VM; `None` where that can't be read.
    pub fn recorded(claimed: &Claimed) -> Option<Self> {
        Some(Self {
            memory_bytes: quantity::whole(&claimed.memory.0).ok()?,
            cpu_millicores: quantity::milli(&claimed.cpu.0).ok()?,
            vms: 1,
        })
    }

    /// What an assignment is to say of one VM that holds this.
    pub fn to_record(self) -> Claimed {
        Claimed {
            memory: Quantity(LimitField::Memory.show(self.memory_bytes)),
            cpu: Quantity(LimitField::Cpu.show(self.cpu_millicores)),
        }
    }

    /// The sum; sticks at the largest value, so that absurd input never wraps to "free".
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            memory_bytes: self.memory_bytes.saturating_add(other.memory_bytes),
            cpu_millicores: self.cpu_millicores.saturating_add(other.cpu_millicores),
            vms: self.vms.saturating_add(other.vms),
        }
    }

    /// The larger of each.
    #[must_use]
    pub fn at_least(self, other: Self) -> Self {
        Self {
            memory_bytes: self.memory_bytes.max(other.memory_bytes),
            cpu_millicores: self.cpu_millicores.max(other.cpu_millicores),
            vms: self.vms.max(other.vms),
        }
    }

    /// The difference, zero where it would be negative.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self {
            memory_bytes: self.memory_bytes.saturating_sub(other.memory_bytes),
            cpu_millicores: self.cpu_millicores.saturating_sub(other.cpu_millicores),
            vms: self.vms.saturating_sub(other.vms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Resources;

    #[test]
    fn what_is_recorded_is_read_as_it_was() {
        for (memory_bytes, cpu_millicores) in [(0, 0), (1, 1), (64 << 20, 250), (u64::MAX, 64_000)]
        {
            let one = Resources {
                memory_bytes,
                cpu_millicores,
                vms: 1,
            };
            assert_eq!(Resources::recorded(&one.to_record()), Some(one));
        }
    }

    #[test]
    fn sums_stick_at_the_largest_value() {
        let huge = Resources {
            memory_bytes: u64::MAX,
            cpu_millicores: 1,
            vms: 1,
        };
        assert_eq!(huge.plus(huge).memory_bytes, u64::MAX);
        assert_eq!(Resources::default().minus(huge), Resources::default());
    }
}
