//! Helpers of the tests that need more than one crate: a real control plane, a real registry,
//! the real processes and real guests.
//!
//! A test file in `tests/` calls [`cluster::shared`] and gets one cluster for the whole binary,
//! then a namespace of its own. Nothing here is mocked, and nothing outlives the test binary:
//! every process is killed by the kernel when it goes (see [`process`]).

pub mod api;
pub mod assets;
pub mod audit;
pub mod built;
pub mod cache;
pub mod chart;
pub mod cluster;
pub mod control_plane;
pub mod crd;
pub mod flaky;
pub mod go_module;
pub mod guests;
pub mod helm;
pub mod http;
pub mod identity;
pub mod image;
pub mod internet;
pub mod kubectl;
pub mod node;
pub mod operator;
pub mod panics;
pub mod pki;
pub mod process;
pub mod program;
pub mod real_node;
pub mod registry;
pub mod scratch;
pub mod vm;
pub mod wait;
pub mod workspace;

/// What every helper returns.
pub type Result<T, E = anyhow::Error> = std::result::Result<T, E>;
