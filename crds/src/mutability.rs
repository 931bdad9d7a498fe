//! What becomes of a running VM when a field of its spec changes.
//!
//! The table is the contract: the rules of the CRD enforce its immutable rows, the node agent's
//! plan the others, `docs/api.md` shows it, and tests hold all of them to it.

/// What a change of a field does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mutability {
    /// It is refused.
    Immutable,
    /// The VM is stopped with its grace and runs again; not counted as a restart.
    Restart,
    /// It holds for the VM that runs.
    Live,
    /// It holds when the VM is placed the next time.
    NextPlacement,
}

impl Mutability {
    /// The word for it in the docs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Immutable => "immutable",
            Self::Restart => "restart",
            Self::Live => "live",
            Self::NextPlacement => "next placement",
        }
    }
}

/// Every field of an `AgentVM`'s spec, by its path, limits one by one.
pub const TABLE: [(&str, Mutability); 25] = [
    ("spec.image", Mutability::Immutable),
    ("spec.module", Mutability::Immutable),
    ("spec.args", Mutability::Restart),
    ("spec.env", Mutability::Restart),
    ("spec.mounts", Mutability::Restart),
    ("spec.capabilities.clock", Mutability::Restart),
    ("spec.capabilities.network", Mutability::Live),
    ("spec.limits.memory", Mutability::Restart),
    ("spec.limits.cpu", Mutability::Live),
    ("spec.limits.fuel", Mutability::Restart),
    ("spec.limits.timeout", Mutability::Restart),
    ("spec.limits.logRate", Mutability::Live),
    ("spec.limits.logTotal", Mutability::Live),
    ("spec.limits.storage", Mutability::Restart),
    ("spec.limits.inodes", Mutability::Restart),
    ("spec.limits.openFiles", Mutability::Restart),
    ("spec.limits.connections", Mutability::Live),
    ("spec.limits.egress", Mutability::Live),
    ("spec.limits.egressRate", Mutability::Live),
    ("spec.suspend", Mutability::Live),
    ("spec.restartPolicy", Mutability::Immutable),
    ("spec.terminationGracePeriod", Mutability::Live),
    ("spec.ttlAfterFinished", Mutability::Live),
    ("spec.nodeSelector", Mutability::NextPlacement),
    ("spec.tolerations", Mutability::NextPlacement),
];

/// What a change of the field at `path` does; `None` where there is no such field.
pub fn of(path: &str) -> Option<Mutability> {
    TABLE
        .iter()
        .find(|(field, _)| *field == path)
        .map(|(_, mutability)| *mutability)
}
