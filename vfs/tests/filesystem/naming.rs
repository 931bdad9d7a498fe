//! Which names there can be, how long they are, and how deep they nest.

use agentvm_vfs::{Error, Follow, MAX_DEPTH, MAX_NAME_BYTES, MAX_PATH_BYTES, Open};

use crate::seen::{READ, WRITE, empty, mounted, names, snapshot, write};

/// Names that look like something else, each with what it must never be taken for.
fn strange() -> Vec<String> {
    let mut strange: Vec<String> = (1..0x20_u8)
        .chain([0x7f])
        .map(|byte| char::from(byte).to_string())
        .collect();
    for name in [
        "\\",
        "..\\",
        "\\..",
        "C:\\x",
        "%2e%2e",
        "%c0%ae",
        "%2f",
        "...",
        ".. ",
        " ..",
        ".\u{200b}.",
        "\u{2024}\u{2024}",
        "\u{2025}",
        "\u{ff0e}\u{ff0e}",
        "\u{2024}",
        "a\u{ff0f}b",
        "a\u{2215}b",
        "\u{202e}fdp.exe",
        "\u{feff}",
        "\u{0301}",
        "e\u{0301}",
        "\u{e9}",
        "\u{10ffff}",
        "\u{fffd}",
        "..\u{0}".trim_end_matches('\0').get(..1).unwrap_or("x"),
        "*",
        "?",
        "~",
        "$HOME",
        "-rf",
        "\"",
        "'",
        "|",
        ";",
        "CON",
        "nul",
        "a:b",
        "\r\n",
        "\u{85}",
        "\u{2028}",
    ] {
        if name != "." {
            strange.push(name.to_owned());
        }
    }
    strange
}

#[test]
fn a13_a_strange_name_is_itself_and_nothing_else() {
    let filesystem = mounted(&[empty("/")]);
    let root = filesystem.root();
    root.create_directory("d", 0).unwrap();
    let base = root.open("d", Follow::No, Open::default(), 0).unwrap();
    let strange = strange();
    assert!(strange.len() >= 70);
    for (number, name) in strange.iter().enumerate() {
        assert_eq!(
            base.metadata_of(name, Follow::No).err(),
            Some(Error::NoEntry),
            "{name:?}"
        );
        write(&base, name, &number.to_string());
    }
    for (number, name) in strange.iter().enumerate() {
        assert_eq!(
            crate::seen::read(&base, name),
            number.to_string(),
            "{name:?}"
        );
    }
    let mut expected = strange.clone();
    expected.extend([".".to_owned(), "..".to_owned()]);
    expected.sort();
    assert_eq!(names(&base), expected);
    assert_eq!(names(&root), [".", "..", "d"]);
}

#[test]
fn a13_a_nul_is_refused_wherever_it_stands() {
    let filesystem = mounted(&[empty("/")]);
    let root = filesystem.root();
    write(&root, "f", "f");
    let before = snapshot(&root);
    let invalid = Err(Error::Invalid);
    for path in ["\0", "f\0", "\0f", "f\0/x", "x/\0", "..\0", "f\0.txt"] {
        assert_eq!(
            root.open(path, Follow::Yes, WRITE, 0).err(),
            Some(Error::Invalid),
            "{path:?}"
        );
        assert_eq!(root.create_directory(path, 0), invalid);
        assert_eq!(root.unlink(path, 0), invalid);
        assert_eq!(root.remove_directory(path, 0), invalid);
        assert_eq!(root.rename("f", &root, path, 0), invalid);
        assert_eq!(root.rename(path, &root, "g", 0), invalid);
        assert_eq!(root.link("f", Follow::No, &root, path, 0), invalid);
        assert_eq!(root.symlink("f", path, 0), invalid);
        assert_eq!(root.symlink(path, "new", 0), invalid);
    }
    assert_eq!(snapshot(&root), before);
}

