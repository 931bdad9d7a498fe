//! Whether a VM's files can't grow, in a form that is told seldom.

use std::time::Duration;

use crate::clock::Moment;

/// How long an end must hold before it is told: memory that is freed at the edge is used again.
const SETTLES: Duration = Duration::from_secs(30);

/// Whether a VM's files can't grow. A beginning is told at once, an end only when it has held.
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
}
