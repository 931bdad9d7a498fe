//! Requests of guests, to a real server, carried the shortest way there is.

mod attacks;
mod exchanges;
mod text;
mod upstream;

pub(crate) use self::attacks::{opens, opens_without_a_network};
pub(crate) use self::upstream::Upstream;
