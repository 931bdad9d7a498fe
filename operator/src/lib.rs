//! The operator: places `AgentVM`s on nodes and keeps what it owns of their status true.
//!
//! Every replica runs the status server and a candidate for the Lease; the one that leads also
//! runs the [`controller`], whose tasks its page lists. For one VM the [`reconcile`] pipeline is:
//!
//! | step | module | network |
//! | --- | --- | --- |
//! | gather what the decision is based on | [`dereference`] | only to confirm that a node is gone |
//! | is the spec sound and allowed? | [`validate`] | no |
//! | what is to be done? | [`decide`] | no |
//! | which node? | [`place`], over [`world`] | no |
//! | what will the status say? | [`build`] | no |
//! | write it | [`apply`] | yes |
//! | delete what outlived its TTL | [`expire`] | yes |
//!
//! Nothing here runs guest code or reads a Secret.

pub mod apply;
pub mod backoff;
pub mod build;
pub mod context;
pub mod controller;
pub mod decide;
pub mod decoded;
pub mod dereference;
pub mod error;
pub mod expire;
pub mod feed;
mod guards;
pub mod leader;
pub mod ledger;
pub mod metrics;
pub mod nodes;
pub mod notice;
pub mod place;
pub mod policies;
pub mod queue;
pub mod reconcile;
pub mod resources;
pub mod run;
pub mod serve;
pub mod settings;
pub mod skew;
pub mod undecodable;
pub mod validate;
pub mod world;
