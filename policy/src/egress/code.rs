//! Why a request has no answer, in the words of `wasi:http`: a closed list.

use std::fmt;

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
    /// The request has already been through a gateway of ours.
    LoopDetected,
    /// The gateway failed; may be tried again.
    Internal,
}

impl Code {
    /// Every code, for tables and metrics.
    pub const ALL: [Self; 19] = [
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
        Self::LoopDetected,
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
            Self::LoopDetected => "loop-detected",
            Self::Internal => "internal-error",
        }
    }

    /// The code of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == name)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_name_of_its_own() {
        for code in Code::ALL {
            assert_eq!(Code::parse(code.as_str()), Some(code));
        }
        assert_eq!(Code::parse("some-other-error"), None);
    }
}
