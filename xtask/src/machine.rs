//! What the machine must have: which programs are there, and installing those that are not.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use crate::step;

/// A program that a chore calls, and where it comes from.
#[derive(Debug)]
pub(crate) struct Tool {
    /// The file's name.
    pub(crate) program: &'static str,
    /// What it is for, in a few words.
    pub(crate) purpose: &'static str,
    /// Where it comes from.
    pub(crate) source: Source,
}

/// Where a program comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    /// A Debian package: `apt-get install` gets it.
    Debian(&'static str),
    /// A page that says how to get it; we do not install it.
    Page(&'static str),
}

/// Go, for the control plane and the guests of examples and tests.
pub(crate) const GO: Tool = Tool {
    program: "go",
    purpose: "guests and the control plane",
    source: Source::Page("https://go.dev/doc/install"),
};

/// Installs what is missing of `tools`, where that takes no more than `apt-get` as root.
///
/// # Errors
/// Where something is missing that we cannot install: the error lists all of it and says how.
pub(crate) fn provide(tools: &[Tool]) -> anyhow::Result<()> {
    let missing = missing(tools);
    let packages = packages(&missing);
    if missing.is_empty() {
        return Ok(());
    }
    let by_hand = missing
        .iter()
        .any(|tool| matches!(tool.source, Source::Page(_)));
    anyhow::ensure!(
        !by_hand && is_root() && find("apt-get").is_some(),
        "{}",
        report(&missing)
    );
    step::run(
        "refreshing the package lists (apt-get update)",
        Command::new("apt-get").args(["-q", "update"]),
    )?;
    step::run(
        &format!("installing {} (apt-get install)", packages.join(" ")),
        Command::new("apt-get")
            .args(["-q", "install", "--yes", "--no-install-recommends"])
            .args(&packages)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(std::process::Stdio::null()),
    )?;
    let missing = self::missing(tools);
    anyhow::ensure!(
        missing.is_empty(),
        "still missing after apt-get:\n{}",
        report(&missing)
    );
    Ok(())
}

fn missing(tools: &[Tool]) -> Vec<&Tool> {
    tools
        .iter()
        .filter(|tool| find(tool.program).is_none())
        .collect()
}

fn packages(tools: &[&Tool]) -> Vec<&'static str> {
    let packages: BTreeSet<_> = tools
        .iter()
        .filter_map(|tool| match tool.source {
            Source::Debian(package) => Some(package),
            Source::Page(_) => None,
        })
        .collect();
    packages.into_iter().collect()
}

/// Says what is missing and how to get it.
fn report(missing: &[&Tool]) -> String {
    let mut lines = vec!["this machine lacks:".to_owned()];
    for tool in missing {
        let source = match tool.source {
            Source::Debian(package) => format!("Debian package {package}"),
            Source::Page(page) => page.to_owned(),
        };
        lines.push(format!("  {} ({}): {source}", tool.program, tool.purpose));
    }
    let packages = packages(missing);
    if !packages.is_empty() {
        lines.push(format!(
            "as root: apt-get install --no-install-recommends {}",
            packages.join(" ")
        ));
    }
    lines.join("\n")
}

/// The path of `program`. Daemons live in `sbin`, which is not in everybody's `PATH`.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let sbin = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(sbin)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOWHERE: Tool = Tool {
        program: "no-such-program",
        purpose: "nothing",
        source: Source::Debian("no-such-package"),
    };

    #[test]
    fn report_names_program_purpose_and_the_command_that_installs_it() {
        let text = report(
            &missing(&[NOWHERE, GO])
                .into_iter()
                .filter(|tool| tool.program != "go")
                .collect::<Vec<_>>(),
        );
        assert!(
            text.contains("no-such-program (nothing): Debian package no-such-package"),
            "{text}"
        );
        assert!(
            text.contains("apt-get install --no-install-recommends no-such-package"),
            "{text}"
        );
    }

    #[test]
    fn program_that_is_there_is_not_missing() {
        let shell = Tool {
            program: "sh",
            ..NOWHERE
        };
        assert!(missing(&[shell]).is_empty());
    }
}
