//! Capabilities, resource limits and the rights that go with a process as such.

use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::JailError;

/// The most a jailed process can use of what the kernel counts for each process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Descriptors.
    pub open_files: u64,
    /// Bytes of address space beyond what is mapped when the jail is entered.
    pub address_space_bytes: Option<u64>,
    /// Seconds of CPU time, over all threads.
    pub cpu_seconds: Option<u64>,
}

/// Gives up capabilities, core dumps, being traced, and gaining rights ever again.
pub(super) fn give_up(bounds: &Bounds) -> Result<(), JailError> {
    limit(bounds)?;
    drop_capabilities()?;
    rustix::thread::set_no_new_privs(true).map_err(JailError::step("no_new_privs"))?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(JailError::step("not dumpable"))
}

fn limit(bounds: &Bounds) -> Result<(), JailError> {
    let Bounds {
        open_files,
        address_space_bytes,
        cpu_seconds,
    } = *bounds;
    set(Resource::Core, 0, "no core dumps")?;
    set(Resource::Nofile, open_files, "limit descriptors")?;
    if let Some(bytes) = address_space_bytes {
        let limit = mapped_bytes()?.saturating_add(bytes);
        set(Resource::As, limit, "limit memory")?;
    }
    if let Some(seconds) = cpu_seconds {
        // The first second over it ends by SIGXCPU, which tells what ended it.
        set_apart(
            Resource::Cpu,
            seconds,
            seconds.saturating_add(1),
            "limit CPU time",
        )?;
    }
    Ok(())
}

/// Sets soft and hard limit to `wanted`, or to the hard limit where that is lower.
fn set(resource: Resource, wanted: u64, step: &'static str) -> Result<(), JailError> {
    set_apart(resource, wanted, wanted, step)
}

/// Sets the soft limit to `soft` and the hard one to `hard`, neither above the hard limit.
fn set_apart(
    resource: Resource,
    soft: u64,
    hard: u64,
    step: &'static str,
) -> Result<(), JailError> {
    let most = getrlimit(resource).maximum.unwrap_or(u64::MAX);
    let both = Rlimit {
        current: Some(soft.min(most)),
        maximum: Some(hard.min(most)),
    };
    setrlimit(resource, both).map_err(JailError::step(step))
}

/// The address space in use: a pooling engine reserves far more than it will ever touch.
fn mapped_bytes() -> Result<u64, JailError> {
    let failed = |source| JailError::Step {
        step: "read /proc/self/statm",
        source,
    };
    let statm = std::fs::read_to_string("/proc/self/statm").map_err(failed)?;
    let pages = statm
        .split(' ')
        .next()
        .and_then(|pages| pages.parse::<u64>().ok());
    let page_bytes = u64::try_from(rustix::param::page_size()).unwrap_or(4096);
    pages
        .map(|pages| pages * page_bytes)
        .ok_or_else(|| failed(std::io::Error::other("no number in it")))
}

fn drop_capabilities() -> Result<(), JailError> {
    for capability in CapabilitySet::all().iter() {
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            // Without CAP_SETPCAP the set stays; it only matters to execve, which is closed.
            Ok(()) | Err(Errno::PERM | Errno::INVAL) => {}
            Err(errno) => return Err(JailError::step("drop the bounding set")(errno)),
        }
    }
    rustix::thread::clear_ambient_capability_set()
        .map_err(JailError::step("drop ambient capabilities"))?;
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    rustix::thread::set_capabilities(None, none).map_err(JailError::step("drop capabilities"))
}
