//! The closed lists of condition reasons.

use agentvm_policy::EndReason;

/// Declares a closed list of reasons with the text that stands in conditions.
macro_rules! reasons {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $name {
            /// Every reason of the list.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The reason as it stands in conditions, events and exit records.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => stringify!($variant),)+
                }
            }
        }
    };
}

reasons! {
    /// Why the operator accepts a spec or not.
    AcceptedReason {
        /// It is sound and allowed.
        Accepted,
        /// A field holds what the API does not allow.
        InvalidSpec,
        /// It asks for more than a policy, or the absence of one, allows.
        PolicyRefused,
    }
}

reasons! {
    /// Why a VM has a node or not.
    PlacedReason {
        /// It has one.
        Placed,
        /// There are nodes and it fits on none.
        Unschedulable,
        /// No node reports that it can run VMs.
        NoNodes,
    }
}

reasons! {
    /// Why a VM can start on its node or not.
    ImageReason {
        /// Everything it needs is there.
        Ready,
        /// The registry did not yield the module. Tried again.
        ImagePullFailed,
        /// A ConfigMap that it names does not exist. Tried again.
        ConfigMapNotFound,
        /// A ConfigMap or Secret that it names has no such key. Tried again.
        KeyNotFound,
        /// A Secret that it names does not exist. Tried again.
        SecretNotFound,
        /// The agents may not read Secrets in its namespace: it has not opted in. Tried again.
        SecretForbidden,
        /// A key that the gateway adds to its requests is no text for a header. Tried again.
        InvalidKey,
        /// It asks for network, and its node has no gateway that answers. Tried again.
        GatewayUnavailable,
        /// What its ConfigMaps and Secrets hold is more than its limits allow. Tried again.
        StorageLimit,
        /// Its mounts can't be made into one tree, such as a mount below a file.
        InvalidMounts,
        /// The bytes are no module that can run here.
        InvalidModule,
        /// The module imports what this host does not offer.
        MissingImports,
        /// Compiling it took more than the compiler's time or memory.
        CompileLimit,
    }
}

impl ImageReason {
    /// Whether trying again can help without a change of the manifest.
    pub const fn is_retried(self) -> bool {
        match self {
            Self::ImagePullFailed
            | Self::ConfigMapNotFound
            | Self::KeyNotFound
            | Self::SecretNotFound
            | Self::SecretForbidden
            | Self::InvalidKey
            | Self::GatewayUnavailable
            | Self::StorageLimit => true,
            Self::Ready
            | Self::InvalidMounts
            | Self::InvalidModule
            | Self::MissingImports
            | Self::CompileLimit => false,
        }
    }
}

reasons! {
    /// Why a VM's files can't grow.
    StorageReason {
        /// Its node is short of memory.
        NodeMemoryPressure,
    }
}

reasons! {
    /// Which limit a VM has nearly used up, or is delayed by.
    LimitsReason {
        /// `limits.memory`.
        MemoryPressure,
        /// `limits.cpu`.
        CpuPressure,
        /// `limits.fuel`.
        FuelPressure,
        /// `limits.logTotal`.
        LogPressure,
        /// `limits.storage`.
        StoragePressure,
        /// `limits.egress`.
        EgressPressure,
        /// More than one; the message names them.
        SeveralLimits,
    }
}

/// Why a VM is not running: how its last run ended, or why there was none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// A run ended.
    Ended(EndReason),
    /// What it needs is not there, or is unfit.
    Image(ImageReason),
    /// The spec is refused.
    Refused(AcceptedReason),
}

impl Cause {
    /// The reason as it stands in conditions, events and exit records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ended(reason) => reason.as_str(),
            Self::Image(reason) => reason.as_str(),
            Self::Refused(reason) => reason.as_str(),
        }
    }
}

impl From<EndReason> for Cause {
    fn from(reason: EndReason) -> Self {
        Self::Ended(reason)
    }
}

impl From<ImageReason> for Cause {
    fn from(reason: ImageReason) -> Self {
        Self::Image(reason)
    }
}

impl From<AcceptedReason> for Cause {
    fn from(reason: AcceptedReason) -> Self {
        Self::Refused(reason)
    }
}
