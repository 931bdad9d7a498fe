//! Constants that take nothing from the table, and why.

use agentvm_policy::budget::{self, Bound};

/// A constant of a crate that depends on nothing, and the row that it has to equal.
pub(crate) struct Known {
    pub(crate) path: &'static str,
    pub(crate) value: u64,
    pub(crate) bound: Bound,
}

/// Rows whose constant stands in a crate that takes nothing from elsewhere.
pub(crate) const ELSEWHERE: [Known; 6] = [
    same(
        "vfs::MAX_NAME_BYTES",
        wide(agentvm_vfs::MAX_NAME_BYTES),
        budget::NAME_BYTES,
    ),
    same(
        "vfs::MAX_PATH_BYTES",
        wide(agentvm_vfs::MAX_PATH_BYTES),
        budget::PATH_BYTES,
    ),
    same(
        "vfs::MAX_DEPTH",
        wide(agentvm_vfs::MAX_DEPTH),
        budget::DEPTH,
    ),
    same(
        "vfs::MAX_MOUNTS",
        wide(agentvm_vfs::MAX_MOUNTS),
        budget::MOUNTS,
    ),
    same(
        "vfs::MAX_SYMLINKS",
        widen(agentvm_vfs::MAX_SYMLINKS),
        budget::SYMLINKS,
    ),
    same(
        "vfs::MAX_LINKS",
        widen(agentvm_vfs::MAX_LINKS),
        budget::LINKS,
    ),
];

/// Why a number bounds nothing that a guest makes the host do.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Why {
    /// Somebody else's number: of WASI, Linux, a file format, a unit of time.
    Interface,
    /// What work or memory counts as; the limits of the manifest bound the sum.
    Charge,
    /// How memory is laid out, or written for people; what it takes is charged or bounded above.
    Layout,
    /// What a machine must have, or leaves to its cells, whoever runs there.
    Machine,
    /// How often, how long or how politely the host does its own work; no guest makes more of it.
    Pace,
}

