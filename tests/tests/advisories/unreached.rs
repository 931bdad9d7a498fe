//! Vulnerabilities for which there is no update yet: what holds them back is still there.

use std::path::{Path, PathBuf};

use super::{LOCKS, advisories, packages, version};

/// Why an advisory that concerns us does not reach us.
#[derive(Debug)]
struct Unreached {
    id: &'static str,
    held: Held,
}

#[derive(Debug)]
enum Held {
    /// By a test: its file, its name.
    Test(&'static str, &'static str),
    /// By sources in these folders alone naming the word.
    Only(Vec<&'static str>, &'static str),
}

fn all() -> Vec<Unreached> {
    let lines = include_str!("unreached.txt").lines();
    lines
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let columns: Vec<&str> = line.split('|').map(str::trim).collect();
            let [id, held, why] = columns.try_into().unwrap();
            assert!(!why.is_empty(), "{id}");
            let held = match held.split(' ').collect::<Vec<_>>().as_slice() {
                ["test", file, name] => Held::Test(file, name),
                ["only", folders, word] => Held::Only(folders.split(',').collect(), word),
                ["nowhere", word] => Held::Only(Vec::new(), word),
                _ => panic!("{id}: {held:?} holds nothing"),
            };
            Unreached { id, held }
        })
        .collect()
}

/// The ids of those that do not reach us.
pub(super) fn ids() -> Vec<&'static str> {
    all().into_iter().map(|unreached| unreached.id).collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Sources of every crate, by their path from the root.
fn sources() -> Vec<(String, String)> {
    let files = std::process::Command::new("git")
        .args(["ls-files", "-z", "*.rs"])
        .current_dir(root())
        .output()
        .unwrap();
    let files = String::from_utf8(files.stdout).unwrap();
    let files = files.split_terminator('\0').filter_map(|file| {
        // One that was removed and not committed yet is none.
        let text = std::fs::read_to_string(root().join(file)).ok()?;
        Some((file.to_owned(), text))
    });
    files.collect()
}

#[test]
fn e15_what_holds_a_vulnerability_back_is_there() {
    let sources = sources();
    assert!(sources.len() > 100, "{}", sources.len());
    for Unreached { id, held } in all() {
        match held {
            Held::Test(file, name) => {
                let source = sources.iter().find(|(path, _)| path == file);
                let (_, text) = source.unwrap_or_else(|| panic!("{id}: no {file}"));
                assert!(text.contains(&format!("fn {name}(")), "{id}: no {name}");
            }
            Held::Only(folders, word) => {
                for (path, text) in &sources {
                    let is_allowed = |folder: &&str| path.starts_with(&format!("{folder}/"));
                    assert!(
                        folders.iter().any(is_allowed) || !text.contains(word),
                        "{id}: {path} names {word}"
                    );
                }
            }
        }
    }
}

#[test]
fn e15_what_is_held_back_concerns_a_version_that_is_used() {
    let packages: Vec<_> = LOCKS.into_iter().flat_map(packages).collect();
    let advisories = advisories();
    for id in ids() {
        let advisory = advisories.iter().find(|advisory| advisory.id == id);
        let advisory = advisory.unwrap_or_else(|| panic!("{id} is not in known.txt"));
        let concerns = |(name, text): &(String, String)| advisory.concerns(name, version(text));
        assert!(
            packages.iter().any(concerns),
            "{id} is mended by an update: remove its line"
        );
    }
}
