//! The node agent: makes what runs on one node what the `AgentVM`s assigned to it ask for.
//!
//! The same core serves a cluster and `agentvm run`: [`catalogue`] keeps [`desired`] up to
//! date, [`observed`] keeps what is, [`plan::Plan::between`] decides, [`execute`] acts. Only
//! where objects come from and where status goes differs; [`border`] names those two traits.
//!
//! # Long-running tasks
//! | task | takes | yields |
//! | --- | --- | --- |
//! | [`agent::Agent::run`] | changes, notices, outcomes | actions |
//! | one task for each action ([`execute`]) | an action | one outcome |
//! | one task for each cell ([`watch_cells`]) | the cell's list, by long poll | notices |
//! | [`watch_gateway::follow`] | the gateway's reports, by long poll; facts of the node | notices |
//! | watches ([`kubernetes`]) | the API server | changes |
//! | Lease and `AgentNode` ([`kubernetes`]) | the clock, the warden's facts | heartbeats |
//! | [`serve`] | scrapes and probes | metrics |

pub mod agent;
pub mod backoff;
pub mod border;
pub mod capacity;
pub mod catalogue;
pub mod clock;
pub mod cluster;
pub mod desired;
pub mod egress;
pub mod environment;
pub mod execute;
pub mod expand;
pub mod flags;
mod guards;
pub mod identity;
pub mod kubernetes;
pub mod ledger;
pub mod metrics;
pub mod mounts;
pub mod observed;
pub mod plan;
pub mod problem;
pub mod registry;
pub mod report;
pub mod restart;
pub mod serve;
pub mod source;
pub mod stop;
pub mod watch_cells;
pub mod watch_gateway;
