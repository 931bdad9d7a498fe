//! A range of addresses in CIDR notation (RFC 4632, RFC 4291 section 2.3).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A network: an address and how many of its leading bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cidr {
    first: IpAddr,
    prefix: u8,
}

/// Why a text is no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCidr {
    /// Not an address and a length.
    #[error("{0:?} is neither an address nor a network such as 10.1.0.0/16")]
    Form(String),
    /// More bits than an address has.
    #[error("{text:?} has a prefix of {prefix} bits, and such an address has {bits}")]
    Prefix {
        /// As written.
        text: String,
        /// The length asked for.
        prefix: u8,
        /// The bits there are.
        bits: u8,
    },
    /// Bits behind the prefix are set, so that it is unclear what was meant.
    #[error("{text:?} has bits behind its prefix: the network is {network}")]
    HostBits {
        /// As written.
        text: String,
        /// What it may have been meant to be.
        network: String,
    },
}

impl Cidr {
    /// A network of IPv4 that stands in our own tables.
    pub(super) const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Self {
        Self {
            first: IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
            prefix,
        }
    }

    /// A network of IPv6 that stands in our own tables, by its first four groups.
    pub(super) const fn v6(groups: [u16; 4], prefix: u8) -> Self {
        let [a, b, c, d] = groups;
        Self {
            first: IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0)),
            prefix,
        }
    }

    /// The network of one address.
    pub const fn of(address: IpAddr) -> Self {
        Self {
            first: address,
            prefix: bits(address),
        }
    }

    /// Whether `address` is in it. An IPv4 address is in no network of IPv6, nor the reverse.
    pub fn contains(self, address: IpAddr) -> bool {
        bits(self.first) == bits(address) && masked(address, self.prefix) == self.first
    }

    /// Whether every address of `other` is in it.
    pub fn covers(self, other: Self) -> bool {
        self.prefix <= other.prefix && self.contains(other.first)
    }

    /// How many leading bits count: more is a smaller network.
    pub(super) const fn prefix(self) -> u8 {
        self.prefix
    }
}

const fn bits(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// `address` with every bit behind the first `prefix` cleared.
fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix.min(32)));
            IpAddr::V4(Ipv4Addr::from(u32::from(v4) & mask.unwrap_or(0)))
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix.min(128)));
            IpAddr::V6(Ipv6Addr::from(u128::from(v6) & mask.unwrap_or(0)))
        }
    }
}

impl FromStr for Cidr {
    type Err = BadCidr;

    /// Reads an address, or an address and a prefix. Addresses are in the usual form alone:
    /// four decimal numbers without leading zeros, or IPv6 without brackets or zone.
    fn from_str(text: &str) -> Result<Self, BadCidr> {
        let form = || BadCidr::Form(shown(text));
        let (address, prefix) = match text.split_once('/') {
            None => (text, None),
            Some((address, prefix)) => (address, Some(prefix)),
        };
        let address: IpAddr = address.parse().map_err(|_not_an_address| form())?;
        let all = bits(address);
        let prefix = match prefix {
            None => all,
            Some(prefix) if is_plain_number(prefix) => {
                prefix.parse().map_err(|_too_large| form())?
            }
            Some(_) => return Err(form()),
        };
        if prefix > all {
            return Err(BadCidr::Prefix {
                text: shown(text),
                prefix,
                bits: all,
            });
        }
        let first = masked(address, prefix);
        if first != address {
            return Err(BadCidr::HostBits {
                text: shown(text),
                network: Self { first, prefix }.to_string(),
            });
        }
        Ok(Self { first, prefix })
    }
}

/// Decimal digits without a leading zero.
pub(super) fn is_plain_number(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_digit())
        && (text == "0" || !text.starts_with('0'))
}

/// At most a line of what somebody wrote, for a message.
pub(super) fn shown(text: &str) -> String {
    text.chars()
        .take(crate::budget::SHOWN_CHARS.usize())
        .collect()
}

impl TryFrom<String> for Cidr {
    type Error = BadCidr;

    fn try_from(text: String) -> Result<Self, BadCidr> {
        text.parse()
    }
}

impl From<Cidr> for String {
    fn from(network: Cidr) -> Self {
        network.to_string()
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.prefix == bits(self.first) {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}/{}", self.first, self.prefix)
        }
    }
}
