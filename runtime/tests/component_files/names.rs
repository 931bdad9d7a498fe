//! Names that are odd, hostile or too long.

use agentvm_fuzz_driver::preview2::calls::FOLLOW;

use crate::vm::{Calls, filesystem, names};

#[test]
fn a13_odd_names_are_literal_and_never_dots_or_slashes() {
    let odd = [
        "\u{1}",
        "\u{1f}",
        "\u{7f}",
        "a\\b",
        "..\\x",
        "%2e%2e",
        "\u{2024}\u{2024}",
        "\u{2025}",
        "\u{ff0e}\u{ff0e}",
        "a\u{ff0f}b",
        "\u{202e}txt",
        "...",
        ".. ",
        " ",
        "a\nb",
        "c:",
        "nul",
        "\u{0}",
    ];
    let filesystem = filesystem();
    let mut calls = Calls::new();
    let made: Vec<_> = odd
        .iter()
        .map(|name| calls.at("create-directory-at", &format!("work/{name}")))
        .collect();
    let memory = calls.run_on(&filesystem);
    let (nul, literal) = made.split_last().unwrap();
    for (name, &reply) in odd.iter().zip(literal) {
        assert_eq!(memory.code(reply), "ok", "{name:?}");
    }
    assert_ne!(memory.code(*nul), "ok");
    let listed = names(&filesystem, "work");
    let mut expected: Vec<String> = odd[..odd.len() - 1]
        .iter()
        .map(ToString::to_string)
        .collect();
    expected.extend(["deep".to_owned(), "frozen".to_owned()]);
    expected.sort();
    assert_eq!(listed, expected);
}

#[test]
fn a14_names_and_paths_that_are_too_long_are_refused() {
    let mut calls = Calls::new();
    let root = calls.root;
    let name = |bytes| format!("work/{}", "n".repeat(bytes));
    let fits = calls.at("create-directory-at", &name(255));
    let over = [256, 4_096, 60_000].map(|bytes| calls.at("create-directory-at", &name(bytes)));
    let path = format!("work/{}", "./".repeat(2_046));
    let long = calls.script.stat_at(root, FOLLOW, &path);
    let target = calls.script.symlink_at(root, &"t".repeat(4_097), "work/l");
    let memory = calls.run();
    assert_eq!(memory.code(fits), "ok");
    assert_eq!(over.map(|reply| memory.code(reply)), ["name-too-long"; 3]);
    assert_eq!(memory.code(long), "name-too-long");
    assert_eq!(memory.code(target), "name-too-long");
}

#[test]
fn a14_an_empty_path_names_nothing() {
    let mut calls = Calls::new();
    let root = calls.root;
    let replies = [
        calls.open("", 0, 1),
        calls.at("create-directory-at", ""),
        calls.script.stat_at(root, FOLLOW, ""),
        calls.script.symlink_at(root, "", "work/l"),
        calls.script.symlink_at(root, "x", ""),
    ];
    let memory = calls.run();
    assert_eq!(replies.map(|reply| memory.code(reply)), ["no-entry"; 5]);
}
