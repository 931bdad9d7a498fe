//! The gateway: the only way out of a VM.
//!
//! A guest has no socket. Its requests come over its cell's channel and take one way, each step of
//! which needs what the one before it made:
//!
//! | step | takes | makes |
//! | --- | --- | --- |
//! | form ([`agentvm_policy::egress::Request`]) | what came by HTTP/2 | the one form that is decided on and sent |
//! | rule ([`vm::Terms::permit`]) | that form | a permit, or nothing |
//! | name ([`resolve`]) | the permitted host | its addresses, looked up once |
//! | address ([`agentvm_policy::egress::AddressRules`]) | each address | one that may be connected to |
//! | connection ([`connect`]) | admitted addresses | TCP to that very address, TLS for the permitted name |
//! | key ([`inject`]) | the rule | a header that the guest never sees |
//! | answer ([`body`], [`mask`]) | what comes back | what of it is handed on |
//!
//! Redirects are handed to the guest. No proxy of the environment is used. Nothing here knows
//! Kubernetes, and keys are in memory alone.

pub mod body;
pub mod connect;
pub mod forward;
mod guards;
pub mod headers;
pub mod inject;
pub mod limits;
pub mod mask;
pub mod refusal;
pub mod resolve;
pub mod secret;
pub mod serve;
pub mod vm;
