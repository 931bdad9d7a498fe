//! What may be a name.

use super::script::*;

/// Names that look like something else, and are nothing but themselves.
const ODD: [&str; 22] = [
    "\u{1}",
    "\u{1f}",
    "\u{7f}",
    "\\",
    "..\\..",
    "...",
    ". .",
    " ",
    "..\u{200b}",
    "\u{2024}\u{2024}",
    "\u{2025}",
    "\u{ff0e}\u{ff0e}",
    "\u{ff0f}",
    "\u{2215}",
    "\u{202e}..",
    "%2e%2e",
    "%2f",
    "~",
    "-rf",
    "*",
    "\u{feff}",
    "a\nb",
];

/// Bytes that are no UTF-8.
const ILLEGAL: [&[u8]; 12] = [
    b"\x80",
    b"\xff",
    b"\xc0\xae\xc0\xae",
    b"\xc0\xaf",
    b"a\xc3",
    b"\xe0\x80\xae",
    b"\xed\xa0\x80",
    b"\xed\xbf\xbf",
    b"\xf0\x80\x80\xae",
    b"\xf4\x90\x80\x80",
    b"\xf8\x88\x80\x80\x80",
    b"work/\xfe",
];

#[tokio::test]
async fn a13_an_odd_name_is_nothing_but_itself() {
    let mut s = Script::new();
    for name in ODD {
        let path = format!("work/{name}");
        call!(s, NOENT, path_filestat_get(ROOT, 1, &path, BUFFER));
        s.file(4, &path, name);
        s.holds(4, &path, name);
    }
    s.open(4, "work", DIRECTORY, READ);
    s.tell_names(4);
    let ran = s.run(&work()).await;
    let mut expected = ODD.map(str::to_owned).to_vec();
    expected.sort();
    assert_eq!(names(&ran.bytes), expected);
}

/// Every call with this as its path, on either side.
fn every_call(s: &mut Script, path: &[u8], errno: i32) {
    call!(s, errno, path_open(ROOT, 1, path, CREATE, BOTH, 0, 0, OUT));
    call!(s, errno, path_create_directory(ROOT, path));
    call!(s, errno, path_remove_directory(ROOT, path));
    call!(s, errno, path_unlink_file(ROOT, path));
    call!(s, errno, path_filestat_get(ROOT, 1, path, BUFFER));
    call!(s, errno, path_filestat_set_times(ROOT, 0, path, 0, 0, 0));
    call!(s, errno, path_readlink(ROOT, path, BUFFER, 64, OUT));
    call!(s, errno, path_symlink("t", ROOT, path));
    call!(s, errno, path_link(ROOT, 0, "work/f", ROOT, path));
    call!(s, errno, path_link(ROOT, 0, path, ROOT, "work/g"));
    call!(s, errno, path_rename(ROOT, "work/f", ROOT, path));
    call!(s, errno, path_rename(ROOT, path, ROOT, "work/g"));
}

pub(crate) fn names_illegally() -> Attack {
    let mut s = Script::new();
    s.file(4, "work/f", "");
    for path in ILLEGAL {
        every_call(&mut s, path, ILSEQ);
        call!(s, ILSEQ, path_symlink(path, ROOT, "work/g"));
    }
    for path in [&b"\0"[..], b"work/f\0", b"work/\0f", b"work/f\0.txt"] {
        every_call(&mut s, path, INVAL);
        call!(s, INVAL, path_symlink(path, ROOT, "work/g"));
    }
    s.open(4, "work", DIRECTORY, READ);
    s.tell_names(4);
    (s, work())
}

#[tokio::test]
async fn a13_what_is_no_utf8_or_has_a_zero_is_no_name() {
    let (script, filesystem) = names_illegally();
    let ran = script.run(&filesystem).await;
    assert_eq!(names(&ran.bytes), ["f"]);
}

#[tokio::test]
async fn a14_names_and_paths_that_are_too_long_are_refused_at_once() {
    let mut s = Script::new();
    s.file(4, "work/f", "");
    let most = format!("work/{}", "x".repeat(255));
    s.file(4, &most, "long");
    s.holds(4, &most, "long");
    for len in [256, 4_000] {
        every_call(
            &mut s,
            format!("work/{}", "y".repeat(len)).as_bytes(),
            NAMETOOLONG,
        );
        every_call(
            &mut s,
            format!("work/{}/z", "y".repeat(len)).as_bytes(),
            NAMETOOLONG,
        );
    }
    let dots = |bytes: usize| format!("work/{}f", "./".repeat((bytes - 6) / 2));
    call!(s, OK, path_filestat_get(ROOT, 1, &dots(4_096), BUFFER));
    every_call(&mut s, dots(4_098).as_bytes(), NAMETOOLONG);
    // However long, and whatever its bytes are, it is not even looked at.
    s.spare(1 << 20);
    s.soil(70_000, 1 << 20);
    for len in [4_097, 65_536, 1 << 20] {
        let open = [ROOT, 1, 70_000, len, CREATE, BOTH, 0, 0, OUT].map(Arg::from);
        s.call(NAMETOOLONG, "path_open", &open);
        let stat = [ROOT, 1, 70_000, len, BUFFER].map(Arg::from);
        s.call(NAMETOOLONG, "path_filestat_get", &stat);
        let link = [70_000, len, ROOT, 70_000, len].map(Arg::from);
        s.call(NAMETOOLONG, "path_symlink", &link);
    }
    s.run(&work()).await;
}

#[tokio::test]
async fn a14_directories_nest_only_so_deep() {
    let filesystem = work();
    let mut s = Script::new();
    s.open(4, "work", DIRECTORY, READ);
    let (name, _) = s.text(b"d");
    // Makes a directory in the last one and opens it, again and again.
    s.code(&format!(
        "(block $end (loop $again
           (local.set $got (call $path_create_directory
             (i32.const 4) (i32.const {name}) (i32.const 1)))
           (br_if $end (local.get $got))
           (if (call $path_open (i32.const 4) (i32.const 0) (i32.const {name}) (i32.const 1)
                 (i32.const 2) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const {OUT}))
             (then unreachable))
           (if (call $fd_renumber (i32.const 5) (i32.const 4)) (then unreachable))
           (local.set $i (i32.add (local.get $i) (i32.const 1)))
           (br_if $again (i32.lt_u (local.get $i) (i32.const 100000)))))
         (call $proc_exit (i32.or (local.get $got) (i32.shl (local.get $i) (i32.const 8))))"
    ));
    let code = s.guest(&filesystem).exit_code().await;
    assert_eq!(code & 0xff, NAMETOOLONG);
    assert!(code >> 8 <= 512, "{}", code >> 8);
}
