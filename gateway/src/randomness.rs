//! The system's randomness, by every library that draws it in its own way.
//!
//! A static program finds `getrandom` by no name, and a library keeps `/dev/urandom` open instead:
//! each has to open it before the jail closes. (The jail draws for the library of this crate.)

use std::io;

/// Draws once by each: TLS, and the name server client.
pub(crate) fn draw() -> io::Result<()> {
    let tls = rustls::crypto::ring::default_provider().secure_random;
    tls.fill(&mut [0; 8])
        .map_err(|_it_says_no_more| io::Error::other("no randomness for TLS"))?;
    getrandom::fill(&mut [0; 8]).map_err(io::Error::other)
}
