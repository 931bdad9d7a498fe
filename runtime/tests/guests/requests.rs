//! Requests of guests, to a real server, carried the shortest way there is.

mod attacks;
mod components;
mod exchanges;
mod text;
mod upstream;
mod wasi;

#[cfg(feature = "mutants")]
pub(crate) use self::{
    attacks::{opens, opens_with_little_memory, opens_without_a_network},
    components::{asks, hoards_headers},
    upstream::nowhere,
};
