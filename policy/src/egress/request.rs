//! One request of a guest, in the one form that is decided on and sent.

use std::fmt;

use super::host::Host;
use super::method::Method;
use super::path::{BadTarget, Target};
use super::port::{self, BadAuthority, Scheme};
use crate::egress::cidr::shown;

/// A request in canonical form.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Request {
    /// What it wants done.
    pub method: Method,
    /// How it travels.
    pub scheme: Scheme,
    /// Whom it is for.
    pub host: Host,
    /// At which port, never 0.
    pub port: u16,
    /// Its path and query.
    pub target: Target,
}

/// Why something is no request that could be decided on. The guest's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// Not one of the methods, in capitals.
    #[error("the method {0:?} is none of DELETE, GET, HEAD, OPTIONS, PATCH, POST and PUT")]
    Method(String),
    /// Not one of the two schemes.
    #[error("the scheme {0:?} is neither http nor https")]
    Scheme(String),
    /// Not exactly a URL of the two schemes.
    #[error("{0:?} is no URL that begins with http:// or https://")]
    Url(String),
    /// A fragment, which is never sent.
    #[error("the URL has a fragment (#), which is no part of a request")]
    Fragment,
    /// Host or port.
    #[error(transparent)]
    Authority(#[from] BadAuthority),
    /// Path or query.
    #[error(transparent)]
    Target(#[from] BadTarget),
}

impl Request {
    /// Makes the canonical form of a request from its parts, as HTTP/2 has them:
    /// `:method`, `:scheme`, `:authority` and `:path`.
    ///
    /// # Errors
    ///
    /// [`BadRequest`] names the part and the rule that it breaks.
    pub fn parse(
        method: &str,
        scheme: &str,
        authority: &str,
        target: &str,
    ) -> Result<Self, BadRequest> {
        let method = Method::parse(method).ok_or_else(|| BadRequest::Method(shown(method)))?;
        let scheme = Scheme::parse(scheme).ok_or_else(|| BadRequest::Scheme(shown(scheme)))?;
        let (host, port) = port::authority(authority, scheme)?;
        Ok(Self {
            method,
            scheme,
            host,
            port,
            target: Target::parse(target)?,
        })
    }

    /// Makes it from a method and a URL as people write it. A URL that ends with its authority has
    /// the path `/`.
    pub fn of_url(method: &str, url: &str) -> Result<Self, BadRequest> {
        let not_one = || BadRequest::Url(shown(url));
        let (scheme, rest) = url.split_once("://").ok_or_else(not_one)?;
        if rest.contains('#') {
            return Err(BadRequest::Fragment);
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        if target.starts_with('/') {
            Self::parse(method, scheme, authority, target)
        } else {
            Self::parse(method, scheme, authority, &format!("/{target}"))
        }
    }

    /// Host and port as they are sent: without the port where it is the scheme's own.
    pub fn authority(&self) -> String {
        if self.port == self.scheme.port() {
            self.host.to_string()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for Request {
    /// The method and the URL, without the query: queries hold what is nobody's business.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {}://{}{}",
            self.method,
            self.scheme,
            self.authority(),
            self.target.path()
        )
    }
}
