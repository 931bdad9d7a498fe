//! What becomes of a request, as a person and as a program reads it.

use std::fmt;
use std::net::SocketAddr;

use agentvm_policy::egress::{AddressClass, Admitted, Request};
use serde::Serialize;

/// The whole answer. Names of Secrets stand in it, and nothing of what they hold.
#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Answer {
    pub(super) allowed: bool,
    /// The AgentVM, with its namespace.
    pub(super) vm: String,
    /// The one form in which the request is decided on and sent.
    pub(super) request: Canonical,
    /// Why it is denied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
    /// What the program is told where it is denied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) guest_sees: Option<&'static str>,
    /// The rule of the VM that allows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rule: Option<Ruled>,
    /// Where no rule does, those that came closest.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) closest: Vec<Ruled>,
    /// What the gateway adds.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) inject: Vec<Header>,
    /// Why the VM as a whole is refused.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) refused: Vec<String>,
    /// What each policy of the namespace says of the request.
    pub(super) policies: Vec<Stand>,
    pub(super) address: Address,
    /// What the files do not tell.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) notes: Vec<String>,
}

/// A request in canonical form.
#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Canonical {
    pub(super) method: String,
    pub(super) url: String,
    pub(super) port: u16,
}

/// A rule, and where it stands.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Ruled {
    /// Such as `spec.capabilities.network.egress[0]`.
    pub(super) field: String,
    pub(super) text: String,
}

/// A header that is added.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Header {
    /// Its name, as the manifest has it.
    #[serde(rename = "header")]
    pub(super) name: String,
    pub(super) template: String,
    pub(super) secret: String,
    pub(super) key: String,
}

/// What one policy says.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Stand {
    pub(super) name: String,
    pub(super) mode: &'static str,
    /// The rule of it that allows the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rule: Option<Ruled>,
    /// Why none does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
}

/// What is known of the address.
#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", tag = "checked")]
pub(super) enum Address {
    /// The host is a name.
    #[default]
    #[serde(rename = "at connection time")]
    Later,
    /// It is written out, and nothing in the files closes it.
    #[serde(rename = "open")]
    Open { address: SocketAddr },
    /// It is written out and closed.
    #[serde(rename = "closed")]
    Closed {
        address: SocketAddr,
        class: &'static str,
    },
}

impl Answer {
    /// An answer that denies.
    pub(super) fn of(vm: String, request: &Request) -> Self {
        let query = request.target.query();
        let query = query.map(|query| format!("?{query}")).unwrap_or_default();
        Self {
            vm,
            request: Canonical {
                method: request.method.as_str().to_owned(),
                url: format!(
                    "{}://{}{}{query}",
                    request.scheme,
                    request.authority(),
                    request.target.path()
                ),
                port: request.port,
            },
            ..Self::default()
        }
    }
}

impl Address {
    pub(super) fn of(address: SocketAddr, found: Result<Admitted, AddressClass>) -> Self {
        match found {
            Ok(_) => Self::Open { address },
            Err(class) => Self::Closed {
                address,
                class: class.as_str(),
            },
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            allowed,
            vm,
            request:
                Canonical {
                    method,
                    url,
                    port: _,
                },
            reason,
            guest_sees,
            rule,
            closest,
            inject,
            refused,
            policies,
            address,
            notes,
        } = self;
        let verdict = if *allowed { "allowed" } else { "denied" };
        writeln!(f, "{verdict}: {method} {url}")?;
        writeln!(f, "  AgentVM: {vm}")?;
        let mut each = |name: &str, lines: Vec<String>| {
            lines
                .iter()
                .try_for_each(|line| writeln!(f, "  {name}: {line}"))
        };
        each("reason", reason.iter().cloned().collect())?;
        each("refused", refused.clone())?;
        each("rule", rule.iter().map(Ruled::to_string).collect())?;
        each("closest", closest.iter().map(Ruled::to_string).collect())?;
        each("adds", inject.iter().map(Header::to_string).collect())?;
        each("policy", policies.iter().map(Stand::to_string).collect())?;
        each("address", vec![address.to_string()])?;
        let told = guest_sees.iter().map(|code| (*code).to_owned());
        each("the program is told", told.collect())?;
        each("note", notes.clone())
    }
}

impl fmt::Display for Ruled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.text)
    }
}

impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            template,
            secret,
            key,
        } = self;
        write!(
            f,
            "{name}: {template}, where {{}} is key {key:?} of Secret {secret:?}"
        )
    }
}

impl fmt::Display for Stand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            mode,
            rule,
            reason,
        } = self;
        write!(f, "AgentPolicy {name:?} ({mode}) ")?;
        match (rule, reason) {
            (Some(rule), _) => write!(f, "allows it by {rule}"),
            (None, Some(reason)) => write!(f, "does not allow it: {reason}"),
            (None, None) => f.write_str("does not allow it"),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Later => f.write_str(
                "checked when the connection is made: one of this machine, of the cluster or of a private network is refused unless a policy opens it",
            ),
            Self::Open { address } => write!(
                f,
                "{} may be open: whether it is the cluster's or the platform's own is checked when the connection is made",
                address.ip()
            ),
            Self::Closed { address, class } => write!(
                f,
                "{} is closed: its class is {class}{}",
                address.ip(),
                if *class == AddressClass::Private.as_str() {
                    ", which spec.capabilities.network.networks of every policy can open"
                } else {
                    ", which no policy opens"
                }
            ),
        }
    }
}
