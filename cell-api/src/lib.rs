//! The types that node agent, warden and cells exchange over their Unix sockets.
//!
//! Only types and a client live here, so that the node agent need not know the runtime. The
//! requests are written down, with `curl` lines, in `docs/socket-api.md`.
//!
//! Times on the wire are Unix milliseconds (`*_unix_ms`), durations carry their unit.

pub mod cell;
pub mod client;
pub mod gateway;
pub mod log;
pub mod mounts;
pub mod problem;
pub mod warden;