/// Those that bound nothing, by why.
pub(crate) const UNBOUND: [(Why, &[&str]); 5] = [
    (
        Why::Interface,
        &[
            "cell_api::gateway::FIRST_RESET",
            "runtime::bulk::*",
            "runtime::imports::PAGE_BYTES",
            "runtime::preview1::errno::*",
            "runtime::preview1::fd::allocation::ADVICES",
            "runtime::preview1::fd::directory::HEADER_BYTES",
            "runtime::preview1::http::open::BODY",
            "runtime::preview1::http::open::NONBLOCK",
            "runtime::preview1::fd::stat::ALL_FLAGS",
            "runtime::preview1::fd::stat::APPEND",
            "runtime::preview1::fd::stat::NONBLOCK",
            "runtime::preview1::filestat::ATIM",
            "runtime::preview1::filestat::ATIM_NOW",
            "runtime::preview1::filestat::BYTES",
            "runtime::preview1::filestat::MTIM",
            "runtime::preview1::filestat::MTIM_NOW",
            "runtime::preview1::iovec::ENTRY_BYTES",
            "runtime::preview1::path::SYMLINK_FOLLOW",
            "runtime::preview1::path::open::CREATE",
            "runtime::preview1::path::open::DIRECTORY",
            "runtime::preview1::path::open::EXCLUSIVE",
            "runtime::preview1::path::open::TRUNCATE",
            "runtime::preview1::poll::ABSOLUTE",
            "runtime::preview1::poll::EVENT_BYTES",
            "runtime::preview1::poll::HANGUP",
            "runtime::preview1::poll::SUBSCRIPTION_BYTES",
            "runtime::preview1::rights::*",
            "runtime::preview2::files::metadata::NANOS_PER_SECOND",
            "cell::archive::write::SHORT_BYTES",
            "cell::cell::archive::pack::BLOCK_BYTES",
            "cell::cell::log::envelope::LONGEST_ESCAPE",
            "cell::jail::*",
            "jail::syscalls::*",
            "cell::warden::cache::MAC_BYTES",
            "cell::warden::key::KEY_BYTES",
            "cell::warden::memory::cgroup::NO_LIMIT_V1",
            "cell::warden::run_dir::MAX_SOCKET_PATH_BYTES",
            "gateway::name_servers::DNS",
            "gateway::name_servers::MOST",
            "gateway::jail::KIND",
            "gateway::jail::SOL_SOCKET",
            "gateway::jail::IPPROTO_TCP",
            "gateway::jail::IPPROTO_UDP",
            "gateway::sockets::MAX_SOCKET_PATH_BYTES",
            "gateway::settings::DNS",
            "gateway::api::uid::MAX_CHARS",
        ],
    ),
    (
        Why::Charge,
        &[
            "runtime::preview2::http::weight::PIECES",
            "vfs::tree::blocks::BLOCK_COST",
            "vfs::tree::blocks::FREED_STEP_BYTES",
            "vfs::tree::blocks::STEP_BYTES",
            "vfs::tree::bytes::BLOCK_STEPS",
            "vfs::tree::directory::ENTRY_COST",
            "vfs::tree::inode::INODE_COST",
            "vfs::tree::walk::STEP_BYTES",
        ],
    ),
    (
        Why::Layout,
        &[
            "cell::archive::item::MOST",
            "vfs::tree::blocks::BLOCK",
            "vfs::tree::blocks::SMALLEST",
            "vfs::tree::blocks::WHOLE_FROM",
            "vfs::tree::directory::PLACE_BITS",
            "vfs::tree::directory::SAME_HASH",
            "vfs::tree::entries::FEW",
            "vfs::tree::name::SHORT",
            "gateway::limits::LEAST_BUFFER",
            "gateway::mask::LEAST_BYTES",
        ],
    ),
    (
        Why::Machine,
        &[
            "cell::warden::machine::EMPTY_CELLS_PART",
            "cell::warden::machine::LEAST_MEMORY_MIB",
            "cell::warden::machine::OTHER_THREADS",
            "cell::warden::machine::THREADS_PER_CELL",
            "cell::warden::memory::BEFORE_THE_END_PERCENT",
            "cell::warden::memory::HYSTERESIS_PERCENT",
            "cell::warden::memory::pace::TOUCHED_PER_CORE",
            "cell::warden::oom::CELL_SOONER",
            "cell::warden::oom::FIRST",
        ],
    ),
    (
        Why::Pace,
        &[
            "runtime::handle::FOREVER",
            "cell::cell::LINGER",
            "cell::cell::fence::RECHECK",
            "cell::cell::limits::FROM_PERCENT",
            "cell::cell::limits::PART",
            "cell::cell::limits::PARTS",
            "cell::cell::limits::UNTIL_PERCENT",
            "cell::cell::limits::WINDOW",
            "cell::cell::network::channel::RETRY_SOONEST",
            "cell::cell::pressure::EVERY",
            "cell::cell::promise::GATHER",
            "cell::cell::reclaim::LARGE_BYTES",
            "cell::cell::reclaim::LATER",
            "cell::cell::reclaim::SOON",
            "cell::cell::schedule::FIRST_NICENESS",
            "cell::cell::schedule::GUEST_NICENESS",
            "cell::cell::schedule::order::SLACK",
            "cell::cell::schedule::queue::LATE",
            "cell::cell::schedule::task::CORE",
            "cell::cell::schedule::task::LONG",
            "cell::compile::NICENESS",
            "cell::warden::cells::attend::HEARD_WITHIN",
            "cell::warden::memory::GONE_WITHIN",
            "cell::warden::memory::SETTLE",
            "cell::warden::memory::pace::EVERY",
            "cell::warden::memory::pace::SOONEST",
            "cell::warden::probe::WITHIN",
            "cell::warden::queue::NOTHING",
            "cell_api::client::ANSWER_WITHIN",
            "cell_api::client::archive::ARCHIVE_WITHIN",
            "gateway::fence::RECHECK",
            "gateway::reports::LOOK_EVERY",
            "gateway::run::GRACE",
            "gateway::sockets::AFTER_FAILURE",
        ],
    ),
];

const fn same(path: &'static str, value: u64, bound: Bound) -> Known {
    Known { path, value, bound }
}

#[expect(clippy::as_conversions, reason = "there is no other way in a constant")]
const fn wide(value: usize) -> u64 {
    value as u64
}

#[expect(clippy::as_conversions, reason = "there is no other way in a constant")]
const fn widen(value: u32) -> u64 {
    value as u64
}
