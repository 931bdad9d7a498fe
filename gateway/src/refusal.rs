//! Why a request has no answer: what the guest is told, and what whoever runs the VM is told.

use agentvm_policy::egress::{AddressClass, BadRequest, Code, Denial};
use http::StatusCode;

/// The status of the gateway's own answer.
pub(crate) const fn status(code: Code) -> StatusCode {
    match code {
        Code::Denied | Code::AddressProhibited => StatusCode::FORBIDDEN,
        Code::RequestInvalid => StatusCode::BAD_REQUEST,
        Code::RequestHeaderSize => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        Code::RequestBodySize => StatusCode::PAYLOAD_TOO_LARGE,
        Code::ConnectionLimit => StatusCode::TOO_MANY_REQUESTS,
        Code::DnsTimeout | Code::ConnectionTimeout | Code::ResponseTimeout => {
            StatusCode::GATEWAY_TIMEOUT
        }
        Code::Dns
        | Code::ConnectionRefused
        | Code::TlsProtocol
        | Code::TlsCertificate
        | Code::Protocol
        | Code::ResponseHeaderSize
        | Code::ResponseBodySize
        | Code::ResponseContentCoding => StatusCode::BAD_GATEWAY,
        Code::LoopDetected => StatusCode::LOOP_DETECTED,
        Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
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
