//! What an archive may hold, and what of it is refused.

use super::*;
use crate::archive::Writer;
use crate::guards::switch_off;

fn item(path: &str, kind: Kind) -> Item {
    Item {
        path: path.to_owned(),
        kind,
        modified_unix_s: 1_700_000_000,
    }
}

fn written(items: &[(Item, &str)]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for (item, content) in items {
        writer.add(item, &mut content.as_bytes()).unwrap();
    }
    writer.finish().unwrap()
}

fn seen(bytes: &[u8]) -> Result<Vec<(Item, String)>, ReadError> {
    let mut all = Vec::new();
    read(bytes, |item, content| {
        let mut text = String::new();
        content.read_to_string(&mut text).map_err(ReadError::Tar)?;
        all.push((item, text));
        Ok::<(), ReadError>(())
    })?;
    Ok(all)
}

#[test]
fn what_is_written_is_read_again() {
    let long = format!("{}/{}", "d".repeat(200), "f".repeat(255));
    let items: Vec<(Item, &str)> = vec![
        (item("d", Kind::Directory), ""),
        (item("d/empty", Kind::File { bytes: 0 }), ""),
        (item("d/ä", Kind::File { bytes: 5 }), "heron"),
        (
            item(
                "l",
                Kind::Symlink {
                    target: "./../x//".to_owned(),
                },
            ),
            "",
        ),
        (
            item(
                "l2",
                Kind::Symlink {
                    target: "t".repeat(4096),
                },
            ),
            "",
        ),
        (
            item(
                "h",
                Kind::HardLink {
                    to: "d/ä".to_owned(),
                },
            ),
            "",
        ),
        (
            item(&long, Kind::File { bytes: 600 }),
            &"x".repeat(600).leak()[..],
        ),
        (item("99", Kind::Directory), ""),
    ];
    for exact in [99, 100, 101] {
        let name = "n".repeat(exact);
        let one = [(item(&name, Kind::Directory), "")];
        assert_eq!(seen(&written(&one)).unwrap()[0].0, one[0].0);
    }
    let read = seen(&written(&items)).unwrap();
    assert_eq!(read.len(), items.len());
    for ((expected, content), (item, text)) in items.iter().zip(&read) {
        assert_eq!((item, text.as_str()), (expected, *content));
    }
}

#[test]
fn a_file_that_shrank_is_no_archive() {
    let mut writer = Writer::new(Vec::new());
    let short = writer.add(&item("f", Kind::File { bytes: 9 }), &mut &b"four"[..]);
    assert!(short.unwrap_err().to_string().contains("became shorter"));
}

#[test]
fn an_archive_without_its_end_mark_is_cut_short() {
    let whole = written(&[(item("f", Kind::File { bytes: 5 }), "heron")]);
    for cut in [0, 1024] {
        let refused = seen(&whole[..cut]).unwrap_err();
        assert!(matches!(refused, ReadError::CutShort), "{cut}: {refused}");
    }
    for cut in [1, 511, 512, 700] {
        assert!(seen(&whole[..cut]).is_err(), "{cut}");
    }
}

/// A header as an attacker writes it, with any name and type.
fn raw(name: &[u8], kind: u8, target: &[u8], claimed: u64, content: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    let old = header.as_old_mut();
    old.name[..name.len()].copy_from_slice(name);
    old.linkname[..target.len()].copy_from_slice(target);
    old.linkflag[0] = kind;
    header.set_size(claimed);
    header.set_mtime(0);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(512) + 1024, 0);
    bytes
}

#[test]
fn a01_names_that_lead_elsewhere_are_refused() {
    for name in [
        &b"../x"[..],
        b"/etc/passwd",
        b"a/../../x",
        b"..",
        b"a/..",
        b"a//b",
        b".",
        b"./../x",
        b"\xff",
        b"",
        b"././x",
    ] {
        let refused = seen(&raw(name, b'0', b"", 0, b""));
        assert!(
            matches!(refused, Err(ReadError::Name(_))),
            "{name:?}: {refused:?}"
        );
    }
    for target in [&b"../x"[..], b"/etc/passwd", b"", b"a/../b"] {
        let refused = seen(&raw(b"h", b'1', target, 0, b""));
        assert!(
            matches!(refused, Err(ReadError::Name(_))),
            "{target:?}: {refused:?}"
        );
    }
}

#[test]
fn a_top_and_dots_as_gnu_tar_writes_them_are_taken() {
    assert_eq!(seen(&raw(b"./", b'5', b"", 0, b"")).unwrap(), vec![]);
    assert_eq!(
        seen(&raw(b"./a/", b'5', b"", 0, b"")).unwrap()[0].0.path,
        "a"
    );
}

