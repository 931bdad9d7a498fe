//! Whom a request goes to: a DNS name or an address, in the one form that is compared and sent.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use super::cidr::shown;
use crate::budget;
use crate::guards::{Guard, is_on};

/// A host in canonical form.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// A name that is resolved.
    Name(DnsName),
    /// An address that is written out.
    Address(IpAddr),
}

/// A full DNS name: lower case, at least two labels, no final dot.
///
/// Letters, digits and hyphens alone (RFC 1123, section 2.1). Names in other scripts come in their
/// ASCII form (`xn--…`); what looks alike is another name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DnsName(String);

/// Why a text is no host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadHost {
    /// Nothing there.
    #[error("the host is empty")]
    Empty,
    /// Too long.
    #[error("the host has {0} characters, and a DNS name has {most} at most", most = budget::HOST_CHARS.value)]
    TooLong(usize),
    /// A character that no host has.
    #[error(
        "the host {host:?} has a {what}: a host is letters, digits, hyphens and dots, or an address"
    )]
    Character {
        /// As written.
        host: String,
        /// The first one.
        what: String,
    },
    /// A label that is empty, too long, or begins or ends with a hyphen.
    #[error(
        "the host {host:?} has the label {label:?}: a label has 1 to {most} characters and no hyphen at either end",
        most = budget::LABEL_CHARS.value
    )]
    Label {
        /// As written.
        host: String,
        /// The label.
        label: String,
    },
    /// A name whose resolution would depend on the resolver's search list.
    #[error("the host {0:?} has one label: write the full name")]
    OneLabel(String),
    /// A name that some parsers read as an IPv4 address.
    #[error("the host {0:?} ends in a number, and is no IPv4 address in the usual form (1.2.3.4)")]
    Number(String),
    /// In brackets, and no IPv6 address.
    #[error("the host {0:?} is no IPv6 address in brackets; zones are not allowed")]
    Ipv6(String),
}

impl Host {
    /// Reads a host as it stands in a URL: IPv6 addresses in brackets.
    ///
    /// # Errors
    ///
    /// [`BadHost`] for whatever is not exactly a name or an address in its usual form.
    pub fn parse(text: &str) -> Result<Self, BadHost> {
        if let Some(inner) = text.strip_prefix('[') {
            let v6 = inner
                .strip_suffix(']')
                .and_then(|inner| inner.parse::<Ipv6Addr>().ok());
            return v6
                .map(|v6| Self::Address(IpAddr::V6(v6)))
                .ok_or_else(|| BadHost::Ipv6(shown(text)));
        }
        match text.parse() {
            Ok(v4) => Ok(Self::Address(IpAddr::V4(v4))),
            Err(_no_v4) => DnsName::parse(text).map(Self::Name),
        }
    }
}

impl DnsName {
    /// Reads a full name of two labels or more; one final dot is dropped.
    pub fn parse(text: &str) -> Result<Self, BadHost> {
        let name = Self::labels(text)?;
        if !name.0.contains('.') {
            return Err(BadHost::OneLabel(shown(text)));
        }
        Ok(name)
    }

    /// Reads a name of any number of labels: what may stand behind `*.`.
    pub(super) fn labels(text: &str) -> Result<Self, BadHost> {
        let name = text.strip_suffix('.').unwrap_or(text);
        if name.is_empty() {
            return Err(BadHost::Empty);
        }
        if name.len() > budget::HOST_CHARS.usize() {
            return Err(BadHost::TooLong(name.len()));
        }
        let allowed = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
        if let Some(bad) = name.chars().find(|c| !allowed(c)) {
            return Err(BadHost::Character {
                host: shown(name),
                what: named(bad),
            });
        }
        let name = name.to_ascii_lowercase();
        if let Some(label) = name.split('.').find(|label| !is_label(label)) {
            return Err(BadHost::Label {
                host: shown(&name),
                label: shown(label),
            });
        }
        let last = name.rsplit('.').next().unwrap_or_default();
        if is_number(last) && is_on(Guard::NumericHosts) {
            return Err(BadHost::Number(shown(&name)));
        }
        Ok(Self(name))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is below `suffix`: at least one label more.
    pub(super) fn is_below(&self, suffix: &Self) -> bool {
        let Some(rest) = self.0.strip_suffix(suffix.as_str()) else {
            return false;
        };
        if is_on(Guard::HostBoundary) {
            rest.ends_with('.')
        } else {
            !rest.is_empty()
        }
    }
}

fn is_label(label: &str) -> bool {
    (1..=budget::LABEL_CHARS.usize()).contains(&label.len())
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// What parsers that know other bases take for the last part of an IPv4 address.
fn is_number(label: &str) -> bool {
    let hex = label.strip_prefix("0x");
    hex.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
        || label.bytes().all(|byte| byte.is_ascii_digit())
}

/// A character in words that stay on one line.
pub(super) fn named(c: char) -> String {
    if c.is_ascii_graphic() {
        format!("{c:?}")
    } else {
        format!("character U+{:04X}", u32::from(c))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Address(IpAddr::V4(v4)) => v4.fmt(f),
            Self::Address(IpAddr::V6(v6)) => write!(f, "[{v6}]"),
        }
    }
}

impl fmt::Display for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
