//! The interfaces that the component imports, in the text format of components.

use std::fmt::Write as _;

/// Where a lowered function comes from.
struct Lowered<'a> {
    name: &'a str,
    instance: &'a str,
    export: &'a str,
    /// Whether the host allocates in the guest for its result.
    allocates: bool,
}

/// The methods of descriptors; those that are marked answer with a list or text.
const METHODS: &[(&str, bool)] = &[
    ("read-via-stream", false),
    ("write-via-stream", false),
    ("append-via-stream", false),
    ("advise", false),
    ("sync-data", false),
    ("get-flags", false),
    ("get-type", false),
    ("set-size", false),
    ("set-times", false),
    ("read", true),
    ("write", false),
    ("read-directory", false),
    ("sync", false),
    ("create-directory-at", false),
    ("stat", false),
    ("stat-at", false),
    ("set-times-at", false),
    ("link-at", false),
    ("open-at", false),
    ("readlink-at", true),
    ("remove-directory-at", false),
    ("rename-at", false),
    ("symlink-at", false),
    ("unlink-file-at", false),
    ("is-same-object", false),
    ("metadata-hash", false),
    ("metadata-hash-at", false),
];

/// What else is lowered: its name here, its instance, its name there, and whether it allocates.
const OTHERS: &[(&str, &str, &str, bool)] = &[
    ("get-directories", "preopens", "get-directories", true),
    (
        "read-directory-entry",
        "types",
        "[method]directory-entry-stream.read-directory-entry",
        true,
    ),
    (
        "filesystem-error-code",
        "types",
        "filesystem-error-code",
        false,
    ),
    (
        "to-debug-string",
        "error",
        "[method]error.to-debug-string",
        true,
    ),
    ("in-read", "streams", "[method]input-stream.read", true),
    ("in-skip", "streams", "[method]input-stream.skip", false),
    (
        "check-write",
        "streams",
        "[method]output-stream.check-write",
        false,
    ),
    ("out-write", "streams", "[method]output-stream.write", false),
    (
        "write-zeroes",
        "streams",
        "[method]output-stream.write-zeroes",
        false,
    ),
    ("flush", "streams", "[method]output-stream.flush", false),
    ("get-stdout", "stdout", "get-stdout", false),
    ("get-arguments", "environment", "get-arguments", true),
];

/// What is dropped: its name here and its type.
const DROPS: &[(&str, &str)] = &[
    ("drop-descriptor", "descriptor"),
    ("drop-listing", "listing"),
    ("drop-in", "in"),
    ("drop-out", "out"),
    ("drop-error", "error"),
];

/// The definitions of all core functions that scripts can call.
pub(super) fn lowered() -> String {
    let mut text = String::new();
    for &(name, allocates) in METHODS {
        text += &lower(&Lowered {
            name,
            instance: "types",
            export: &format!("[method]descriptor.{name}"),
            allocates,
        });
    }
    for &(name, instance, export, allocates) in OTHERS {
        text += &lower(&Lowered {
            name,
            instance,
            export,
            allocates,
        });
    }
    for (name, ty) in DROPS {
        // A String takes everything.
        let _ = write!(text, "(core func ${name} (canon resource.drop ${ty}))");
    }
    text
}

fn lower(function: &Lowered<'_>) -> String {
    let Lowered {
        name,
        instance,
        export,
        allocates,
    } = function;
    let realloc = if *allocates { "(realloc $realloc)" } else { "" };
    format!(
        "(core func ${name} (canon lower (func ${instance} {export:?}) (memory $memory) {realloc}))"
    )
}

/// The imports, as WASI 0.2.0 has them.
pub(super) const IMPORTS: &str = include_str!("types.wat");
