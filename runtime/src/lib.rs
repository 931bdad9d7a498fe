//! Runs one WebAssembly program as a sandboxed, metered virtual machine.
//!
//! The way of a program: [`compile`] validates its bytes, checks its imports and turns them
//! into machine code (in a process of its own); [`Program::load`] maps that code and links
//! it; [`prepare`] pairs it with what it is granted; [`Vm::run`] drives it to its
//! [`Ending`] while a [`VmHandle`] meters, limits and stops it from outside.
//!
//! A guest is denied everything but computing, its arguments and environment, a clock of
//! 1 ms, random bytes, writing to stdout and stderr, the files that are mounted for it, and
//! requests where somebody carries them ([`VmConfig::egress`]).
//! Its stdin stays open and silent until [`VmHandle::stop`] closes it: this is how a guest
//! learns that it shall end. A guest that has other things to do meanwhile polls its stdin,
//! which turns readable with the stop:
//! `select.select([0], [], [], seconds)` in Python; in Go, where a plain read would hold up
//! every goroutine, `syscall.SetNonblock(0, true)` before `os.NewFile(0, "stdin")` is read.
//!
//! Files it has only where [`VmConfig::filesystem`] mounts something: then `/` is the one
//! directory that it finds open (descriptor 3 of a core module, the one entry of
//! `get-directories` of a component), and all of it is in memory, under the budget of that
//! filesystem. What its calls work on files is paid for in fuel like any host call, and how many
//! files it has open at once is bounded. Both guest interfaces stand over the same [`vfs::Node`]s,
//! one in `preview1`, one in `preview2`, and neither knows more of a file than they tell.
//!
//! A request is handed to [`Egress`] with its canonical form still to be made and its rule still
//! to be found: nothing here decides on it. A component asks by `wasi:http`, a core module by
//! `agentvm:http/requests`, whose exchanges are descriptors of preview1. In flight they count of
//! `limits.connections`, what the host holds of them of `limits.memory`; their bodies wait on both
//! sides until the other one reads.
//!
//! Nothing here opens a file of the host, a socket or a process for a guest. The future of
//! [`Vm::run`] is the guest, and each request has a task that waits for its answer, at the guest's
//! expense; whoever polls the future owns it, and dropping it frees everything and ends those
//! tasks.

mod budget;
mod bulk;
mod charge;
mod clocks;
mod compile;
mod egress;
mod ending;
mod engine;
mod guards;
mod handle;
mod heap;
mod host;
mod imports;
mod instances;
mod limiter;
mod load;
mod meter;
mod preview1;
mod preview2;
mod program;
mod proposals;
mod recall;
mod stdio;
mod trap;
mod turn;
mod usage;
mod validate;
mod vm;

pub use agentvm_vfs as vfs;
pub use compile::{Compiled, MAX_MODULE_BYTES, compile};
pub use egress::{Answer, Body, Egress};
pub use ending::Ending;
pub use engine::{Engine, EngineError, EngineSettings};
#[cfg(feature = "mutants")]
pub use guards::{Guard, switch_off};
pub use handle::VmHandle;
pub use heap::{heap_bytes, release_free_memory};
pub use meter::host_panics_total;
pub use program::{LoadError, Program};
pub use stdio::{Kept, Output};
pub use trap::sanitise;
pub use turn::thread_cpu;
pub use usage::Usage;
pub use validate::{Kind, ModuleError};
pub use vm::{Vm, VmConfig, prepare};
