//! Who goes first where the kernel runs out of memory before the warden has acted.
//!
//! Only where it ends single processes: Kubernetes has it end the whole container since 1.28, unless
//! the kubelet's `singleProcessOOMKill` says otherwise.

/// How much sooner than the warden a cell goes, in thousandths of all memory.
const CELL_SOONER: i32 = 500;

/// The soonest of all.
const FIRST: i32 = 1000;

/// Has a cell go before the warden.
pub(super) fn cell_goes_sooner(pid: u32) {
    let own = std::fs::read_to_string("/proc/self/oom_score_adj").unwrap_or_default();
    set(pid, sooner(own.trim().parse().unwrap_or(0)));
}

/// Has a compiler go before every cell.
pub(super) fn compiler_goes_first(pid: u32) {
    set(pid, FIRST);
}

fn sooner(own: i32) -> i32 {
    own.saturating_add(CELL_SOONER).min(FIRST)
}

fn set(pid: u32, score: i32) {
    // One that is gone, or jailed already, goes when the kernel says.
    let written = std::fs::write(format!("/proc/{pid}/oom_score_adj"), score.to_string());
    if let Err(error) = written {
        tracing::debug!(pid, %error, "the kernel does not learn who goes first");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_goes_before_the_warden_wherever_the_warden_is() {
        for (own, cell) in [(-997, -497), (0, 500), (900, 1000), (1000, 1000)] {
            assert_eq!(sooner(own), cell);
        }
    }
}
