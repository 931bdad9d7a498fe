//! Runs a program as on a kernel without Landlock: its system calls are not implemented.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::Context as _;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

/// `landlock_create_ruleset`, `landlock_add_rule`, `landlock_restrict_self`: the same on every
/// architecture.
const LANDLOCK: [i64; 3] = [444, 445, 446];
/// What a kernel answers to a system call that it does not know.
const ENOSYS: u32 = 38;

fn main() -> anyhow::Result<()> {
    let mut words = std::env::args_os().skip(1);
    let program = words
        .next()
        .context("usage: without-landlock PROGRAM ARGS")?;
    let filter = SeccompFilter::new(
        BTreeMap::from(LANDLOCK.map(|call| (call, Vec::new()))),
        SeccompAction::Allow,
        SeccompAction::Errno(ENOSYS),
        std::env::consts::ARCH.try_into()?,
    )?;
    seccompiler::apply_filter(&BpfProgram::try_from(filter)?)?;
    let failed = Command::new(&program).args(words).exec();
    Err(failed).with_context(|| format!("{} can't be started", program.display()))
}
