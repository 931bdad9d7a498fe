//! The rules of `capabilities.network`, in a VM and in a policy.
//!
//! They refuse what is plainly wrong where it is written. What is left, such as a dot segment in a
//! path, is refused by `agentvm_policy::egress` when the object is judged.

use serde_json::{Value, json};

use super::one;

/// Names of headers that frame or route a request. The gateway's list is longer.
const RESERVED: &str = "connection|content-length|expect|forwarded|host|http2-settings|keep-alive|\
                        proxy-.*|te|trailer|transfer-encoding|upgrade|via|agentvm-.*";

pub(crate) fn host() -> Value {
    one(
        "self == '*' || self.matches('^([*][.])?[A-Za-z0-9._-]+$') || self.matches('^[0-9a-fA-F.:]+(/[0-9]{1,3})?$')",
        "must be a host such as api.example.com, *.example.com or *, or an address or network such as 10.20.0.0/16: \
         no scheme, port or path",
    )
}

pub(crate) fn methods() -> Value {
    one(
        "size(self) == 1 || !('*' in self)",
        "must be names of methods, or * alone",
    )
}

pub(crate) fn rule_path() -> Value {
    one(
        "self == '*' || (self.startsWith('/') && !self.contains('?') && !self.contains('#'))",
        "must be * or begin with /, without a query, such as /v1/*",
    )
}

/// What may get a key: one host, by TLS.
pub(crate) fn egress_rule() -> Value {
    json!([{
        "rule": "!has(self.inject) || size(self.inject) == 0 || (!self.host.contains('*') && !self.host.contains('/') \
                 && (!has(self.scheme) || self.scheme == 'https'))",
        "message": "a key goes to one host by https alone: write host without a *, and leave scheme out or at https",
        "fieldPath": ".inject",
    }])
}

pub(crate) fn injected_header() -> Value {
    json!([
        {
            "rule": "self.matches('^[A-Za-z0-9!#$%&*+.^_|~-]+$')",
            "message": "must be the name of a header, such as Authorization",
        },
        {
            "rule": format!("!self.matches('(?i)^({RESERVED})$')"),
            "message": "frames or routes the request and can't be injected",
        },
    ])
}

pub(crate) fn template() -> Value {
    json!([
        {
            "rule": "self.matches('^[ -~]+$')",
            "message": "must be of printable ASCII characters",
        },
        {
            "rule": "self.contains('{}') && !self.matches('[{][}].*[{][}]')",
            "message": "must have {} once, where the key goes, such as Bearer {}",
        },
    ])
}

pub(crate) fn network() -> Value {
    one(
        "self.matches('^[0-9a-fA-F.:]+(/[0-9]{1,3})?$')",
        "must be a network such as 10.20.0.0/16, or an address",
    )
}
