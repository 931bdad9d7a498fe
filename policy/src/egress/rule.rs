//! The rules of one VM, and what they say about a request.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::pattern::{BadPattern, HostPattern, Methods, PathPattern};
use super::port::Scheme;
use super::request::Request;
use crate::budget;
use crate::guards::{Guard, is_on};

/// A rule as people write it, in manifests and on the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RuleText {
    /// `api.example.com`, `*.example.com`, `*`, or an address or network.
    pub host: String,
    /// Empty is the port of the scheme.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<u16>,
    /// `None` is `https`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<String>,
    /// Names of methods, or `*` alone.
    pub methods: Vec<String>,
    /// Paths, `*` for whatever.
    pub paths: Vec<String>,
}

impl RuleText {
    /// A rule for `host` by `https` at its own port.
    pub fn new(host: &str, methods: &[&str], paths: &[&str]) -> Self {
        let owned = |items: &[&str]| items.iter().map(ToString::to_string).collect();
        Self {
            host: host.to_owned(),
            methods: owned(methods),
            paths: owned(paths),
            ..Self::default()
        }
    }
}

/// What one entry of `egress` allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    host: HostPattern,
    ports: BTreeSet<u16>,
    scheme: Scheme,
    methods: Methods,
    paths: Vec<PathPattern>,
}

/// Why a rule can't be read: the field, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRule {
    /// `host`.
    #[error("host: {0}")]
    Host(#[source] BadPattern),
    /// `scheme`.
    #[error("scheme: {0:?} is neither http nor https")]
    Scheme(String),
    /// `ports`.
    #[error("ports: 0 is no port")]
    Port,
    /// `methods`.
    #[error("methods: {0}")]
    Methods(#[source] BadPattern),
    /// `paths`, the first one that is wrong.
    #[error("paths[{index}]: {why}")]
    Path {
        /// Its position, from 0.
        index: usize,
        /// What is wrong.
        #[source]
        why: BadPattern,
    },
    /// No path at all.
    #[error("paths: it is empty: write \"*\" for everything")]
    NoPaths,
    /// More of something than can be looked at for each request.
    #[error("{field} has {got} entries, and {most} are allowed")]
    TooMany {
        /// The field.
        field: &'static str,
        /// How many.
        got: usize,
        /// The bound.
        most: usize,
    },
}

impl Rule {
    /// Reads a rule.
    ///
    /// # Errors
    ///
    /// [`BadRule`] with the field: a rule that can't be read whole allows nothing.
    pub fn parse(text: &RuleText) -> Result<Self, BadRule> {
        let RuleText {
            host,
            ports,
            scheme,
            methods,
            paths,
        } = text;
        few("ports", ports.len(), budget::RULE_PORTS)?;
        few("paths", paths.len(), budget::RULE_PATHS)?;
        let scheme = match scheme {
            None => Scheme::default(),
            Some(text) => {
                Scheme::parse(text).ok_or_else(|| BadRule::Scheme(super::cidr::shown(text)))?
            }
        };
        if ports.contains(&0) {
            return Err(BadRule::Port);
        }
        if paths.is_empty() {
            return Err(BadRule::NoPaths);
        }
        let path = |(index, text): (usize, &String)| {
            text.parse().map_err(|why| BadRule::Path { index, why })
        };
        Ok(Self {
            host: host.parse().map_err(BadRule::Host)?,
            ports: if ports.is_empty() {
                BTreeSet::from([scheme.port()])
            } else {
                ports.iter().copied().collect()
            },
            scheme,
            methods: Methods::parse(methods).map_err(BadRule::Methods)?,
            paths: paths
                .iter()
                .enumerate()
                .map(path)
                .collect::<Result<_, _>>()?,
        })
    }

    /// Whether it names one host, and nothing but TLS: what a key may be injected for.
    pub fn is_one_origin(&self) -> bool {
        matches!(self.host, HostPattern::Exact(_)) && self.scheme == Scheme::Https
    }

    /// Whether every request that this rule allows is allowed by one of `ceiling`.
    ///
    /// Each combination of port, method and path is looked for by itself, so that a ceiling may be
    /// written in more rules, or in fewer, than what it bounds.
    pub fn is_within(&self, ceiling: &[Self]) -> bool {
        let open: Vec<&Self> = ceiling
            .iter()
            .filter(|rule| rule.scheme == self.scheme && rule.host.covers(&self.host))
            .collect();
        let is_open = |port: u16, method, path: &PathPattern| {
            open.iter().any(|rule| {
                rule.ports.contains(&port)
                    && rule.methods.allow(method)
                    && rule.paths.iter().any(|wider| wider.covers(path))
            })
        };
        self.ports.iter().all(|port| {
            self.methods
                .each()
                .all(|method| self.paths.iter().all(|path| is_open(*port, method, path)))
        })
    }

    /// How far a request gets by this rule.
    fn judge(&self, request: &Request) -> Result<Narrowness, Denial> {
        if !self.host.matches(&request.host) {
            return Err(Denial::Host);
        }
        if self.scheme != request.scheme && is_on(Guard::ExactScheme) {
            return Err(Denial::Scheme);
        }
        if !self.ports.contains(&request.port) && is_on(Guard::ExactPort) {
            return Err(Denial::Port);
        }
        if !self.methods.allow(request.method) && is_on(Guard::ExactMethod) {
            return Err(Denial::Method);
        }
        let path = request.target.path();
        let matching = self.paths.iter().filter(|pattern| pattern.matches(path));
        let narrowest = matching.map(PathPattern::narrowness).max();
        let path = match narrowest {
            Some(path) => path,
            None if is_on(Guard::ExactPath) => return Err(Denial::Path),
            None => (false, 0, 0),
        };
        Ok(Narrowness {
            host: self.host.narrowness(),
            path,
            methods: usize::MAX - self.methods.each().count(),
            ports: usize::MAX - self.ports.len(),
        })
    }
}

fn few(field: &'static str, got: usize, most: budget::Bound) -> Result<(), BadRule> {
    let most = most.usize();
    if got > most {
        return Err(BadRule::TooMany { field, got, most });
    }
    Ok(())
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |items: Vec<String>| items.join(", ");
        let ports = list(self.ports.iter().map(u16::to_string).collect());
        let paths = list(self.paths.iter().map(PathPattern::to_string).collect());
        write!(
            f,
            "{} {}://{}:{ports} {paths}",
            self.methods, self.scheme, self.host
        )
    }
}

