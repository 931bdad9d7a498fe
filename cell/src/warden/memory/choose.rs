//! Which process ends when memory is nearly used up, and what is said of it.

use super::cgroup::Reading;
use crate::guards::{Guard, is_on};

/// What a cell takes of its own, besides what its VMs were promised.
const OWN_BYTES: u64 = agentvm_policy::budget::CELL_OWN_BYTES.value;

/// What one process was promised and takes, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::warden) struct Weight {
    pub(in crate::warden) who: Who,
    /// The sum of its live VMs' limits; a compiler has none.
    pub(in crate::warden) promised: u64,
    /// Without what it shares with others.
    pub(in crate::warden) resident: u64,
}

/// A process that can be ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::warden) enum Who {
    /// The cell of this namespace.
    Cell(String),
    /// The compiler with this process id. Its module can be tried again.
    Compiler(u32),
}

impl Weight {
    /// How much more it takes than it was promised.
    pub(super) fn over(&self) -> u64 {
        let own = match self.who {
            Who::Cell(_) => OWN_BYTES,
            Who::Compiler(_) => 0,
        };
        self.resident
            .saturating_sub(self.promised.saturating_add(own))
    }

    /// What is remembered of a cell that ended for this.
    pub(super) fn sentence(&self, reading: Reading, percent: u64) -> String {
        let [used, limit, resident, promised, over] = [
            reading.used,
            reading.limit,
            self.resident,
            self.promised,
            self.over(),
        ]
        .map(|bytes| bytes >> 20);
        let what = match &self.who {
            Who::Cell(namespace) => format!("the cell of namespace {namespace}"),
            Who::Compiler(pid) => format!("the compiler {pid}"),
        };
        let why = if self.over() > 0 {
            format!(
                "{over} MiB more than its VMs were promised ({promised} MiB) and it needs itself"
            )
        } else {
            format!(
                "the most, though not more than its VMs were promised ({promised} MiB): the node has promised more than it has"
            )
        };
        format!(
            "the node ran short of memory: {used} MiB of the container's {limit} MiB were used, which is {percent} % or more, \
             and {what} held {resident} MiB, {why}"
        )
    }
}

/// The process to end where `percent` of the limit are used: the one that is most over what it
/// was promised; where none is over, the largest.
pub(super) fn choose(reading: Reading, percent: u64, all: &[Weight]) -> Option<&Weight> {
    if !reading.is_at(percent) {
        return None;
    }
    let over = |weight: &Weight| {
        if is_on(Guard::MostOverEnds) {
            weight.over()
        } else {
            0
        }
    };
    all.iter()
        .max_by_key(|weight| (over(weight), weight.resident))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guards::switch_off;

    const MIB: u64 = 1 << 20;

    fn cell(namespace: &str, promised_mib: u64, resident_mib: u64) -> Weight {
        Weight {
            who: Who::Cell(namespace.to_owned()),
            promised: promised_mib * MIB,
            resident: resident_mib * MIB,
        }
    }

    fn at(used_mib: u64) -> Reading {
        Reading {
            used: used_mib * MIB,
            limit: 1000 * MIB,
        }
    }

    fn chosen(used_mib: u64, all: &[Weight]) -> Option<Who> {
        choose(at(used_mib), 88, all).map(|weight| weight.who.clone())
    }

    #[test]
    fn d10_the_cell_that_is_most_over_its_promise_goes_and_not_the_largest() {
        let cells = [
            cell("large", 500, 500),
            cell("over", 50, 180),
            cell("empty", 0, 20),
        ];
        assert_eq!(chosen(0, &cells), None);
        assert_eq!(chosen(879, &cells), None);
        let over = Some(Who::Cell("over".to_owned()));
        assert_eq!(chosen(880, &cells), over);
        assert_eq!(chosen(2000, &cells), over);
        let said = cells[1].sentence(at(881), 88);
        let expected = format!(
            "the node ran short of memory: 881 MiB of the container's 1000 MiB were used, which is 88 % or more, \
             and the cell of namespace over held 180 MiB, {} MiB more than its VMs were promised (50 MiB) and it needs itself",
            130 - OWN_BYTES / MIB
        );
        assert_eq!(said, expected);
    }

    #[test]
    fn d10_mutant_where_the_largest_goes_a_cell_within_its_promise_pays_for_another() {
        let cells = [cell("large", 500, 500), cell("over", 50, 180)];
        let ended = switch_off(Guard::MostOverEnds, || chosen(880, &cells));
        assert_eq!(ended, Some(Who::Cell("large".to_owned())));
    }

    #[test]
    fn d10_where_no_cell_is_over_the_largest_goes_and_is_told_so() {
        let cells = [
            cell("a", 400, 300),
            cell("b", 600, 500),
            cell("c", 0, OWN_BYTES / MIB),
        ];
        let ended = choose(at(900), 88, &cells).unwrap();
        assert_eq!((&ended.who, ended.over()), (&Who::Cell("b".to_owned()), 0));
        let said = ended.sentence(at(900), 88);
        assert!(
            said.ends_with("the node has promised more than it has"),
            "{said}"
        );
    }

    #[test]
    fn e02_a_compiler_goes_before_a_cell_within_its_promise_and_after_one_that_is_further_over() {
        let compiler = Weight {
            who: Who::Compiler(7),
            promised: 0,
            resident: 200 * MIB,
        };
        let full = cell("full", 500, 500 + OWN_BYTES / MIB);
        let over = cell("over", 500, 750 + OWN_BYTES / MIB);
        let ended = chosen(880, &[full.clone(), compiler.clone()]);
        assert_eq!(ended, Some(Who::Compiler(7)));
        let ended = chosen(880, &[full, over, compiler]);
        assert_eq!(ended, Some(Who::Cell("over".to_owned())));
    }

    #[test]
    fn without_processes_nothing_is_ended() {
        assert_eq!(chosen(1000, &[]), None);
    }
}
