//! Listing goes on where it stopped, whatever changes meanwhile.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use agentvm_vfs::{Error, Follow, Kind, Node, Open};

use crate::seen::{empty, mounted, names, write};

/// The next entries behind a cookie, with their cookies.
fn page(node: &Node, cookie: u64, most: usize) -> Vec<(String, u64)> {
    let mut page = Vec::new();
    node.read_dir(cookie, &mut |entry| {
        page.push((entry.name.to_owned(), entry.next));
        if page.len() < most {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })
    .unwrap();
    page
}

#[test]
fn a20_a_cookie_beyond_the_end_tells_nothing() {
    let filesystem = mounted(&[empty("/")]);
    let root = filesystem.root();
    for number in 0..100 {
        write(&root, &format!("f{number}"), "");
    }
    let all = page(&root, 0, usize::MAX);
    let (_, end) = all.last().unwrap();
    assert_eq!(all.len(), 102);
    for cookie in [
        *end,
        end + 1,
        1 << 31,
        u64::from(u32::MAX),
        1 << 32,
        1 << 63,
        u64::MAX - 1,
        u64::MAX,
    ] {
        assert_eq!(page(&root, cookie, 10), [], "{cookie}");
    }
    // Any other number is behind some name, and never told twice.
    let mut cookie = 1;
    while cookie < *end {
        let rest = page(&root, cookie, usize::MAX);
        assert!(all.ends_with(&rest), "{cookie}");
        cookie = cookie * 3 / 2 + 1;
    }
    // A guest's `telldir` has 31 bits.
    assert!(*end < 1 << 31);
}

#[test]
fn a20_each_entry_is_told_once_in_pages_of_any_size() {
    let filesystem = mounted(&[empty("/")]);
    let root = filesystem.root();
    for number in 0..1_000 {
        write(&root, &format!("f{number}"), "");
    }
    for size in [1, 2, 3, 7, 100, 5_000] {
        let (mut told, mut cookie) = (Vec::new(), 0);
        loop {
            let page = page(&root, cookie, size);
            let Some((_, last)) = page.last() else { break };
            cookie = *last;
            told.extend(page.into_iter().map(|(name, _)| name));
        }
        assert_eq!(told.first().map(String::as_str), Some("."));
        assert_eq!(told.get(1).map(String::as_str), Some(".."));
        told.sort();
        assert_eq!(told, names(&root));
    }
}

#[test]
fn a20_a_directory_of_any_size_is_told_entry_by_entry_while_it_grows_and_shrinks() {
    let filesystem = mounted(&[empty("/")]);
    let root = filesystem.root();
    let check = |count: usize| {
        let (mut told, mut cookie) = (0, 0);
        while let Some((_, next)) = page(&root, cookie, 1).first() {
            assert!(*next > cookie);
            cookie = *next;
            told += 1;
        }
        assert_eq!(told, count + 2);
    };
    for count in 0..40 {
        check(count);
        write(&root, &format!("f{count}"), "");
    }
    for count in (0..40).rev() {
        root.unlink(&format!("f{count}"), 0).unwrap();
        check(count);
    }
}

#[test]
fn a20_what_stays_is_told_once_while_others_come_and_go() {
    let filesystem = mounted(&[empty("/")]);
    let root = filesystem.root();
    for number in 0..300 {
        write(&root, &format!("stays{number}"), "");
        write(&root, &format!("goes{number}"), "");
    }
    let (mut told, mut cookie) = (BTreeMap::<String, u32>::new(), 0);
    for round in 0.. {
        let page = page(&root, cookie, 5);
        let Some((_, last)) = page.last() else { break };
        cookie = *last;
        for (name, _) in page {
            *told.entry(name).or_default() += 1;
        }
        for _ in 0..3 {
            write(&root, &format!("new{round}"), "");
            let _ = root.unlink(&format!("goes{}", round * 7 % 300), 0);
            let _ = root.rename(&format!("new{round}"), &root, &format!("newer{round}"), 0);
        }
        assert!(round < 2_000, "the listing does not end");
    }
    for number in 0..300 {
        assert_eq!(told.get(&format!("stays{number}")), Some(&1), "{number}");
    }
    assert_eq!(filesystem.faults(), Vec::<String>::new());
}

#[test]
fn removing_what_was_told_page_by_page_empties_a_directory() {
    let filesystem = mounted(&[empty("/")]);
    let root = filesystem.root();
    root.create_directory("d", 0).unwrap();
    for number in 0..3_000 {
        write(&root, &format!("d/f{number}"), "");
    }
    let directory = root.open("d", Follow::No, Open::default(), 0).unwrap();
    let mut cookie = 0;
    loop {
        let page = page(&directory, cookie, 64);
        let Some((_, last)) = page.last() else { break };
        cookie = *last;
        for (name, _) in page.iter().filter(|(name, _)| name != "." && name != "..") {
            directory.unlink(name, 0).unwrap();
        }
    }
    root.remove_directory("d", 0).unwrap();
    // What is removed and still open tells nothing, and takes nothing.
    assert_eq!(page(&directory, 0, 10), []);
    assert_eq!(directory.create_directory("x", 0), Err(Error::NoEntry));
    assert_eq!(directory.metadata().links, 0);
    drop(directory);
    assert_eq!(filesystem.usage().bytes, 0);
}

#[test]
fn an_entry_tells_kind_and_inode_of_what_it_names() {
    let filesystem = mounted(&[empty("/"), empty("/m")]);
    let root = filesystem.root();
    write(&root, "f", "");
    root.symlink("f", "l", 0).unwrap();
    let mut told = Vec::new();
    root.read_dir(2, &mut |entry| {
        told.push((entry.name.to_owned(), entry.kind, entry.inode));
        ControlFlow::Continue(())
    })
    .unwrap();
    told.sort();
    let inode = |path| root.metadata_of(path, Follow::No).unwrap().inode;
    let expected = [
        ("f".to_owned(), Kind::File, inode("f")),
        ("l".to_owned(), Kind::Symlink, inode("l")),
        ("m".to_owned(), Kind::Directory, inode("m")),
    ];
    assert_eq!(told, expected);
    let file = root.open("f", Follow::No, Open::default(), 0).unwrap();
    let listed = file.read_dir(0, &mut |_| ControlFlow::Continue(()));
    assert_eq!(listed, Err(Error::NotDirectory));
}

#[test]
fn b03_listing_counts_a_step_for_each_entry() {
    let filesystem = mounted(&[empty("/")]);
    let root = filesystem.root();
    for number in 0..10_000 {
        write(&root, &number.to_string(), "");
    }
    filesystem.take_work();
    let told = page(&root, 0, usize::MAX).len();
    assert_eq!(told, 10_002);
    let work = filesystem.take_work();
    assert!((10_000..10_100).contains(&work), "{work}");
    page(&root, 0, 10);
    assert!(filesystem.take_work() < 20);
}
