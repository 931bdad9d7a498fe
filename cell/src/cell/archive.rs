//! Files on their way into a VM before it starts, and out of it after its end.
//!
//! | request | what happens |
//! | --- | --- |
//! | `PUT /v1/archives/{name}` | [`store`] holds the bytes; nothing is looked at |
//! | `PUT /v1/vms/{uid}` that names it | [`unpack`] takes them, under the VM's own quotas |
//! | `GET /v1/vms/{uid}/archive` | [`pack`] writes what the VM has left, where its files are kept |

mod pack;
mod routes;
mod store;
mod unpack;

pub(super) use routes::{get_archive, put_archive};
pub(super) use store::Archives;
pub(super) use unpack::unpack_all;
