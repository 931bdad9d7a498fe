//! What a VM may ask of hosts outside: the canonical form of a request, the rules that permit one,
//! and the addresses that no rule opens.
//!
//! A request is decided in two steps, by whoever is about to send it:
//!
//! 1. [`Request::parse`] makes the one canonical form. Whatever two parsers could read differently
//!    is refused there, so that the bytes that are permitted are the bytes that are sent.
//! 2. [`Rules::permit`] finds the rule that allows it. Rules only ever allow; nothing is allowed
//!    without one. The most specific rule that allows a request is the one whose terms hold, so
//!    that the order in which rules are written means nothing.
//! 3. After the name was resolved, [`AddressRules::admit`] permits an address: never one of this
//!    machine, of a cluster or of a cloud's metadata, unless a policy of the cluster excepts it.
//!    The connection goes to that very address.

mod address;
mod cidr;
mod code;
mod grant;
mod host;
mod method;
mod path;
mod pattern;
mod port;
mod request;
mod rule;

pub use address::{AddressClass, AddressRules, Admitted, BadException, Exception};
pub use cidr::{BadCidr, Cidr};
pub use code::Code;
pub use grant::EgressGrant;
pub use host::{BadHost, DnsName, Host};
pub use method::Method;
pub use path::{BadTarget, Target};
pub use pattern::{BadPattern, HostPattern, Methods, PathPattern};
pub use port::{BadAuthority, Scheme};
pub use request::{BadRequest, Request};
pub use rule::{BadRule, Denial, Permit, Rule, RuleText, Rules};
