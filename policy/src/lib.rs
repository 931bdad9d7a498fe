//! Pure decisions of `AgentVM`: what a VM asks for, what the policies of its namespace
//! allow, what it is therefore granted, and how its life can end.
//!
//! Nothing here does I/O, reads a clock or knows Kubernetes. The operator, the node agent
//! and the CLI all call [`effective`], so the three can never disagree.

mod ask;
pub mod budget;
mod effective;
pub mod egress;
mod end;
mod grants;
#[cfg(feature = "mutants")]
pub mod guards;
#[cfg(not(feature = "mutants"))]
mod guards;
pub mod human;
mod limits;
mod request;

pub use ask::{BadAsk, EgressAsk};
pub use effective::{Refusal, Verdict, effective};
pub use end::{EndReason, Fault};
pub use grants::{ClockGrant, Grants};
pub use limits::{LimitField, LimitRequest, Limits};
pub use request::{Mode, PolicyRules, Request};
