//! What the agent asks of the gateway: which requests each VM may make, and what became of them.
//!
//! | request | answer |
//! | --- | --- |
//! | `GET /v1/info` | [`Info`] |
//! | `PUT /v1/node` with [`Node`] | 204: these addresses are closed from now on |
//! | `PUT /v1/vms/{uid}` with [`Vm`] | 204: they hold for new requests at once, and requests in flight that they no longer allow are cut; 422 where a rule or a header can't be read, and then nothing is allowed; 409 before the first `PUT /v1/node`: nobody's rules hold before it is known what is closed to all; 409 where another namespace's VM has the UID |
//! | `DELETE /v1/vms/{uid}` | 200 [`Usage`]: what it has used to its end; requests in flight end; 404 where it has no rules |
//! | `GET /v1/vms` | [`Vms`]: what each VM has used, by UID |
//! | `GET /v1/reports?since=V&waitMs=N` | [`Reports`] after number `V`: at once if there are any, else after at most `N` ms |
//! | `GET /healthz` | 200 |
//!
//! What is refused has a [`crate::problem::Problem`] as its body.
//!
//! A cell's channel comes by another socket, [`CHANNELS`]: whoever connects says the namespace in
//! one line of JSON, [`Channel`], and hands the connection to that namespace's cell. From then on
//! it is HTTP/2, on which each request names its VM in the header [`VM_HEADER`]. The warden alone
//! can connect: cells have no way to open a socket.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;

use agentvm_policy::egress::{Cidr, Code, RuleText};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// The name of the agent's socket in the gateway's directory.
pub const API: &str = "gateway.sock";
/// The name of the socket for cells' channels in that directory.
pub const CHANNELS: &str = "channels.sock";
/// Names the VM that a request is from, by its UID.
pub const VM_HEADER: &str = "agentvm-vm";
/// Marks an answer of the gateway's own, and says why: a name of
/// [`agentvm_policy::egress::Code`].
pub const ERROR_HEADER: &str = "agentvm-error";

/// The first of the HTTP/2 error codes with which the gateway ends an answer that it has begun.
const FIRST_RESET: u32 = 0x4147_0000;

/// The HTTP/2 error code with which the gateway ends an answer that it has begun, by why.
pub fn reset_of(code: Code) -> u32 {
    let number = Code::ALL.iter().position(|known| *known == code);
    number
        .and_then(|number| u32::try_from(number).ok())
        .map_or(u32::MAX, |number| FIRST_RESET + number)
}

/// Why the gateway ended an answer that it had begun; `None` where HTTP/2 itself did.
pub fn code_of_reset(reset: u32) -> Option<Code> {
    Code::ALL.into_iter().find(|code| reset_of(*code) == reset)
}

/// The first line of a channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Channel {
    /// The namespace whose cell gets the connection.
    pub namespace: String,
}

/// Facts about the gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Info {
    /// The version of its binary.
    pub version: String,
    /// A random id: another id is another process, which knows no rules yet.
    pub instance: String,
    /// Its process id.
    pub pid: u32,
    /// What its jail lacks; empty where it lacks nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub jail_message: String,
    /// Connections to cells that are open.
    pub channels: u32,
    /// Panics in code that served a request; anything but 0 is a bug of ours.
    pub host_panics: u64,
    /// Its resident memory, bytes.
    #[serde(default)]
    pub resident_bytes: u64,
    /// CPU time that it has used, nanoseconds.
    #[serde(default)]
    pub cpu_ns: u64,
    /// Lines of the access log that found no room, because whoever reads it is slow.
    #[serde(default)]
    pub access_log_dropped: u64,
}

/// What the gateway has to know of the node it is on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Node {
    /// Ranges of the cluster: Services, Pods, nodes, API server.
    #[serde(default)]
    pub cluster: Vec<Cidr>,
    /// Where the platform itself listens. An unspecified address (`0.0.0.0`, `::`) is each one of
    /// the network that the gateway is in.
    #[serde(default)]
    pub own: Vec<SocketAddr>,
}

/// What one VM may ask of hosts outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Vm {
    /// The namespace of the object; only that namespace's cell can speak for it.
    pub namespace: String,
    /// Name of the object, for the access log.
    pub name: String,
    /// The rules in the order of the manifest.
    pub rules: Vec<Rule>,
    /// Private networks that policies of the cluster open to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<Cidr>,
    /// How much.
    pub limits: Limits,
    /// When its requests must have ended, agent alive or not: `CLOCK_BOOTTIME` milliseconds.
    /// A later `PUT` moves it. `None` is no deadline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fence_deadline_boottime_ms: Option<u64>,
}

/// One rule, and the headers that it adds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    /// What it allows.
    pub allow: RuleText,
    /// What it adds; only where it names one host by `https`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inject: Vec<Inject>,
}

/// A header made of a key that the guest never sees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Inject {
    /// The header's name.
    pub header: String,
    /// Its value, with `{}` where the key goes.
    pub template: String,
    /// The key.
    pub key: Key,
}

/// A key on its way to the gateway: wiped when it is dropped, and not shown by `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Key(Zeroizing<String>);

impl Key {
    /// The key itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Key {
    fn from(key: String) -> Self {
        Self(Zeroizing::new(key))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// How much one VM may send, of `spec.limits`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Limits {
    /// Requests in flight.
    pub connections: u64,
    /// Bytes of bodies that it sends in its whole life.
    pub egress_bytes: u64,
    /// Bytes of bodies that it sends and gets in a second; what is over waits.
    pub egress_bytes_per_second: u64,
}

/// What each VM has used, by UID.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Vms {
    /// The process that says so, as in [`Info::instance`].
    pub instance: String,
    /// Keyed by UID; a VM that is not in it has no rules here.
    pub vms: BTreeMap<String, Usage>,
}

/// What one VM has used of the network since its first `PUT`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// Requests that an upstream answered.
    pub answered: u64,
    /// Requests that got no answer, by the name of their [`agentvm_policy::egress::Code`]: a
    /// closed set.
    pub refused: BTreeMap<String, u64>,
    /// Requests in flight now.
    pub in_flight: u64,
    /// Bytes of bodies that it sent.
    pub sent_bytes: u64,
    /// Bytes of bodies that it got.
    pub received_bytes: u64,
    /// Time for which its bodies waited for its rate, nanoseconds.
    pub throttled_ns: u64,
}

/// Denials that nobody was told of yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reports {
    /// The process that says so, as in [`Info::instance`].
    pub instance: String,
    /// Pass it as `since` next time.
    pub number: u64,
    /// Oldest first. Those that found no room are counted in the next one of their VM.
    pub denials: Vec<Denial>,
}

/// Requests of one VM to one host that were denied for one reason, in one window of time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Denial {
    /// The VM's UID.
    pub uid: String,
    /// The host as the guest named it, in canonical form; empty where it has none.
    pub host: String,
    /// The name of the [`agentvm_policy::egress::Code`].
    pub code: String,
    /// The whole sentence for a person: what was asked, and which rule came closest. It names
    /// method, scheme, host and port, and neither path nor query.
    pub message: String,
    /// How many.
    pub count: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_reset_of_its_own_and_none_of_http2s() {
        for code in Code::ALL {
            assert_eq!(code_of_reset(reset_of(code)), Some(code));
        }
        for of_http2 in 0..=0xd {
            assert_eq!(code_of_reset(of_http2), None);
        }
    }
}
