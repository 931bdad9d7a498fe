//! The name of a module: what its bytes hash to.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// The SHA-256 of a module's bytes, in lower-case hex.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Digest(String);

impl Digest {
    /// The digest that `text` spells.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (text.len() == 64 && text.bytes().all(is_hex)).then(|| Self(text.to_owned()))
    }

    /// The digest of a hash that has taken everything in.
    pub(super) fn finish(hash: Sha256) -> Self {
        let hex = |digit: u8| char::from_digit(u32::from(digit), 16).unwrap_or('0');
        let bytes = hash.finalize();
        Self(
            bytes
                .iter()
                .flat_map(|byte| [hex(byte >> 4), hex(byte & 15)])
                .collect(),
        )
    }

    /// The digest of `bytes`.
    #[cfg(test)]
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self::finish(Sha256::new_with_prefix(bytes))
    }

    /// The hex.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_64_lower_case_hex_digits() {
        let good = "a".repeat(63) + "0";
        assert_eq!(Digest::parse(&good).unwrap().as_str(), good);
        for bad in [
            "",
            "abc",
            &"A".repeat(64),
            &"g".repeat(64),
            &"../".repeat(22),
            &"a".repeat(65),
        ] {
            assert!(Digest::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_digest_is_the_one_everybody_computes() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(b"").as_str(), empty);
    }
}
