//! The only module that writes to the terminal.
//!
//! A reader that goes away (`agentvm validate ... | head -1`) is no error of ours, so a
//! failed write is dropped.

use std::io::Write as _;

use clap::ValueEnum;
use serde::Serialize;

/// How an answer is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Lines for a person.
    #[default]
    Text,
    /// One JSON document for a program.
    Json,
}

/// The flag that every answering subcommand shares.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Output {
    /// How the answer is printed: lines for a person, or one JSON document.
    #[arg(
        short = 'o',
        long = "output",
        value_name = "FORMAT",
        env = "AGENTVM_OUTPUT",
        value_enum,
        default_value_t
    )]
    format: Format,
}

/// Prints `answer` as `output` asks; `text` is called for a person only.
pub(crate) fn answer<T: Serialize>(
    output: Output,
    answer: &T,
    text: impl FnOnce(&T) -> String,
) -> anyhow::Result<()> {
    let shown = match output.format {
        Format::Text => text(answer),
        Format::Json => serde_json::to_string_pretty(answer)?,
    };
    out(&shown);
    Ok(())
}

/// Writes `text` to stdout, with a newline at its end.
pub(crate) fn out(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = writeln!(stdout, "{}", text.trim_end_matches('\n')).and_then(|()| stdout.flush());
}

/// Writes `error` and what caused it to stderr, as one sentence.
pub(crate) fn error(error: &anyhow::Error) {
    let _ = writeln!(std::io::stderr().lock(), "error: {error:#}");
}

/// Writes a guest's very bytes to stdout, or to stderr.
pub(crate) fn guest(to_stderr: bool, bytes: &[u8]) {
    if to_stderr {
        let _ = std::io::stderr().lock().write_all(bytes);
    } else {
        let mut stdout = std::io::stdout().lock();
        let _ = stdout.write_all(bytes).and_then(|()| stdout.flush());
    }
}

/// Writes one line to stderr.
pub(crate) fn note(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Writes one line to stderr where a person reads it: a program gets one document at the end.
pub(crate) fn remark(output: Output, line: &str) {
    match output.format {
        Format::Text => note(line),
        Format::Json => {}
    }
}

/// Writes the last word of a run, whose stdout is its guest's, to stderr.
pub(crate) fn final_answer<T: Serialize>(
    output: Output,
    answer: &T,
    lines: impl FnOnce() -> Vec<String>,
) -> anyhow::Result<()> {
    match output.format {
        Format::Text => lines().iter().for_each(|line| note(line)),
        Format::Json => note(&serde_json::to_string_pretty(answer)?),
    }
    Ok(())
}
