//! The path and query of a request, in the one form that is compared and sent.

use std::fmt;

use super::cidr::shown;
use super::host::named;
use crate::budget;
use crate::guards::{Guard, is_on};

/// A path and a query in canonical form (RFC 3986, section 6.2.2): escapes in capitals, none that
/// is not needed, no segment that is empty (but the last), `.` or `..`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    path: String,
    query: Option<String>,
}

/// Why a text is no path and query.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTarget {
    /// Too long.
    #[error("path and query have {0} bytes, and {most} are allowed", most = budget::TARGET_BYTES.value)]
    TooLong(usize),
    /// Not from the root: empty, a whole URL, or `*`.
    #[error("the path {0:?} does not begin with a slash")]
    NoSlash(String),
    /// A character that must be escaped, or that ends a path for some parsers.
    #[error("the path or query has a {0}: it has to be escaped")]
    Character(String),
    /// A percent sign without two hexadecimal digits.
    #[error("the path has a % that is not followed by two hexadecimal digits")]
    Escape,
    /// An escape that some servers undo before they look at segments, and some after.
    #[error(
        "the path has the escape {0}: separators, dots, control characters and escaped escapes are not allowed"
    )]
    EscapedSeparator(String),
    /// Escapes that are not UTF-8, or a character that some servers take for a separator.
    #[error("the path has escapes that are not UTF-8, or that look like a separator")]
    Lookalike,
    /// `.`, `..`, with or without parameters, or an empty segment.
    #[error("the path has the segment {0:?}: empty segments, . and .. are not allowed")]
    Segment(String),
}

impl Target {
    /// Reads a path and query as they stand in a request line: `/a/b?c=d`.
    ///
    /// # Errors
    ///
    /// [`BadTarget`] for whatever servers read differently from each other.
    pub fn parse(text: &str) -> Result<Self, BadTarget> {
        if text.len() > budget::TARGET_BYTES.usize() {
            return Err(BadTarget::TooLong(text.len()));
        }
        let (path, query) = match text.split_once('?') {
            None => (text, None),
            Some((path, query)) => (path, Some(query)),
        };
        if let Some(bad) = text.chars().find(|c| !is_visible(*c)) {
            return Err(BadTarget::Character(named(bad)));
        }
        Ok(Self {
            path: canonical(path)?,
            query: query.map(str::to_owned),
        })
    }

    /// The path, from its first slash.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What stands behind the question mark.
    pub fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }
}

/// What may stand in a request line as it is: all that is visible but `#`, which ends a path for
/// some, `\`, which is a slash for some, and what marks the end of a URL in text.
fn is_visible(c: char) -> bool {
    c.is_ascii_graphic() && !matches!(c, '#' | '\\' | '"' | '<' | '>' | '`')
}

/// The canonical form of a path.
pub(super) fn canonical(path: &str) -> Result<String, BadTarget> {
    let Some(below_root) = path.strip_prefix('/') else {
        return Err(BadTarget::NoSlash(shown(path)));
    };
    if !is_on(Guard::CanonicalPath) {
        return Ok(path.to_owned());
    }
    let mut all = String::with_capacity(path.len());
    let segments: Vec<&str> = below_root.split('/').collect();
    for (index, segment) in segments.iter().enumerate() {
        let is_last = index + 1 == segments.len();
        all.push('/');
        if !(is_last && segment.is_empty()) {
            all.push_str(&canonical_segment(segment)?);
        }
    }
    Ok(all)
}

fn canonical_segment(segment: &str) -> Result<String, BadTarget> {
    let name = segment.split(';').next().unwrap_or_default();
    if matches!(name, "" | "." | "..") {
        return Err(BadTarget::Segment(shown(segment)));
    }
    let mut canonical = String::with_capacity(segment.len());
    let mut meant = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        if byte != b'%' {
            canonical.push(char::from(byte));
            meant.push(byte);
            rest = behind;
            continue;
        }
        let (escaped, behind) = escape(behind)?;
        meant.push(escaped);
        if is_unreserved(escaped) {
            canonical.push(char::from(escaped));
        } else if is_separator(escaped) {
            return Err(BadTarget::EscapedSeparator(format!("%{escaped:02X}")));
        } else {
            canonical.extend(['%', hex(escaped >> 4), hex(escaped & 0xf)]);
        }
        rest = behind;
    }
    // Once more undone, it would be another path: some servers do that.
    let twice = |at: &[u8]| {
        at.strip_prefix(b"%")
            .is_some_and(|digits| escape(digits).is_ok())
    };
    if (0..meant.len()).any(|at| meant.get(at..).is_some_and(twice)) {
        return Err(BadTarget::EscapedSeparator("%25".to_owned()));
    }
    let meant = String::from_utf8(meant).map_err(|_overlong_or_broken| BadTarget::Lookalike)?;
    if meant.chars().any(is_lookalike) {
        return Err(BadTarget::Lookalike);
    }
    Ok(canonical)
}

/// The byte that two hexadecimal digits name, and what follows them.
fn escape(digits: &[u8]) -> Result<(u8, &[u8]), BadTarget> {
    let (pair, behind) = digits.split_at_checked(2).ok_or(BadTarget::Escape)?;
    let value = |digit: &u8| char::from(*digit).to_digit(16);
    let byte = pair
        .iter()
        .try_fold(0, |sum, digit| Some(sum * 16 + value(digit)?));
    let byte = byte.and_then(|byte| u8::try_from(byte).ok());
    byte.map(|byte| (byte, behind)).ok_or(BadTarget::Escape)
}

/// A hexadecimal digit in capitals.
fn hex(nibble: u8) -> char {
    char::from_digit(u32::from(nibble), 16).map_or('0', |digit| digit.to_ascii_uppercase())
}

/// What needs no escape (RFC 3986, section 2.3), less the dot.
const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~')
}

/// What takes a path apart, or ends it, for some servers.
const fn is_separator(byte: u8) -> bool {
    matches!(byte, b'/' | b'\\' | b'.' | b';') || byte.is_ascii_control()
}

/// Characters that some servers map to `.`, `/` or `\` (compatibility forms of Unicode).
fn is_lookalike(c: char) -> bool {
    matches!(
        c,
        '\u{2024}'
            | '\u{2025}'
            | '\u{2026}'
            | '\u{2044}'
            | '\u{2215}'
            | '\u{2216}'
            | '\u{29F8}'
            | '\u{29F9}'
            | '\u{FE52}'
            | '\u{FE68}'
            | '\u{FF0E}'
            | '\u{FF0F}'
            | '\u{FF3C}'
    ) || c.is_control()
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)?;
        match &self.query {
            None => Ok(()),
            Some(query) => write!(f, "?{query}"),
        }
    }
}