/// Which of two rules that allow a request is the narrower, in the order of the fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Narrowness {
    host: usize,
    path: (bool, usize, usize),
    methods: usize,
    ports: usize,
}

/// Why no rule allows a request: how far the one went that came closest.
///
/// A closed set, for metrics and reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Denial {
    /// There are no rules.
    NoRules,
    /// No rule speaks of the host.
    Host,
    /// One does, and not by this scheme.
    Scheme,
    /// And not at this port.
    Port,
    /// And not with this method.
    Method,
    /// And not for this path.
    Path,
}

impl Denial {
    /// The denial as it stands in reports and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoRules => "no-rules",
            Self::Host => "host",
            Self::Scheme => "scheme",
            Self::Port => "port",
            Self::Method => "method",
            Self::Path => "path",
        }
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoRules => {
                "the VM has no rules for the network: capabilities.network.egress is empty"
            }
            Self::Host => "no rule allows the host",
            Self::Scheme => "a rule allows the host, and not by this scheme",
            Self::Port => "a rule allows the host, and not at this port",
            Self::Method => "a rule allows the host, and not with this method",
            Self::Path => "a rule allows the host with this method, and not for this path",
        })
    }
}

/// The rules of one VM. `Rules::default()` allows nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules(Vec<Rule>);

/// A request that a rule allows. Only [`Rules::permit`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permit {
    rule: usize,
    request: Request,
}

impl Permit {
    /// The position of the rule whose terms hold, from 0.
    pub const fn rule(&self) -> usize {
        self.rule
    }

    /// The request that was decided on, and nothing else, may be sent.
    pub const fn request(&self) -> &Request {
        &self.request
    }
}

impl Rules {
    /// Rules in the order of the manifest, which only numbers them.
    pub const fn new(rules: Vec<Rule>) -> Self {
        Self(rules)
    }

    /// The rules.
    pub fn all(&self) -> &[Rule] {
        &self.0
    }

    /// Permits a request, by the narrowest rule that allows it: its host counts first, then its
    /// path, its methods, its ports. Of two that are as narrow the first one holds.
    ///
    /// # Errors
    ///
    /// [`Denial`], by the rule that came closest.
    pub fn permit(&self, request: Request) -> Result<Permit, Denial> {
        let mut narrowest: Option<(Narrowness, usize)> = None;
        let mut closest = if self.0.is_empty() {
            Denial::NoRules
        } else {
            Denial::Host
        };
        for (index, rule) in self.0.iter().enumerate() {
            match rule.judge(&request) {
                Ok(found) if narrowest.is_none_or(|(best, _)| found > best) => {
                    narrowest = Some((found, index));
                }
                Ok(_) => {}
                Err(denial) => closest = closest.max(denial),
            }
        }
        match narrowest {
            Some((_, rule)) => Ok(Permit { rule, request }),
            None if is_on(Guard::EgressRules) => Err(closest),
            None => Ok(Permit { rule: 0, request }),
        }
    }
}
