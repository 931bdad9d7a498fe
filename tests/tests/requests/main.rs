//! Requests of real programs: Go with net/http, Python over wasi:http, JavaScript with fetch, each
//! against a server on this machine, without the processes between them and it.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that meets something unexpected shall fail"
)]

mod go;
mod javascript;
mod python;
#[path = "../../../runtime/tests/guests/requests/upstream.rs"]
mod upstream;
mod vm;
