//! Why a request has no answer: a closed list, with the words of `wasi:http`.

use std::fmt;

use agentvm_policy::egress::{AddressClass, BadRequest, Denial};
use http::StatusCode;

/// What a guest is told. Each is an `error-code` of `wasi:http/types@0.2`, so that guests of both
/// interfaces see one set, and none tells more of the host than that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// No rule allows it.
    Denied,
    /// Method, scheme, authority, path or headers have no canonical form.
    RequestInvalid,
    /// Its headers are too many or too long.
    RequestHeaderSize,
    /// Its body is larger than is allowed, or more was sent than the VM may send in all.
    RequestBodySize,
    /// The name has no address, or nobody could tell.
    Dns,
    /// Nobody could tell in time.
    DnsTimeout,
    /// An address of the name is not open to VMs.
    AddressProhibited,
    /// The host refused the connection, or can't be reached.
    ConnectionRefused,
    /// The host did not answer in time.
    ConnectionTimeout,
    /// The VM has too many requests in flight.
    ConnectionLimit,
    /// The host speaks no TLS that we do.
    TlsProtocol,
    /// The host's certificate is not good for its name.
    TlsCertificate,
    /// The host's answer is not HTTP, or broke off.
    Protocol,
    /// The answer did not begin, or did not go on, in time.
    ResponseTimeout,
    /// The answer's headers are too many or too long.
    ResponseHeaderSize,
    /// The answer's body is larger than is allowed.
    ResponseBodySize,
    /// The answer is in an encoding in which a key could not be covered.
    ResponseContentCoding,
    /// The gateway failed; may be tried again.
    Internal,
}

impl Code {
    /// Every code, for tables and metrics.
    pub const ALL: [Self; 18] = [
        Self::Denied,
        Self::RequestInvalid,
        Self::RequestHeaderSize,
        Self::RequestBodySize,
        Self::Dns,
        Self::DnsTimeout,
        Self::AddressProhibited,
        Self::ConnectionRefused,
        Self::ConnectionTimeout,
        Self::ConnectionLimit,
        Self::TlsProtocol,
        Self::TlsCertificate,
        Self::Protocol,
        Self::ResponseTimeout,
        Self::ResponseHeaderSize,
        Self::ResponseBodySize,
        Self::ResponseContentCoding,
        Self::Internal,
    ];

    /// The code as `wasi:http` names it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Denied => "HTTP-request-denied",
            Self::RequestInvalid => "HTTP-request-URI-invalid",
            Self::RequestHeaderSize => "HTTP-request-header-section-size",
            Self::RequestBodySize => "HTTP-request-body-size",
            Self::Dns => "DNS-error",
            Self::DnsTimeout => "DNS-timeout",
            Self::AddressProhibited => "destination-IP-prohibited",
            Self::ConnectionRefused => "connection-refused",
            Self::ConnectionTimeout => "connection-timeout",
            Self::ConnectionLimit => "connection-limit-reached",
            Self::TlsProtocol => "TLS-protocol-error",
            Self::TlsCertificate => "TLS-certificate-error",
            Self::Protocol => "HTTP-protocol-error",
            Self::ResponseTimeout => "HTTP-response-timeout",
            Self::ResponseHeaderSize => "HTTP-response-header-section-size",
            Self::ResponseBodySize => "HTTP-response-body-size",
            Self::ResponseContentCoding => "HTTP-response-content-coding",
            Self::Internal => "internal-error",
        }
    }

    /// The status of the gateway's own answer.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Denied | Self::AddressProhibited => StatusCode::FORBIDDEN,
            Self::RequestInvalid => StatusCode::BAD_REQUEST,
            Self::RequestHeaderSize => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::RequestBodySize => StatusCode::PAYLOAD_TOO_LARGE,
            Self::ConnectionLimit => StatusCode::TOO_MANY_REQUESTS,
            Self::DnsTimeout | Self::ConnectionTimeout | Self::ResponseTimeout => {
                StatusCode::GATEWAY_TIMEOUT
            }
            Self::Dns
            | Self::ConnectionRefused
            | Self::TlsProtocol
            | Self::TlsCertificate
            | Self::Protocol
            | Self::ResponseHeaderSize
            | Self::ResponseBodySize
            | Self::ResponseContentCoding => StatusCode::BAD_GATEWAY,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a request has no answer, for whoever runs the VM: it names rules and classes, never an
/// address that a name resolved to, nor a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It has no canonical form.
    #[error(transparent)]
    BadRequest(#[from] BadRequest),
    /// `:authority` and `Host` differ.
    #[error("the request names two hosts")]
    TwoHosts,
    /// No rule allows it.
    #[error("{0}")]
    Denied(Denial),
    /// An address of its host is closed.
    #[error("the host resolves to an address of the class {0}, which is not open to VMs")]
    Address(AddressClass),
    /// Something else went wrong on the way.
    #[error("{0}")]
    Failed(Code),
}

impl Refusal {
    /// What the guest is told.
    pub const fn code(&self) -> Code {
        match self {
            Self::BadRequest(_) | Self::TwoHosts => Code::RequestInvalid,
            Self::Denied(_) => Code::Denied,
            Self::Address(_) => Code::AddressProhibited,
            Self::Failed(code) => *code,
        }
    }
}

impl From<Code> for Refusal {
    fn from(code: Code) -> Self {
        Self::Failed(code)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_code_has_a_name_of_its_own() {
        let names: BTreeSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(names.len(), Code::ALL.len());
    }
}
