//! The scheme and the port of a request, and the authority that names host and port.

use std::fmt;

use super::cidr::{is_plain_number, shown};
use super::host::{BadHost, Host, named};
use crate::guards::{Guard, is_on};

/// How a request travels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// In the clear; only where a rule says so.
    Http,
    /// By TLS.
    #[default]
    Https,
}

impl Scheme {
    /// The scheme of this name, in lower case.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "http" => Some(Self::Http),
            "https" => Some(Self::Https),
            _ => None,
        }
    }

    /// The port where none is named.
    pub const fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }

    /// The scheme as it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a text is no authority.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadAuthority {
    /// A user or password, which names the host only for some parsers.
    #[error("the authority {0:?} has a user before an @: that is not allowed")]
    Userinfo(String),
    /// A character that ends the authority for some parsers.
    #[error("the authority {authority:?} has a {what}")]
    Character {
        /// As written.
        authority: String,
        /// The first one.
        what: String,
    },
    /// Behind the colon is no port.
    #[error("the port {0:?} is no number from 1 to 65535 in plain digits")]
    Port(String),
    /// The host is none.
    #[error(transparent)]
    Host(#[from] BadHost),
}

/// Reads `host` or `host:port`. Without a port it is the scheme's own.
pub(super) fn authority(text: &str, scheme: Scheme) -> Result<(Host, u16), BadAuthority> {
    if text.contains('@') && is_on(Guard::Userinfo) {
        return Err(BadAuthority::Userinfo(shown(text)));
    }
    let text = text.rsplit('@').next().unwrap_or(text);
    let ends_early = |c: &char| matches!(c, '/' | '\\' | '?' | '#' | '%') || !c.is_ascii_graphic();
    if let Some(bad) = text.chars().find(ends_early) {
        return Err(BadAuthority::Character {
            authority: shown(text),
            what: named(bad),
        });
    }
    let (host, port) = split(text);
    let port = match port {
        None => scheme.port(),
        Some(port) => number(port).ok_or_else(|| BadAuthority::Port(shown(port)))?,
    };
    Ok((Host::parse(host)?, port))
}

/// The host, and what stands behind the colon that follows it.
fn split(text: &str) -> (&str, Option<&str>) {
    let end_of_brackets = if text.starts_with('[') {
        text.find(']').map_or(text.len(), |at| at + 1)
    } else {
        0
    };
    let (brackets, rest) = text.split_at(end_of_brackets);
    match rest.find(':') {
        None => (text, None),
        Some(at) => {
            let (host, port) = text.split_at(brackets.len() + at);
            (host, port.strip_prefix(':'))
        }
    }
}

fn number(text: &str) -> Option<u16> {
    let port = is_plain_number(text).then(|| text.parse().ok()).flatten();
    port.filter(|port| *port != 0)
}
