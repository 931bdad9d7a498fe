//! Writes the table as `docs/limits.md`.

use std::fmt::Write;

use super::{SECTIONS, Section, at_limit};
use crate::LimitField;

const HEAD: &str = "\
# Limits

Every bound on what a program, or whoever brings one, makes a node do. This file is written from
`policy/src/budget`, where the code takes its numbers from:
`AGENTVM_UPDATE=1 cargo test -p agentvm-policy --test budget`.

## What a manifest sets

Under `spec.limits`, see [the API](api.md); an AgentPolicy sets other defaults and lower maxima.
Above 80 % of a limit the VM's condition `LimitsPressure` names it. A program that ends because of one
says so in `status.exit`: the reason, whose doing it is, and which field to raise.
[An example](../examples/limits.yaml) sets all of them.

| field | default | least | most | at the limit the program sees | end | metric |
| --- | --- | --- | --- | --- | --- | --- |
";

const FIXED: &str = "
Those below are the same for every VM. Where a flag of the node's warden changes one, it says so.
";

/// `docs/limits.md`.
pub fn document() -> String {
    let mut text = HEAD.to_owned();
    for field in LimitField::ALL {
        text.push_str(&settable(field));
    }
    text.push_str(FIXED);
    for section in SECTIONS {
        text.push_str(&fixed(section));
    }
    text
}

fn settable(field: LimitField) -> String {
    let seen = at_limit(field);
    let default = field
        .default()
        .map_or_else(|| "unlimited".to_owned(), |value| code(&field.show(value)));
    let end = seen
        .end
        .map_or_else(|| "goes on".to_owned(), |end| code(end.as_str()));
    format!(
        "| `{}` | {default} | `{}` | `{}` | {} | {end} | `{}` |\n",
        field.path(),
        field.show(field.min()),
        field.show(field.max()),
        seen.guest,
        seen.series,
    )
}

fn fixed(section: &Section) -> String {
    let mut text = format!(
        "\n## {}\n\n| what | bound | at the bound |\n| --- | --- | --- |\n",
        section.title
    );
    for bound in section.bounds {
        // Writing to a String does not fail.
        let _written = writeln!(
            text,
            "| {} | `{}` | {} |",
            bound.what,
            bound.show(),
            bound.seen
        );
    }
    text
}

fn code(text: &str) -> String {
    format!("`{text}`")
}
