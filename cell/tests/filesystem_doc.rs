//! The document of files, held against the code: every number in it is the one that holds.

#![expect(clippy::expect_used, clippy::panic, reason = "a panic is the report")]

use std::path::Path;

use agentvm_policy::LimitField;
use agentvm_runtime::vfs;

fn document() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/filesystem.md");
    std::fs::read_to_string(path).expect("docs/filesystem.md")
}

/// The row of the table of limits that begins with `what`.
fn row(document: &str, what: &str) -> Vec<String> {
    let row = document
        .lines()
        .find(|line| line.starts_with(&format!("| {what}")));
    let row = row.unwrap_or_else(|| panic!("no row begins with {what:?}"));
    row.split('|').map(|cell| cell.trim().to_owned()).collect()
}

#[test]
fn every_limit_in_the_document_is_the_one_that_holds() {
    let document = document();
    for field in [
        LimitField::Storage,
        LimitField::Inodes,
        LimitField::OpenFiles,
    ] {
        let row = row(&document, &format!("`limits.{}`", field.name()));
        let default = field.default().map(|value| field.show(value));
        assert_eq!(row.get(2), default.as_ref(), "{field:?}");
        assert_eq!(row.get(3), Some(&field.show(field.max())), "{field:?}");
    }
    for (what, most) in [
        ("a name ", format!("{} bytes", vfs::MAX_NAME_BYTES)),
        ("a path;", format!("{} bytes", vfs::MAX_PATH_BYTES)),
        ("directories in each other", vfs::MAX_DEPTH.to_string()),
        ("links that one path", vfs::MAX_SYMLINKS.to_string()),
        ("names of one file", vfs::MAX_LINKS.to_string()),
        ("mounts ", vfs::MAX_MOUNTS.to_string()),
    ] {
        assert_eq!(row(&document, what).get(3), Some(&most), "{what}");
    }
}
