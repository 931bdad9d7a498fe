//! What stands in the way of a placement, and how it is told.

use std::collections::BTreeMap;
use std::fmt;

/// Why one node does not take one VM.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Obstacle {
    /// Free memory is less than the VM's limit.
    Memory,
    /// Free memory is less than the VM's memory and files together may take.
    MemoryAndStorage,
    /// Free CPU is less than the VM's limit.
    Cpu,
    /// Every slot is taken.
    Slots,
    /// It runs the cells of this many namespaces, and no more.
    Cells(u64),
    /// Its cell of the VM's namespace holds this many VMs, and no more.
    SlotsOfCell(u64),
    /// A taint with this key is not tolerated.
    Taint(String),
    /// Its labels do not match.
    Selector,
    /// It is cordoned.
    Unschedulable,
    /// Its agent's Lease is not renewed.
    Silent,
    /// Its agent says that it can't run VMs.
    NotReady,
    /// Its jail is weaker than the operator requires.
    Jail,
    /// An `AgentNode` without a Node of that name.
    NoNodeObject,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("insufficient memory"),
            Self::MemoryAndStorage => {
                f.write_str("insufficient memory (limits.memory + limits.storage)")
            }
            Self::Cpu => f.write_str("insufficient cpu"),
            Self::Slots => f.write_str("insufficient VM slots"),
            Self::Cells(most) => write!(
                f,
                "insufficient cells (--max-cells: VMs of {most} {} at once)",
                if *most == 1 {
                    "namespace"
                } else {
                    "namespaces"
                }
            ),
            Self::SlotsOfCell(most) => write!(
                f,
                "insufficient VM slots in the namespace's cell (--max-vms-per-cell: {most})"
            ),
            Self::Taint(key) => write!(f, "taint {key}"),
            Self::Selector => f.write_str("not matching nodeSelector"),
            Self::Unschedulable => f.write_str("cordoned"),
            Self::Silent => f.write_str("not heard from"),
            Self::NotReady => f.write_str("not ready"),
            Self::Jail => f.write_str("jail too weak"),
            Self::NoNodeObject => f.write_str("without Node object"),
        }
    }
}

/// Why no node takes a VM: `0/3 nodes: 2 insufficient memory, 1 taint gpu`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unplaceable {
    counts: BTreeMap<Obstacle, usize>,
}

impl Unplaceable {
    /// Different obstacles named in one message; the rest is summed up.
    const MOST_NAMED: usize = 8;

    pub(super) fn add(&mut self, obstacle: Obstacle) {
        *self.counts.entry(obstacle).or_default() += 1;
    }

    /// How many nodes were looked at.
    pub fn nodes(&self) -> usize {
        self.counts.values().sum()
    }
}

impl fmt::Display for Unplaceable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0/{} nodes: ", self.nodes())?;
        if self.counts.is_empty() {
            return f.write_str("no node runs an agent");
        }
        let mut rows: Vec<(&Obstacle, usize)> = self
            .counts
            .iter()
            .map(|(obstacle, count)| (obstacle, *count))
            .collect();
        rows.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        for (index, (obstacle, count)) in rows.iter().take(Self::MOST_NAMED).enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{count} {obstacle}")?;
        }
        let rest: usize = rows
            .iter()
            .skip(Self::MOST_NAMED)
            .map(|(_, count)| count)
            .sum();
        if rest > 0 {
            write!(f, ", {rest} for other reasons")?;
        }
        Ok(())
    }
}
