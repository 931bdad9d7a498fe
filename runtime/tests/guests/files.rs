//! Core modules over mounts: what every call answers, and what attacks on them come to.

pub(crate) mod access;
mod bytes;
pub(crate) mod cost;
pub(crate) mod descriptors;
mod hidden;
pub(crate) mod links;
mod listing;
pub(crate) mod mounts;
pub(crate) mod names;
pub(crate) mod paths;
pub(crate) mod quota;
pub(crate) mod script;
mod stat;
