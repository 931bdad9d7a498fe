//! The patterns of a rule: which hosts, methods and paths it speaks of.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use super::cidr::{BadCidr, Cidr, shown};
use super::host::{BadHost, DnsName, Host};
use super::method::Method;
use super::path::{BadTarget, canonical};

/// Which hosts a rule speaks of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HostPattern {
    /// `*`: every name. Addresses that are written out are none.
    Any,
    /// `*.example.com`: every name below it, and not itself.
    Below(DnsName),
    /// `api.example.com`: this one.
    Exact(DnsName),
    /// `10.1.2.3` or `10.1.0.0/16`: addresses that are written out.
    Network(Cidr),
}

/// Which methods a rule allows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Methods {
    /// `"*"`: every method there is.
    Any,
    /// These.
    Only(BTreeSet<Method>),
}

/// Which paths a rule allows.
///
/// A `*` as the last segment stands for whatever follows; any other for exactly one segment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PathPattern {
    /// `None` is one segment, whichever.
    segments: Vec<Option<String>>,
    /// Whether anything may follow.
    open: bool,
}

/// Why a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPattern {
    /// Nothing there.
    #[error("it is empty: write \"*\" for everything")]
    Empty,
    /// A star elsewhere.
    #[error("{0:?} has a * that is not a whole label or segment of its own")]
    Star(String),
    /// Not a host.
    #[error(transparent)]
    Host(#[from] BadHost),
    /// Not a network.
    #[error(transparent)]
    Network(#[from] BadCidr),
    /// Not a path.
    #[error(transparent)]
    Path(#[from] BadTarget),
    /// A query has no part in a rule.
    #[error("{0:?} has a ?: rules do not look at queries")]
    Query(String),
    /// Not a method.
    #[error("{0:?} is none of DELETE, GET, HEAD, OPTIONS, PATCH, POST and PUT, nor \"*\" alone")]
    Method(String),
}

impl HostPattern {
    /// Whether it speaks of `host`.
    pub fn matches(&self, host: &Host) -> bool {
        match (self, host) {
            (Self::Any, Host::Name(_)) => true,
            (Self::Below(suffix), Host::Name(name)) => name.is_below(suffix),
            (Self::Exact(exact), Host::Name(name)) => exact == name,
            (Self::Network(network), Host::Address(address)) => network.contains(*address),
            (Self::Any | Self::Below(_) | Self::Exact(_), Host::Address(_))
            | (Self::Network(_), Host::Name(_)) => false,
        }
    }

    /// Whether it speaks of every host that `other` speaks of.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, Self::Any | Self::Below(_) | Self::Exact(_)) => true,
            (Self::Below(suffix), Self::Below(name)) => suffix == name || name.is_below(suffix),
            (Self::Below(suffix), Self::Exact(name)) => name.is_below(suffix),
            (Self::Exact(exact), Self::Exact(name)) => exact == name,
            (Self::Network(network), Self::Network(part)) => network.covers(*part),
            (Self::Below(_) | Self::Exact(_), Self::Any)
            | (Self::Exact(_), Self::Below(_))
            | (Self::Network(_), Self::Any | Self::Below(_) | Self::Exact(_))
            | (Self::Any | Self::Below(_) | Self::Exact(_), Self::Network(_)) => false,
        }
    }

    /// How narrow it is: of two that match one host, the narrower is greater.
    pub(super) fn narrowness(&self) -> usize {
        match self {
            Self::Any => 0,
            Self::Below(suffix) => suffix.as_str().len(),
            Self::Exact(_) => usize::MAX,
            Self::Network(network) => usize::from(network.prefix()),
        }
    }
}

impl FromStr for HostPattern {
    type Err = BadPattern;

    fn from_str(text: &str) -> Result<Self, BadPattern> {
        let star = || BadPattern::Star(shown(text));
        match text {
            "" => Err(BadPattern::Empty),
            "*" => Ok(Self::Any),
            _ => match text.strip_prefix("*.") {
                Some(suffix) if suffix.contains('*') => Err(star()),
                Some(suffix) => Ok(Self::Below(DnsName::labels(suffix)?)),
                None if text.contains('*') => Err(star()),
                None if text.contains(['/', ':']) => Ok(Self::Network(text.parse()?)),
                None => Ok(match Host::parse(text)? {
                    Host::Name(name) => Self::Exact(name),
                    Host::Address(address) => Self::Network(Cidr::of(address)),
                }),
            },
        }
    }
}

