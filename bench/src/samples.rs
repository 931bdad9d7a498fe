//! A set of measured values and its percentiles.

use std::time::Duration;

/// Measured values in one unit, sorted on demand.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    /// No values yet.
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds a duration in microseconds.
    pub(crate) fn push_us(&mut self, value: Duration) {
        self.0.push(value.as_secs_f64() * 1e6);
    }

    /// Adds a duration in milliseconds.
    pub(crate) fn push_ms(&mut self, value: Duration) {
        self.0.push(value.as_secs_f64() * 1e3);
    }

    /// Adds a value in any unit.
    pub(crate) fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    /// One value in any unit.
    pub(crate) fn one(value: f64) -> Self {
        Self(vec![value])
    }

    /// How many values there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The value below which `percent` of the values lie (nearest rank); 0 where there is none.
    #[expect(
        clippy::as_conversions,
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "the rank lies between 0 and the number of samples, far below 2^52"
    )]
    pub(crate) fn percentile(&self, percent: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
    }

    /// The same values less `part` each: what is measured besides.
    pub(crate) fn less(&self, part: f64) -> Self {
        Self(self.0.iter().map(|value| value - part).collect())
    }

    /// The same values times `factor`, for another unit.
    pub(crate) fn times(&self, factor: f64) -> Self {
        Self(self.0.iter().map(|value| value * factor).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let samples = Samples((1..=100).rev().map(f64::from).collect());
        assert!((samples.percentile(50.0) - 50.0).abs() < f64::EPSILON);
        assert!((samples.percentile(99.0) - 99.0).abs() < f64::EPSILON);
        assert!((Samples::one(7.0).percentile(99.0) - 7.0).abs() < f64::EPSILON);
    }
}
