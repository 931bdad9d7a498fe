//! A name in a directory: a short one is held in place, which saves an allocation.

use std::ops::Deref;

/// The most bytes of a name that is held in place.
const SHORT: usize = 22;

/// A name in a directory.
pub(crate) enum Name {
    Short { length: u8, bytes: [u8; SHORT] },
    Long(Box<str>),
}

impl From<&str> for Name {
    fn from(name: &str) -> Self {
        let mut bytes = [0; SHORT];
        match (bytes.get_mut(..name.len()), u8::try_from(name.len())) {
            (Some(short), Ok(length)) => {
                short.copy_from_slice(name.as_bytes());
                Self::Short { length, bytes }
            }
            (None, _) | (_, Err(_)) => Self::Long(name.into()),
        }
    }
}

impl Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Short { length, bytes } => {
                let bytes = bytes.get(..usize::from(*length)).unwrap_or_default();
                // They came from a name, so they are one.
                std::str::from_utf8(bytes).unwrap_or_default()
            }
            Self::Long(name) => name,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_any_length_is_itself_in_three_words() {
        for length in 0..=255 {
            let name = "n".repeat(length);
            assert_eq!(&*Name::from(name.as_str()), name);
            let wide = "\u{e9}".repeat(length / 2);
            assert_eq!(&*Name::from(wide.as_str()), wide);
        }
        assert_eq!(size_of::<Name>(), 24);
    }
}