#[test]
fn a17_special_files_are_refused_with_their_name() {
    for (kind, says) in [
        (b'3', "a device"),
        (b'4', "a device"),
        (b'6', "a FIFO"),
        (b'S', "sparse"),
        (b'V', "unknown"),
        (b'M', "unknown"),
        (b'x', "pax"),
        (b'g', "pax"),
    ] {
        let refused = seen(&raw(b"odd", kind, b"", 0, b""))
            .unwrap_err()
            .to_string();
        assert!(refused.contains(says), "{refused}");
    }
}

#[test]
fn e08_a_claimed_size_is_not_allocated() {
    let bomb = raw(b"f", b'0', b"", 1 << 40, b"few");
    let mut read_bytes = 0;
    let refused = read(&bomb[..], |item, content| {
        assert_eq!(item.kind, Kind::File { bytes: 1 << 40 });
        read_bytes = io::copy(content, &mut io::sink()).unwrap();
        Ok::<(), ReadError>(())
    });
    assert!(refused.is_err() && read_bytes < 4096, "{refused:?}");
    for kind in [b'L', b'K'] {
        let refused = seen(&raw(b"n", kind, b"", 1 << 40, &[b'n'; 8192])).unwrap_err();
        assert!(refused.to_string().contains("too long"), "{refused}");
    }
}

#[test]
fn e08_long_names_are_not_taken_twice_or_for_nothing() {
    let one = &raw(b"n", b'L', b"", 3, b"abc")[..1024];
    let twice = [one, one, &[0; 1024]].concat();
    assert!(matches!(seen(&twice), Err(ReadError::StrayName)));
    let alone = [one, &[0; 1024]].concat();
    assert!(matches!(seen(&alone), Err(ReadError::StrayName)));
}

#[test]
fn a01_without_its_guard_a_name_that_leads_elsewhere_is_handed_on() {
    for name in ["../x", "/etc/passwd", "a/../../x"] {
        let archive = raw(name.as_bytes(), b'0', b"", 0, b"");
        let all = switch_off(Guard::ArchiveNames, || seen(&archive)).unwrap();
        let found = all.first().map(|(item, _)| item.path.as_str());
        assert_eq!(found, Some(name));
    }
}

#[test]
fn a17_without_its_guard_a_device_becomes_a_file() {
    for kind in [b'3', b'4', b'6'] {
        let archive = raw(b"odd", kind, b"", 0, b"");
        let all = switch_off(Guard::ArchiveKinds, || seen(&archive)).unwrap();
        let found = all.first().map(|(item, _)| item.kind.clone());
        assert_eq!(found, Some(Kind::File { bytes: 0 }));
    }
}

/// The same numbers each time, without a crate for them.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(bound).unwrap()).unwrap()
    }
}

#[test]
fn e08_no_bytes_make_the_reader_panic_or_hand_on_a_bad_name() {
    let long = "n".repeat(200);
    let whole = written(&[
        (item("d", Kind::Directory), ""),
        (item("d/f", Kind::File { bytes: 5 }), "heron"),
        (item(&long, Kind::File { bytes: 0 }), ""),
        (item("l", Kind::Symlink { target: long }), ""),
        (
            item(
                "h",
                Kind::HardLink {
                    to: "d/f".to_owned(),
                },
            ),
            "",
        ),
    ]);
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let mut read_well = 0;
    for _ in 0..20_000 {
        let mut bytes = whole.clone();
        for _ in 0..=numbers.below(4) {
            let at = numbers.below(bytes.len());
            bytes[at] = u8::try_from(numbers.below(256)).unwrap();
            // A header whose checksum is right gets further.
            let start = at / 512 * 512;
            let block = &mut bytes[start..start + 512];
            let mut header = tar::Header::new_old();
            header.as_mut_bytes().copy_from_slice(block);
            header.set_cksum();
            block.copy_from_slice(header.as_bytes());
        }
        bytes.truncate(bytes.len() - numbers.below(2) * numbers.below(2048));
        let mut items = Vec::new();
        let result = read(&bytes[..], |item, content| {
            io::copy(content, &mut io::sink()).map_err(ReadError::Tar)?;
            items.push(item);
            Ok::<(), ReadError>(())
        });
        read_well += usize::from(result.is_ok());
        for item in items {
            assert_eq!(check_path(item.path.as_bytes()), Ok(item.path.clone()));
        }
    }
    assert!(read_well > 100, "only {read_well} were read to their end");
}
