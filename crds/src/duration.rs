//! Durations as users write them: `30s`, `10m`, `1h30m`, `100ms`, `1us`.
//!
//! Whole numbers with a unit, each unit at most once, largest first. A subset of what Go's
//! `time.ParseDuration` reads, so that the API server's CEL and this parser agree.

use thiserror::Error;

/// Why a text is not a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DurationError {
    /// It is not written as a duration.
    #[error(
        "is not a duration, write whole numbers with a unit, largest first, such as 30s, 1h30m or 100ms"
    )]
    Malformed,
    /// It is longer than 64 bits of nanoseconds.
    #[error("is too long")]
    TooLong,
}

/// The longest text that is looked at.
pub const MAX_LEN: usize = 32;

const UNITS: [(&str, u64); 6] = [
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// Reads `text` as nanoseconds.
pub fn nanoseconds(text: &str) -> Result<u64, DurationError> {
    if text.is_empty() || text.len() > MAX_LEN {
        return Err(DurationError::Malformed);
    }
    let mut rest = text;
    let mut units = UNITS.iter();
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (number, after) = take(rest, |c| c.is_ascii_digit());
        let (unit, after) = take(after, |c| c.is_ascii_lowercase());
        let number: u64 = number
            .parse()
            .map_err(|_not_a_number| DurationError::Malformed)?;
        let (_, size) = units
            .find(|(name, _)| *name == unit)
            .ok_or(DurationError::Malformed)?;
        let part = number.checked_mul(*size).ok_or(DurationError::TooLong)?;
        total = total.checked_add(part).ok_or(DurationError::TooLong)?;
        rest = after;
    }
    Ok(total)
}

/// Reads `text` as milliseconds; a finer part is rounded up.
pub fn milliseconds(text: &str) -> Result<u64, DurationError> {
    Ok(nanoseconds(text)?.div_ceil(1_000_000))
}

fn take(text: &str, matching: impl Fn(char) -> bool) -> (&str, &str) {
    let end = text.find(|c| !matching(c)).unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::{DurationError, milliseconds, nanoseconds};

    #[test]
    fn durations_are_sums_of_units() {
        let cases: [(&str, u64); 8] = [
            ("30s", 30_000),
            ("10m", 600_000),
            ("1h", 3_600_000),
            ("1h30m", 5_400_000),
            ("1m0s", 60_000),
            ("100ms", 100),
            ("1us", 1),
            ("0s", 0),
        ];
        for (text, expected) in cases {
            assert_eq!(milliseconds(text), Ok(expected), "{text}");
        }
        assert_eq!(nanoseconds("1us5ns"), Ok(1_005));
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in [
            "",
            "30",
            "s",
            "1d",
            "1.5h",
            "-1s",
            "+1s",
            "1s1h",
            "1s1s",
            "1 s",
            "1S",
            "1h ",
            "9999999999999999999999s",
        ] {
            assert_eq!(nanoseconds(text), Err(DurationError::Malformed), "{text}");
        }
        assert_eq!(nanoseconds("9999999999h"), Err(DurationError::TooLong));
    }

    #[test]
    fn what_policy_shows_is_read_back() {
        for value in [
            1,
            999,
            1_000,
            90_000_000_000,
            5_400_000_000_001,
            3_600_000_000_000 * 720,
        ] {
            assert_eq!(
                nanoseconds(&agentvm_policy::human::duration_ns(value)),
                Ok(value)
            );
        }
    }
}
