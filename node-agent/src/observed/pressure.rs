//! What presses a VM, in a form that is told seldom: a node without memory for its files, and its
//! own limits.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use agentvm_policy::LimitField;

use crate::clock::Moment;

/// How long an end must hold before it is told: what is freed at the edge is used again.
const SETTLES: Duration = Duration::from_secs(30);

/// Whether something presses. A beginning is told at once, an end only when it has held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pressure {
    holds: bool,
    ended: Option<Moment>,
}

impl Pressure {
    /// The cell says whether it holds.
    pub(super) fn see(&mut self, holds: bool, now: Moment) {
        if holds {
            self.ended = None;
        } else if self.holds {
            self.ended = Some(now);
        }
        self.holds = holds;
    }

    /// What is to be told.
    pub fn is_told(&self, now: Moment) -> bool {
        self.holds || self.due().is_some_and(|at| now < at)
    }

    /// When an end becomes due.
    pub fn due(&self) -> Option<Moment> {
        self.ended.map(|at| at.saturating_add(SETTLES))
    }
}

/// The limits that press a VM, each as [`Pressure`] has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimitsPressure {
    limits: BTreeMap<LimitField, Pressure>,
}

impl LimitsPressure {
    /// The cell says which limits press.
    pub(super) fn see(&mut self, pressing: &BTreeSet<LimitField>, now: Moment) {
        for field in pressing {
            self.limits.entry(*field).or_default();
        }
        for (field, pressure) in &mut self.limits {
            pressure.see(pressing.contains(field), now);
        }
    }

    /// What is to be told.
    pub fn told(&self, now: Moment) -> BTreeSet<LimitField> {
        let told = self.limits.iter().filter(|(_, one)| one.is_told(now));
        told.map(|(field, _)| *field).collect()
    }

    /// When ends become due.
    pub fn dues(&self) -> impl Iterator<Item = Moment> {
        self.limits.values().filter_map(Pressure::due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_is_told_at_once_and_an_end_when_it_has_held() {
        let at = Duration::from_secs;
        let mut pressure = Pressure::default();
        pressure.see(false, at(1));
        assert!(!pressure.is_told(at(1)));
        pressure.see(true, at(2));
        assert!(pressure.is_told(at(2)));
        pressure.see(false, at(10));
        pressure.see(false, at(20));
        assert!(pressure.is_told(at(39)));
        assert!(!pressure.is_told(at(40)));
        assert_eq!(pressure.due(), Some(at(40)));
        pressure.see(true, at(41));
        pressure.see(false, at(42));
        assert!(pressure.is_told(at(71)));
    }

    #[test]
    fn each_limit_settles_by_itself() {
        let at = Duration::from_secs;
        let (memory, cpu) = (LimitField::Memory, LimitField::Cpu);
        let mut pressure = LimitsPressure::default();
        pressure.see(&[memory].into(), at(1));
        pressure.see(&[memory, cpu].into(), at(2));
        assert_eq!(pressure.told(at(2)), [memory, cpu].into());
        pressure.see(&[cpu].into(), at(10));
        pressure.see(&[].into(), at(20));
        assert_eq!(pressure.dues().collect::<Vec<_>>(), [at(40), at(50)]);
        assert_eq!(pressure.told(at(39)), [memory, cpu].into());
        assert_eq!(pressure.told(at(40)), [cpu].into());
        assert_eq!(pressure.told(at(50)), [].into());
    }
}
