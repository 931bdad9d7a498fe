//! Resident memory of a process, as the kernel counts it.

use std::fs;

use anyhow::{Context, Result};

/// Resident MiB of process `pid`.
pub(crate) fn resident_mib(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib: f64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.split_whitespace().next())
        .context("a process has VmRSS")?
        .parse()?;
    Ok(kib / 1024.0)
}
