//! Addresses that no rule opens, and what a policy of the cluster may except from that.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::cidr::Cidr;
use crate::guards::{Guard, is_on};

/// What an address is, where it is no ordinary one of the internet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AddressClass {
    /// A cloud's metadata service, which hands out credentials, and link-local addresses around it.
    Metadata,
    /// This machine.
    Loopback,
    /// No address of anybody: unspecified, multicast, reserved, documentation, benchmarks.
    Reserved,
    /// An IPv4 address inside one of IPv6: mapped, translated or tunnelled.
    Embedded,
    /// Listeners of the platform itself.
    Own,
    /// The cluster: its Services, Pods, nodes and API server.
    Cluster,
    /// Private networks, unique local addresses and carriers' shared space.
    Private,
}

impl AddressClass {
    /// Every class.
    pub const ALL: [Self; 7] = [
        Self::Metadata,
        Self::Loopback,
        Self::Reserved,
        Self::Embedded,
        Self::Own,
        Self::Cluster,
        Self::Private,
    ];

    /// The class as it stands in reports and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Metadata => "metadata",
            Self::Loopback => "loopback",
            Self::Reserved => "reserved",
            Self::Embedded => "embedded",
            Self::Own => "own",
            Self::Cluster => "cluster",
            Self::Private => "private",
        }
    }

    /// Whether a policy of the cluster may except addresses of it.
    pub const fn can_be_excepted(self) -> bool {
        match self {
            Self::Cluster | Self::Private => true,
            Self::Metadata | Self::Loopback | Self::Reserved | Self::Embedded | Self::Own => false,
        }
    }
}

impl fmt::Display for AddressClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Networks that are not the internet; the first that an address is in says what it is.
///
/// From the special-purpose registries of IANA for IPv4 and IPv6 (RFC 6890 and its updates), and
/// from what AWS, Azure, GCP, Oracle and Alibaba document for their metadata services.
const TABLE: [(Cidr, AddressClass); 35] = {
    use AddressClass::{Embedded, Loopback, Metadata, Private, Reserved};
    [
        (Cidr::v4(169, 254, 0, 0, 16), Metadata),
        (Cidr::v4(100, 100, 100, 200, 32), Metadata),
        (Cidr::v4(168, 63, 129, 16, 32), Metadata),
        (Cidr::v4(192, 0, 0, 192, 32), Metadata),
        (Cidr::v6([0xfd00, 0xec2, 0, 0], 64), Metadata),
        (Cidr::v6([0xfd20, 0xce, 0, 0], 64), Metadata),
        (Cidr::v6([0xfe80, 0, 0, 0], 10), Metadata),
        (Cidr::v4(127, 0, 0, 0, 8), Loopback),
        (Cidr::of(IpAddr::V6(Ipv6Addr::LOCALHOST)), Loopback),
        (Cidr::of(IpAddr::V6(Ipv6Addr::UNSPECIFIED)), Reserved),
        (Cidr::v4(0, 0, 0, 0, 8), Reserved),
        (Cidr::v4(10, 0, 0, 0, 8), Private),
        (Cidr::v4(100, 64, 0, 0, 10), Private),
        (Cidr::v4(172, 16, 0, 0, 12), Private),
        (Cidr::v4(192, 168, 0, 0, 16), Private),
        (Cidr::v4(192, 0, 0, 0, 24), Reserved),
        (Cidr::v4(192, 0, 2, 0, 24), Reserved),
        (Cidr::v4(192, 31, 196, 0, 24), Reserved),
        (Cidr::v4(192, 52, 193, 0, 24), Reserved),
        (Cidr::v4(192, 88, 99, 0, 24), Embedded),
        (Cidr::v4(192, 175, 48, 0, 24), Reserved),
        (Cidr::v4(198, 18, 0, 0, 15), Reserved),
        (Cidr::v4(198, 51, 100, 0, 24), Reserved),
        (Cidr::v4(203, 0, 113, 0, 24), Reserved),
        (Cidr::v4(224, 0, 0, 0, 4), Reserved),
        (Cidr::v4(240, 0, 0, 0, 4), Reserved),
        // Compatible, mapped and translated (RFC 4291, RFC 2765), NAT64 (RFC 6052, RFC 8215),
        // Teredo, 6to4.
        (Cidr::v6([0, 0, 0, 0], 64), Embedded),
        (Cidr::v6([0x64, 0xff9b, 0, 0], 96), Embedded),
        (Cidr::v6([0x64, 0xff9b, 1, 0], 48), Embedded),
        (Cidr::v6([0x2001, 0, 0, 0], 32), Embedded),
        (Cidr::v6([0x2002, 0, 0, 0], 16), Embedded),
        (Cidr::v6([0x2001, 0, 0, 0], 23), Reserved),
        (Cidr::v6([0x2001, 0xdb8, 0, 0], 32), Reserved),
        (Cidr::v6([0x3fff, 0, 0, 0], 20), Reserved),
        (Cidr::v6([0xfc00, 0, 0, 0], 7), Private),
    ]
};

