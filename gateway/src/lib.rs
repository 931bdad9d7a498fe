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
//!
//! The process around that way has these tasks:
//!
//! | task | input | output |
//! | --- | --- | --- |
//! | `api` | the agent's HTTP on `gateway.sock` | rules, keys and closed addresses; usage and reports |
//! | `channels` | cells' connections on `channels.sock` | [`serve`] for each, with its namespace's VMs alone |
//! | `fence` | deadlines, `CLOCK_BOOTTIME` | VMs that reach nobody, agent alive or not |
//! | `reports` | denials | one report for each VM, host and reason in a window |
//! | thread `access_log` | requests that are over | lines of JSON |

mod access_log;
mod api;
pub mod body;
mod channels;
pub mod connect;
mod connection;
mod exchange;
mod fence;
pub mod forward;
mod guards;
pub mod headers;
pub mod inject;
mod interfaces;
mod jail;
mod ledger;
pub mod limits;
pub mod mask;
mod name_servers;
mod namespaces;
pub mod outcome;
mod panics;
mod pool;
mod process;
mod randomness;
mod rate;
pub mod refusal;
mod reports;
pub mod resolve;
mod roots;
mod run;
pub mod secret;
pub mod serve;
mod settings;
mod slots;
mod sockets;
mod terms;
mod used;
pub mod vm;

pub use run::{Prepared, RunError, chain, prepare, run};
pub use settings::{AccessLogTo, Settings};
