//! Values as people write them: `128Mi`, `500m`, `5G`, `1h30m`.
//!
//! Every text made here is read back to the same value by the parsers at the API's border.

const BINARY: [(&str, u64); 4] = [
    ("Ti", 1 << 40),
    ("Gi", 1 << 30),
    ("Mi", 1 << 20),
    ("Ki", 1 << 10),
];
const DECIMAL: [(&str, u64); 5] = [
    ("P", 1_000_000_000_000_000),
    ("T", 1_000_000_000_000),
    ("G", 1_000_000_000),
    ("M", 1_000_000),
    ("k", 1_000),
];
const TIME_NS: [(&str, u64); 6] = [
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// Bytes with the largest binary suffix that loses nothing: `64Mi`, `1000`.
pub fn bytes(value: u64) -> String {
    suffixed(value, &BINARY)
}

/// Cores: `250m`, `1`.
pub fn millicores(value: u64) -> String {
    if value.is_multiple_of(1_000) {
        (value / 1_000).to_string()
    } else {
        format!("{value}m")
    }
}

/// A count with the largest decimal suffix that loses nothing: `5G`, `1500`.
pub fn count(value: u64) -> String {
    suffixed(value, &DECIMAL)
}

/// A duration in nanoseconds as a sum of units, largest first: `1h30m`, `100ms`, `0s`.
pub fn duration_ns(value: u64) -> String {
    if value == 0 {
        return "0s".to_owned();
    }
    let mut rest = value;
    let mut text = String::new();
    for (unit, size) in TIME_NS {
        let whole = rest / size;
        rest %= size;
        if whole > 0 {
            text.push_str(&whole.to_string());
            text.push_str(unit);
        }
    }
    text
}

/// A duration in milliseconds, see [`duration_ns`].
pub fn duration_ms(value: u64) -> String {
    duration_ns(value.saturating_mul(1_000_000))
}

fn suffixed(value: u64, units: &[(&str, u64)]) -> String {
    units
        .iter()
        .find(|(_, size)| value > 0 && value.is_multiple_of(*size))
        .map_or_else(
            || value.to_string(),
            |(suffix, size)| format!("{}{suffix}", value / size),
        )
}

#[cfg(test)]
mod tests {
    use super::{bytes, count, duration_ms, duration_ns, millicores};

    #[test]
    fn values_read_as_people_write_them() {
        let cases = [
            (bytes(128 << 20), "128Mi"),
            (bytes(1 << 30), "1Gi"),
            (bytes(1_000), "1000"),
            (bytes(0), "0"),
            (millicores(500), "500m"),
            (millicores(1_000), "1"),
            (count(5_000_000_000), "5G"),
            (count(1_500), "1500"),
            (count(0), "0"),
            (duration_ms(600_000), "10m"),
            (duration_ms(5_400_000), "1h30m"),
            (duration_ms(100), "100ms"),
            (duration_ns(1_000), "1us"),
            (duration_ns(0), "0s"),
        ];
        for (got, expected) in cases {
            assert_eq!(got, expected);
        }
    }
}
