//! How long to wait before an object is tried again.
//!
//! Each object has its own count, so a poisoned one slows nobody else. What is wrong with the
//! object itself waits up to 1000 s (a change of the object is looked at at once anyway); what is
//! wrong with the API server waits up to 15 s, so that everything catches up soon after an outage.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use crate::error::Class;
use crate::world::Key;

const FIRST: Duration = Duration::from_millis(5);

/// Failures in a row, by object.
#[derive(Debug, Default)]
pub struct Retries {
    failures: BTreeMap<Key, u32>,
    seed: RandomState,
}

impl Retries {
    /// Counts a failure; says how long to wait.
    pub fn failed(&mut self, key: &Key, class: Class) -> Duration {
        let count = self.failures.entry(key.clone()).or_default();
        *count = count.saturating_add(1);
        let sample = u16::try_from(self.seed.hash_one((key, *count)) & 0xffff).unwrap_or(u16::MAX);
        delay(class, *count, sample)
    }

    /// Forgets the failures of an object that got through or is gone.
    pub fn succeeded(&mut self, key: &Key) {
        self.failures.remove(key);
    }

    /// How many objects fail at the moment.
    pub fn failing(&self) -> usize {
        self.failures.len()
    }
}

/// The wait after `failures` in a row: doubled each time up to the class's cap, then cut by up to
/// half as `sample` says (0 cuts nothing), so that objects that failed together come back apart.
pub fn delay(class: Class, failures: u32, sample: u16) -> Duration {
    let doubled = FIRST.saturating_mul(
        1_u32
            .checked_shl(failures.saturating_sub(1))
            .unwrap_or(u32::MAX),
    );
    let whole = doubled.min(cap(class));
    whole.saturating_sub(whole / 2 * u32::from(sample) / u32::from(u16::MAX))
}

const fn cap(class: Class) -> Duration {
    match class {
        Class::Conflict => Duration::from_secs(1),
        Class::Unavailable => Duration::from_secs(15),
        Class::Gone | Class::Rejected | Class::Internal => Duration::from_secs(1000),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Retries, delay};
    use crate::error::Class;
    use crate::world::Key;

    #[test]
    fn waits_double_up_to_the_cap_of_what_went_wrong() {
        let cases = [
            (Class::Rejected, 1, 5),
            (Class::Rejected, 2, 10),
            (Class::Rejected, 11, 5_120),
            (Class::Rejected, 30, 1_000_000),
            (Class::Rejected, u32::MAX, 1_000_000),
            (Class::Unavailable, 30, 15_000),
            (Class::Conflict, 30, 1_000),
        ];
        for (class, failures, millis) in cases {
            assert_eq!(
                delay(class, failures, 0),
                Duration::from_millis(millis),
                "{class:?} {failures}"
            );
        }
    }

    #[test]
    fn jitter_cuts_at_most_half() {
        for sample in [0, 1, 77, 40_000, u16::MAX] {
            let wait = delay(Class::Rejected, 40, sample);
            assert!((500..=1000).contains(&wait.as_secs()), "{sample}: {wait:?}");
        }
        assert_eq!(
            delay(Class::Rejected, 40, u16::MAX),
            Duration::from_secs(500)
        );
    }

    #[test]
    fn objects_are_counted_apart_and_start_over_after_a_success() {
        let key = |name: &str| Key {
            namespace: "lab".into(),
            name: name.into(),
        };
        let mut retries = Retries::default();
        for _ in 0..12 {
            retries.failed(&key("poison"), Class::Rejected);
        }
        assert!(retries.failed(&key("good"), Class::Rejected) <= Duration::from_millis(5));
        assert!(retries.failed(&key("poison"), Class::Rejected) > Duration::from_secs(5));
        retries.succeeded(&key("poison"));
        assert!(retries.failed(&key("poison"), Class::Rejected) <= Duration::from_millis(5));
        assert_eq!(retries.failing(), 2);
    }
}
