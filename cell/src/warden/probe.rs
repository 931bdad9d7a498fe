//! Finds out what a cell will get here, by a short-lived cell that enters the jail and ends.

use std::process::Stdio;
use std::time::Duration;

use agentvm_cell_api::warden::JailLevel;
use tokio::process::Command;

use super::Settings;
use crate::control::Verdict;

/// How long a probe may take: it builds an engine and a jail.
const WITHIN: Duration = Duration::from_secs(30);

/// Why cells can't run here.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The probe could not be started.
    #[error("a cell can't be started to try the jail")]
    Start(#[from] std::io::Error),
    /// It did not end in time.
    #[error("a cell that was started to try the jail did not answer within {} s", WITHIN.as_secs())]
    TimedOut,
    /// It failed; its stderr says why.
    #[error("a cell can't run with --max-vms-per-cell {max_vms}: {why}")]
    Failed {
        /// The setting.
        max_vms: u32,
        /// What it wrote.
        why: String,
    },
    /// The kernel lacks what the setting demands.
    #[error("--require-jail is {}, but this kernel allows only {}: {message}", super::jail_flag(*required), super::jail_flag(*got))]
    TooWeak {
        /// The setting.
        required: JailLevel,
        /// What there is.
        got: JailLevel,
        /// What is missing.
        message: String,
    },
}

/// Starts a cell that only probes, and judges what it found by the settings.
pub(super) async fn probe(settings: &Settings) -> Result<Verdict, ProbeError> {
    let run = Command::new("/proc/self/exe")
        .arg0("agentvm-cell")
        .args(["cell", "--probe", "--namespace", "probe"])
        .args(["--max-vms", &settings.max_vms_per_cell.to_string()])
        .env_clear()
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(WITHIN, run)
        .await
        .map_err(|_elapsed| ProbeError::TimedOut)??;
    let verdict: Verdict = serde_json::from_slice(&output.stdout).map_err(|_nothing| {
        let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        ProbeError::Failed {
            max_vms: settings.max_vms_per_cell,
            why,
        }
    })?;
    judge(verdict, settings.require_jail)
}

fn judge(verdict: Verdict, required: JailLevel) -> Result<Verdict, ProbeError> {
    if verdict.level < required {
        return Err(ProbeError::TooWeak {
            required,
            got: verdict.level,
            message: verdict.message,
        });
    }
    if !verdict.message.is_empty() {
        tracing::warn!(level = ?verdict.level, lacks = %verdict.message, "the jail is not whole");
    }
    Ok(verdict)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jail_weaker_than_required_is_refused_in_one_sentence() {
        let verdict = |level| Verdict {
            level,
            message: "no Landlock".to_owned(),
            engine: String::new(),
        };
        let refused = judge(verdict(JailLevel::Partial), JailLevel::Full).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "--require-jail is full, but this kernel allows only partial: no Landlock"
        );
        assert!(judge(verdict(JailLevel::Partial), JailLevel::Partial).is_ok());
        assert!(judge(verdict(JailLevel::None), JailLevel::None).is_ok());
    }
}
