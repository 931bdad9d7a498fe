//! Kubernetes quantities as whole numbers: `64Mi`, `250m`, `5G`, `1e3`, `0.5`.
//!
//! A part smaller than the unit is rounded up, as Kubernetes does.

use thiserror::Error;

/// Why a text is not a quantity that this API takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum QuantityError {
    /// It is not written as a quantity.
    #[error("is not a quantity, write a number with a suffix such as 64Mi, 250m or 5G")]
    Malformed,
    /// It is below zero.
    #[error("is negative, only values above zero are allowed")]
    Negative,
    /// It does not fit in 64 bits.
    #[error("is too large for any limit")]
    TooLarge,
}

/// The longest text that is looked at.
pub const MAX_LEN: usize = 32;

/// Reads `text` as a whole number of units: bytes, or units of fuel.
pub fn whole(text: &str) -> Result<u64, QuantityError> {
    scaled(text, 0)
}

/// Reads `text` as thousandths: millicores.
pub fn milli(text: &str) -> Result<u64, QuantityError> {
    scaled(text, 3)
}

fn scaled(text: &str, shift: i32) -> Result<u64, QuantityError> {
    let (number, suffix) = split(text)?;
    let (negative, digits) = sign(number);
    let (mantissa, fraction) = mantissa(digits)?;
    let (factor, exponent) = suffix_value(suffix)?;
    if negative && mantissa > 0 {
        return Err(QuantityError::Negative);
    }
    let exponent = exponent + shift - fraction;
    let value = mantissa
        .checked_mul(factor)
        .ok_or(QuantityError::TooLarge)?;
    let value = if exponent >= 0 {
        times_ten(value, exponent)?
    } else {
        over_ten(value, -exponent)
    };
    u64::try_from(value).map_err(|_too_large| QuantityError::TooLarge)
}

fn split(text: &str) -> Result<(&str, &str), QuantityError> {
    if text.is_empty() || text.len() > MAX_LEN || !text.is_ascii() {
        return Err(QuantityError::Malformed);
    }
    let end = text
        .char_indices()
        .find(|(at, c)| !(c.is_ascii_digit() || *c == '.' || (*at == 0 && matches!(c, '+' | '-'))))
        .map_or(text.len(), |(at, _)| at);
    Ok(text.split_at(end))
}

fn sign(number: &str) -> (bool, &str) {
    match number.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, number.strip_prefix('+').unwrap_or(number)),
    }
}

/// The digits without their point, and how many of them stand behind it.
fn mantissa(digits: &str) -> Result<(u128, i32), QuantityError> {
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.len() + fraction.len() == 0 || fraction.contains('.') {
        return Err(QuantityError::Malformed);
    }
    let joined = format!("{whole}{fraction}");
    let value = joined
        .parse()
        .map_err(|_not_digits| QuantityError::Malformed)?;
    let places = i32::try_from(fraction.len()).map_err(|_too_long| QuantityError::Malformed)?;
    Ok((value, places))
}

/// A suffix as a factor and a power of ten.
fn suffix_value(suffix: &str) -> Result<(u128, i32), QuantityError> {
    Ok(match suffix {
        "Ki" => (1 << 10, 0),
        "Mi" => (1 << 20, 0),
        "Gi" => (1 << 30, 0),
        "Ti" => (1 << 40, 0),
        "Pi" => (1 << 50, 0),
        "Ei" => (1 << 60, 0),
        "n" => (1, -9),
        "u" => (1, -6),
        "m" => (1, -3),
        "" => (1, 0),
        "k" => (1, 3),
        "M" => (1, 6),
        "G" => (1, 9),
        "T" => (1, 12),
        "P" => (1, 15),
        "E" => (1, 18),
        exponent => (1, decimal_exponent(exponent)?),
    })
}

fn decimal_exponent(text: &str) -> Result<i32, QuantityError> {
    let digits = text
        .strip_prefix(['e', 'E'])
        .ok_or(QuantityError::Malformed)?;
    let exponent: i32 = digits
        .parse()
        .map_err(|_not_a_number| QuantityError::Malformed)?;
    if (-100..=100).contains(&exponent) {
        Ok(exponent)
    } else {
        Err(QuantityError::Malformed)
    }
}

fn times_ten(value: u128, power: i32) -> Result<u128, QuantityError> {
    if value == 0 {
        return Ok(0);
    }
    let factor = u32::try_from(power)
        .ok()
        .and_then(|power| 10_u128.checked_pow(power));
    factor
        .and_then(|factor| value.checked_mul(factor))
        .ok_or(QuantityError::TooLarge)
}

fn over_ten(value: u128, power: i32) -> u128 {
    let divisor = u32::try_from(power)
        .ok()
        .and_then(|power| 10_u128.checked_pow(power));
    divisor.map_or_else(|| u128::from(value > 0), |divisor| value.div_ceil(divisor))
}

#[cfg(test)]
mod tests {
    use super::{QuantityError, milli, whole};

    #[test]
    fn quantities_are_read_as_kubernetes_reads_them() {
        let cases: [(&str, u64); 14] = [
            ("67108864", 67_108_864),
            ("64Mi", 64 << 20),
            ("1.5Gi", 3 << 29),
            ("5G", 5_000_000_000),
            ("1e3", 1_000),
            ("1E3", 1_000),
            ("1E", 1_000_000_000_000_000_000),
            ("+7", 7),
            (".5k", 500),
            ("2.", 2),
            ("0", 0),
            ("-0", 0),
            ("100m", 1),
            ("1e-9", 1),
        ];
        for (text, expected) in cases {
            assert_eq!(whole(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn cores_are_read_in_thousandths() {
        for (text, expected) in [
            ("250m", 250),
            ("1", 1_000),
            ("0.5", 500),
            ("1500u", 2),
            ("2e-1", 200),
        ] {
            assert_eq!(milli(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_quantity_is_refused_with_its_reason() {
        use QuantityError::{Malformed, Negative, TooLarge};
        let cases = [
            ("", Malformed),
            ("64MB", Malformed),
            ("Mi", Malformed),
            ("1..5", Malformed),
            (".", Malformed),
            ("1 Gi", Malformed),
            ("--1", Malformed),
            ("1e", Malformed),
            ("1e1000", Malformed),
            ("٣", Malformed),
            ("111111111111111111111111111111111", Malformed),
            ("-1", Negative),
            ("-1m", Negative),
            ("16Ei", TooLarge),
            ("1e30", TooLarge),
            ("99999999999999999999E", TooLarge),
        ];
        for (text, expected) in cases {
            assert_eq!(whole(text), Err(expected), "{text}");
        }
    }
}
