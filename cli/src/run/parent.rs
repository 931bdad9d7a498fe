//! Ties a process that `run` started to the one that started it.

use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

/// Names the process whose end is the child's end.
pub(super) const PARENT: &str = "AGENTVM_PARENT_PID";

/// In a child of `agentvm run`: ends with its parent, even where that is killed. Does nothing
/// elsewhere.
pub(crate) fn tie_to_parent() -> std::io::Result<()> {
    let Some(named) = std::env::var(PARENT)
        .ok()
        .and_then(|text| text.parse().ok())
        .and_then(Pid::from_raw)
    else {
        return Ok(());
    };
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // It may have ended before the line above.
    if getppid() == Some(named) {
        Ok(())
    } else {
        Err(std::io::Error::other(
            "the agentvm that started this process has ended",
        ))
    }
}
