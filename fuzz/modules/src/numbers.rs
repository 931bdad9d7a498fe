//! Numbers that look arbitrary and are the same on every run.

/// The bytes that a module of one seed is made of.
const BYTES: usize = 4_096;

/// A series of numbers (splitmix64).
#[derive(Clone, Debug)]
pub struct Numbers(u64);

impl Numbers {
    /// The series of `seed`.
    pub fn of(seed: u64) -> Self {
        Self(seed)
    }

    /// The next of them.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One below `end`; 0 where there is none.
    pub fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.draw() % end).unwrap_or(0)
    }

    /// Whether something of this probability happens.
    pub fn chance(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }

    /// One of `choices`; the default of its type where there is none.
    pub fn pick<T: Copy + Default>(&mut self, choices: &[T]) -> T {
        let at = self.below(choices.len());
        choices.get(at).copied().unwrap_or_default()
    }
}

/// The bytes that the module of `seed` is made of.
pub fn bytes(seed: u64) -> Vec<u8> {
    let mut numbers = Numbers::of(seed);
    std::iter::repeat_with(|| numbers.draw().to_le_bytes())
        .flatten()
        .take(BYTES)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_stands_for_the_same_bytes_each_time_and_another_for_others() {
        assert_eq!(bytes(7), bytes(7));
        assert_ne!(bytes(7), bytes(8));
        assert_eq!(bytes(7).len(), BYTES);
    }
}