/// What `address` is by itself, wherever it is used; `None` is an ordinary one of the internet.
pub(super) fn class_of(address: IpAddr) -> Option<AddressClass> {
    let row = TABLE
        .into_iter()
        .find(|(network, _)| network.contains(address));
    let class = match row {
        Some((_, class)) => Some(class),
        None if address.is_ipv6() && !GLOBAL_UNICAST.contains(address) => {
            Some(AddressClass::Reserved)
        }
        None => None,
    };
    class.filter(|class| is_on(guard(*class)))
}

/// All that is assigned of IPv6 (RFC 4291, section 2.4).
const GLOBAL_UNICAST: Cidr = Cidr::v6([0x2000, 0, 0, 0], 3);

/// What holds back addresses of a class.
const fn guard(class: AddressClass) -> Guard {
    match class {
        AddressClass::Embedded => Guard::EmbeddedAddresses,
        AddressClass::Own => Guard::OwnListeners,
        AddressClass::Cluster => Guard::ClusterAddresses,
        AddressClass::Metadata
        | AddressClass::Loopback
        | AddressClass::Reserved
        | AddressClass::Private => Guard::SpecialAddresses,
    }
}

/// Addresses that a policy of the cluster opens although they are private or the cluster's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Exception(Cidr);

/// Why a network can't be excepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadException {
    /// It is not inside one private range.
    #[error(
        "{network} can't be opened: an exception lies within one of 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 100.64.0.0/10 and fc00::/7; other addresses need none, or are never opened"
    )]
    NotPrivate {
        /// As written.
        network: Cidr,
    },
}

impl Exception {
    /// An exception of `network`, which must lie within one private range as a whole: a wide one
    /// would open what nobody thought of.
    pub fn new(network: Cidr) -> Result<Self, BadException> {
        let mut private = TABLE
            .into_iter()
            .filter(|(_, class)| *class == AddressClass::Private);
        let inside = private.any(|(range, _)| range.covers(network));
        if inside || !is_on(Guard::ExceptionBounds) {
            Ok(Self(network))
        } else {
            Err(BadException::NotPrivate { network })
        }
    }
}

/// Which addresses a VM's requests may go to, whatever host they name.
///
/// `AddressRules::default()` knows of no cluster and no listener, and opens nothing private.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressRules {
    /// Ranges of the cluster: Services, Pods, nodes, API server.
    pub cluster: Vec<Cidr>,
    /// Where the platform itself listens; never opened.
    pub own: Vec<SocketAddr>,
    /// What policies of the cluster open.
    pub exceptions: Vec<Exception>,
}

/// An address that may be connected to. Only [`AddressRules::admit`] makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admitted(SocketAddr);

impl Admitted {
    /// The address that was checked.
    pub const fn address(self) -> SocketAddr {
        self.0
    }
}

impl AddressRules {
    /// Permits a connection to `address`, or says what the address is.
    ///
    /// # Errors
    ///
    /// The [`AddressClass`] for which it is refused.
    pub fn admit(&self, address: SocketAddr) -> Result<Admitted, AddressClass> {
        match self.class(address) {
            None => Ok(Admitted(address)),
            Some(class) if class.can_be_excepted() && self.is_excepted(address.ip()) => {
                Ok(Admitted(address))
            }
            Some(class) => Err(class),
        }
    }

    fn class(&self, address: SocketAddr) -> Option<AddressClass> {
        let class = class_of(address.ip());
        if class.is_some_and(|class| !class.can_be_excepted()) {
            return class;
        }
        if self.own.contains(&address) && is_on(Guard::OwnListeners) {
            return Some(AddressClass::Own);
        }
        let in_cluster = |network: &Cidr| network.contains(address.ip());
        if self.cluster.iter().any(in_cluster) && is_on(Guard::ClusterAddresses) {
            return Some(AddressClass::Cluster);
        }
        class
    }

    fn is_excepted(&self, address: IpAddr) -> bool {
        self.exceptions
            .iter()
            .any(|Exception(network)| network.contains(address))
    }
}