#[test]
fn a14_names_and_paths_have_their_longest() {
    let filesystem = mounted(&[empty("/")]);
    let root = filesystem.root();
    let longest = "n".repeat(MAX_NAME_BYTES);
    write(&root, &longest, "x");
    // Bytes count, not characters.
    write(&root, &"\u{e9}".repeat(127), "x");
    let too_long = Some(Error::NameTooLong);
    for length in [256, 4_096, 65_536, 1 << 20] {
        let name = "n".repeat(length);
        assert_eq!(
            root.open(&name, Follow::Yes, WRITE, 0).err(),
            too_long,
            "{length}"
        );
        assert_eq!(root.create_directory(&name, 0).err(), too_long);
        assert_eq!(root.rename(&longest, &root, &name, 0).err(), too_long);
        assert_eq!(
            root.link(&longest, Follow::No, &root, &name, 0).err(),
            too_long
        );
        assert_eq!(root.symlink("x", &name, 0).err(), too_long);
        assert_eq!(root.metadata_of(&name, Follow::Yes).err(), too_long);
        assert_eq!(
            root.metadata_of(&format!("{name}/x"), Follow::Yes).err(),
            too_long
        );
    }
    assert_eq!(
        root.open(&"\u{e9}".repeat(128), Follow::Yes, WRITE, 0)
            .err(),
        too_long
    );
    let path = "./".repeat(MAX_PATH_BYTES / 2 - 1);
    assert!(root.metadata_of(&format!("{path}.."), Follow::Yes).is_err());
    assert!(root.metadata_of(&format!("{path}/."), Follow::Yes).is_ok());
    assert_eq!(
        root.metadata_of(&format!("{path}/./"), Follow::Yes).err(),
        too_long
    );
    assert_eq!(
        root.symlink(&"x".repeat(MAX_PATH_BYTES + 1), "l", 0).err(),
        too_long
    );
    root.symlink(&"x".repeat(MAX_PATH_BYTES), "l", 0).unwrap();
    assert_eq!(filesystem.faults(), Vec::<String>::new());
}

#[test]
fn a14_directories_nest_so_deep_and_no_deeper() {
    let filesystem = mounted(&[empty("/w")]);
    let mut at = filesystem.root().open("w", Follow::No, READ, 0).unwrap();
    for _ in 1..MAX_DEPTH {
        at.create_directory("d", 0).unwrap();
        at = at.open("d", Follow::No, READ, 0).unwrap();
    }
    assert_eq!(at.create_directory("d", 0), Err(Error::NameTooLong));
    write(&at, "f", "a file may be at the deepest place");
    // Nor by moving what is deep itself.
    let root = filesystem.root();
    for path in ["w/x", "w/x/y", "w/x/z", "w/x/z/q"] {
        root.create_directory(path, 0).unwrap();
    }
    let near = "w/".to_owned() + &"d/".repeat(MAX_DEPTH - 4);
    let before = snapshot(&root.open("w/x", Follow::No, READ, 0).unwrap());
    let deep = root.open(&near, Follow::No, READ, 0).unwrap();
    assert_eq!(root.rename("w/x", &deep, "moved/", 0).err(), None);
    root.rename("w/x", &deep, "x", 0).unwrap_err();
    deep.rename("moved", &root, "w/x", 0).unwrap();
    assert_eq!(
        snapshot(&root.open("w/x", Follow::No, READ, 0).unwrap()),
        before
    );
    let deeper = deep.open("d", Follow::No, READ, 0).unwrap();
    assert_eq!(
        root.rename("w/x", &deeper, "moved", 0),
        Err(Error::NameTooLong)
    );
    assert_eq!(
        snapshot(&root.open("w/x", Follow::No, READ, 0).unwrap()),
        before
    );
    assert_eq!(filesystem.faults(), Vec::<String>::new());
}

#[test]
fn b06_what_is_deepest_and_widest_is_dropped_on_a_small_stack() {
    let thread = std::thread::Builder::new().stack_size(64 << 10);
    let dropped = thread.spawn(|| {
        let filesystem = mounted(&[empty("/")]);
        let mut at = filesystem.root();
        for _ in 0..MAX_DEPTH {
            at.create_directory("d", 0).unwrap();
            at = at.open("d", Follow::No, READ, 0).unwrap();
        }
        for number in 0..10_000 {
            write(&at, &number.to_string(), "x");
        }
        let root = filesystem.root();
        root.create_directory("e", 0).unwrap();
        assert_eq!(root.rename("d", &root, "e/d", 0), Err(Error::NameTooLong));
        assert_eq!(filesystem.faults(), Vec::<String>::new());
        drop((at, root, filesystem));
    });
    dropped.unwrap().join().unwrap();
}