impl Methods {
    /// Reads `["*"]` or names of methods.
    pub fn parse<T: AsRef<str>>(texts: &[T]) -> Result<Self, BadPattern> {
        match texts {
            [] => Err(BadPattern::Empty),
            [only] if only.as_ref() == "*" => Ok(Self::Any),
            some => some
                .iter()
                .map(|text| {
                    let text = text.as_ref();
                    Method::parse(text).ok_or_else(|| BadPattern::Method(shown(text)))
                })
                .collect::<Result<_, _>>()
                .map(Self::Only),
        }
    }

    /// Whether `method` is one of them.
    pub fn allow(&self, method: Method) -> bool {
        match self {
            Self::Any => true,
            Self::Only(some) => some.contains(&method),
        }
    }

    /// Each of them.
    pub(super) fn each(&self) -> impl Iterator<Item = Method> + '_ {
        Method::ALL.into_iter().filter(|method| self.allow(*method))
    }
}

impl PathPattern {
    /// Whether it allows `path`, which is canonical.
    pub fn matches(&self, path: &str) -> bool {
        let given: Vec<&str> = path.split('/').skip(1).collect();
        let enough = if self.open {
            given.len() > self.segments.len()
        } else {
            given.len() == self.segments.len()
        };
        enough
            && self.segments.iter().zip(given).all(|(own, given)| {
                own.as_ref()
                    .map_or(!given.is_empty(), |own| own.as_str() == given)
            })
    }

    /// Whether it allows every path that `other` allows.
    pub fn covers(&self, other: &Self) -> bool {
        let enough = if self.open {
            other.segments.len() + usize::from(other.open) > self.segments.len()
        } else {
            !other.open && other.segments.len() == self.segments.len()
        };
        let segments = self.segments.iter().zip(&other.segments);
        enough
            && segments.into_iter().all(|(own, other)| match (own, other) {
                (None, None) => true,
                (None, Some(other)) => !other.is_empty(),
                (Some(own), Some(other)) => own == other,
                (Some(_), None) => false,
            })
    }

    /// How narrow it is: of two that match one path, the narrower is greater.
    pub(super) fn narrowness(&self) -> (bool, usize, usize) {
        let literal = self.segments.iter().flatten().count();
        (!self.open, literal, self.segments.len())
    }
}

impl FromStr for PathPattern {
    type Err = BadPattern;

    fn from_str(text: &str) -> Result<Self, BadPattern> {
        if text.is_empty() {
            return Err(BadPattern::Empty);
        }
        if text.contains('?') {
            return Err(BadPattern::Query(shown(text)));
        }
        let text = if text == "*" { "/*" } else { text };
        if text
            .split('/')
            .any(|part| part.contains('*') && part != "*")
        {
            return Err(BadPattern::Star(shown(text)));
        }
        let canonical = canonical(text)?;
        let (fixed, open) = match canonical.strip_suffix("/*") {
            Some(fixed) => (fixed, true),
            None => (canonical.as_str(), false),
        };
        let segment = |segment: &str| (segment != "*").then(|| segment.to_owned());
        Ok(Self {
            segments: fixed.split('/').skip(1).map(segment).collect(),
            open,
        })
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Below(suffix) => write!(f, "*.{suffix}"),
            Self::Exact(name) => name.fmt(f),
            Self::Network(network) => network.fmt(f),
        }
    }
}

impl fmt::Display for Methods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Only(some) => {
                let names: Vec<_> = some.iter().map(|method| method.as_str()).collect();
                f.write_str(&names.join(", "))
            }
        }
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for segment in &self.segments {
            write!(f, "/{}", segment.as_deref().unwrap_or("*"))?;
        }
        if self.open { f.write_str("/*") } else { Ok(()) }
    }
}
