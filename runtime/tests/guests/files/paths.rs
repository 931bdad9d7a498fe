//! Where paths lead: names, dots and slashes in every position.

use super::script::*;

/// A tree to walk in: `work/a/b/f`, `work/a/l -> b`, `work/g`.
fn tree() -> Script {
    let mut s = Script::new();
    call!(s, OK, path_create_directory(ROOT, "work/a"));
    call!(s, OK, path_create_directory(ROOT, "work/a/b"));
    s.file(4, "work/a/b/f", "f");
    s.file(4, "work/g", "g");
    call!(s, OK, path_symlink("b", ROOT, "work/a/l"));
    s
}

pub(crate) fn walks_everywhere() -> Attack {
    let mut s = tree();
    for (path, errno) in [
        (".", OK),
        ("./", OK),
        ("./.", OK),
        ("work//a///b/f", OK),
        ("work/./a/./b/../b/f", OK),
        ("work/a/../g", OK),
        ("work/a/l/f", OK),
        ("work/a/l/../b", OK),
        ("work/..", OK),
        ("work/../work/g", OK),
        ("work/a/b/../../../work", OK),
        ("", NOENT),
        ("work/g/", NOTDIR),
        ("work/g/.", NOTDIR),
        ("work/g/..", NOTDIR),
        ("work/missing/../g", NOENT),
        ("..", PERM),
        ("../", PERM),
        ("./..", PERM),
        ("../work", PERM),
        ("work/../..", PERM),
        ("work/a/../../../work/g", PERM),
        ("work/a/l/../../../../etc/passwd", PERM),
        ("/", PERM),
        ("//", PERM),
        ("/work/g", PERM),
        ("//work/g", PERM),
        ("/../work/g", PERM),
    ] {
        call!(s, errno, path_filestat_get(ROOT, 1, path, BUFFER));
        let opened = call_open(&mut s, path, errno);
        if opened {
            call!(s, OK, fd_close(4));
        }
    }
    let many = "../".repeat(1_365);
    call!(s, PERM, path_filestat_get(ROOT, 1, &many, BUFFER));
    call!(
        s,
        NAMETOOLONG,
        path_filestat_get(ROOT, 1, &"../".repeat(5_000), BUFFER)
    );
    (s, work())
}

#[tokio::test]
async fn a01_dots_and_slashes_lead_where_they_do_on_linux_and_never_out() {
    let (script, filesystem) = walks_everywhere();
    script.run(&filesystem).await;
}

fn call_open(s: &mut Script, path: &str, errno: i32) -> bool {
    call!(s, errno, path_open(ROOT, 1, path, 0, READ, 0, 0, OUT));
    errno == OK
}

pub(crate) fn leads_out_by_dots() -> Attack {
    let mut s = tree();
    s.open(4, "work/a", DIRECTORY, READ);
    for out in [
        "../g",
        "b/../../g",
        "./../g",
        "l/../../g",
        "b/../../a/b/f",
        "/work/g",
        "..",
    ] {
        call!(s, PERM, path_open(4, 1, out, 0, READ, 0, 0, OUT));
        call!(s, PERM, path_filestat_get(4, 0, out, BUFFER));
        call!(s, PERM, path_rename(4, "b/f", 4, &format!("{out}/x")));
        call!(s, PERM, path_link(4, 0, "b/f", 4, &format!("{out}/x")));
        call!(s, PERM, path_symlink("t", 4, &format!("{out}/x")));
        call!(s, PERM, path_create_directory(4, &format!("{out}/x")));
        call!(s, PERM, path_filestat_set_times(4, 1, out, 0, 0, 0));
    }
    for out in ["../g", "b/../../g", "/work/g"] {
        call!(
            s,
            PERM,
            path_open(4, 1, out, CREATE | TRUNCATE, BOTH, 0, 0, OUT)
        );
        call!(s, PERM, path_unlink_file(4, out));
        call!(s, PERM, path_remove_directory(4, out));
        call!(s, PERM, path_rename(4, out, 4, "x"));
        call!(s, PERM, path_link(4, 0, out, 4, "x"));
        call!(s, PERM, path_readlink(4, out, BUFFER, 64, OUT));
        call!(s, PERM, path_create_directory(4, out));
    }
    s.holds(5, "work/g", "g");
    (s, work())
}

#[tokio::test]
async fn a01_no_call_leads_out_of_the_directory_it_starts_from() {
    let (script, filesystem) = leads_out_by_dots();
    script.run(&filesystem).await;
}

pub(crate) fn leads_out_by_slashes() -> Attack {
    let mut s = tree();
    call!(s, OK, path_symlink("..///", ROOT, "work/a/up"));
    call!(s, OK, path_symlink("../../..///", ROOT, "work/a/out"));
    call!(s, OK, path_symlink("b///", ROOT, "work/a/in"));
    call!(s, OK, path_symlink("/etc/", ROOT, "work/a/etc"));
    call!(s, OK, path_symlink("../g/", ROOT, "work/a/file"));
    s.open(4, "work/a", DIRECTORY, READ);
    for slashes in ["/", "//", "///", "/.", "//./"] {
        let with = |name: &str| format!("{name}{slashes}");
        for link in ["up", "out", "etc"] {
            let link = with(link);
            call!(s, PERM, path_open(4, 0, &link, 0, READ, 0, 0, OUT));
            call!(s, PERM, path_open(4, 1, &link, DIRECTORY, READ, 0, 0, OUT));
            call!(s, PERM, path_filestat_get(4, 0, &link, BUFFER));
            call!(s, PERM, path_filestat_set_times(4, 0, &link, 0, 0, 0));
            call!(s, PERM, path_readlink(4, &link, BUFFER, 64, OUT));
        }
        for follow in [0, 1] {
            call!(s, OK, path_filestat_get(4, follow, &with("in"), BUFFER));
            s.word(BUFFER + 16, 3);
            call!(s, OK, path_filestat_get(4, follow, &with("l"), BUFFER));
            s.word(BUFFER + 16, 3);
            call!(
                s,
                NOTDIR,
                path_filestat_get(4, follow, &with("b/f"), BUFFER)
            );
        }
        call!(s, INVAL, path_readlink(4, &with("l"), BUFFER, 64, OUT));
        call!(s, NOENT, path_filestat_get(4, 0, &with("missing"), BUFFER));
    }
    call!(s, PERM, path_filestat_get(4, 1, "file", BUFFER));
    call!(s, NOTDIR, path_filestat_get(ROOT, 1, "work/a/file", BUFFER));
    (s, work())
}

#[tokio::test]
async fn a03_a_slash_behind_a_name_asks_for_a_directory_and_leads_no_further() {
    let (script, filesystem) = leads_out_by_slashes();
    script.run(&filesystem).await;
}

#[tokio::test]
async fn a03_what_is_made_or_removed_with_a_slash_behind_it_is_as_on_linux() {
    let mut s = tree();
    call!(s, OK, path_create_directory(ROOT, "work/d///"));
    call!(s, OK, path_remove_directory(ROOT, "work/d//"));
    call!(
        s,
        ISDIR,
        path_open(ROOT, 1, "work/new/", CREATE, BOTH, 0, 0, OUT)
    );
    call!(s, NOENT, path_symlink("t", ROOT, "work/new/"));
    call!(s, NOENT, path_link(ROOT, 0, "work/g", ROOT, "work/new/"));
    call!(s, NOTDIR, path_unlink_file(ROOT, "work/g/"));
    call!(s, NOTDIR, path_unlink_file(ROOT, "work/a/l/"));
    call!(s, NOTDIR, path_remove_directory(ROOT, "work/a/l/"));
    call!(s, NOTDIR, path_remove_directory(ROOT, "work/a/l"));
    call!(s, NOTDIR, path_remove_directory(ROOT, "work/g"));
    call!(s, ISDIR, path_unlink_file(ROOT, "work/a"));
    call!(s, NOTEMPTY, path_remove_directory(ROOT, "work/a"));
    call!(s, INVAL, path_remove_directory(ROOT, "work/a/."));
    call!(s, NOTEMPTY, path_remove_directory(ROOT, "work/a/b/.."));
    call!(s, EXIST, path_create_directory(ROOT, "work/a/"));
    call!(s, EXIST, path_create_directory(ROOT, "work/a/."));
    call!(s, EXIST, path_create_directory(ROOT, "work/a/l"));
    call!(s, NOENT, path_create_directory(ROOT, "work/missing/d"));
    call!(s, NOTDIR, path_create_directory(ROOT, "work/g/d"));
    s.run(&work()).await;
}

pub(crate) fn leads_out_by_a_renamed_link() -> Attack {
    let mut s = tree();
    call!(s, OK, path_symlink("..", ROOT, "work/a/b/up"));
    call!(s, OK, path_create_directory(ROOT, "work/e"));
    s.open(4, "work/a", DIRECTORY, READ);
    for (from, to) in [
        ("b/up/", "up"),
        ("b/up//", "up"),
        ("b/up/", "up/"),
        ("b/up", "up/"),
        ("l/", "m"),
        ("l", "m/"),
        ("b/f", "f/"),
        ("b/f/", "f"),
    ] {
        call!(s, NOTDIR, path_rename(4, from, 4, to));
    }
    for (from, to) in [
        ("b/up/.", "up"),
        ("b/up/..", "up"),
        ("b", "l/.."),
        (".", "x"),
        ("b", "."),
    ] {
        let (from_at, from_len) = s.text(from.as_bytes());
        let (to_at, to_len) = s.text(to.as_bytes());
        s.code(&format!(
            "(if (i32.eqz (call $path_rename (i32.const 4) (i32.const {from_at}) (i32.const {from_len})
               (i32.const 4) (i32.const {to_at}) (i32.const {to_len}))) (then unreachable))"
        ));
    }
    // Moved by its name, it leads elsewhere, and still not out.
    call!(s, OK, path_rename(4, "b/up", 4, "up"));
    call!(s, PERM, path_filestat_get(4, 1, "up", BUFFER));
    call!(s, PERM, path_filestat_get(4, 0, "up/", BUFFER));
    call!(s, OK, path_filestat_get(ROOT, 1, "work/a/up/g", BUFFER));
    (s, work())
}

#[tokio::test]
async fn a04_a_link_that_is_renamed_with_a_slash_behind_it_stays_where_it_is() {
    let (script, filesystem) = leads_out_by_a_renamed_link();
    script.run(&filesystem).await;
}

#[tokio::test]
async fn renaming_replaces_as_it_does_on_linux() {
    let mut s = tree();
    call!(s, OK, path_create_directory(ROOT, "work/e"));
    call!(s, OK, path_rename(ROOT, "work/g", ROOT, "work/a/b/f"));
    s.holds(4, "work/a/b/f", "g");
    call!(s, ISDIR, path_rename(ROOT, "work/a/b/f", ROOT, "work/e"));
    call!(s, NOTDIR, path_rename(ROOT, "work/e", ROOT, "work/a/b/f"));
    call!(s, NOTEMPTY, path_rename(ROOT, "work/e", ROOT, "work/a"));
    call!(s, INVAL, path_rename(ROOT, "work/a", ROOT, "work/a/b/x"));
    call!(s, OK, path_rename(ROOT, "work/a", ROOT, "work/e"));
    call!(s, OK, path_rename(ROOT, "work/e/", ROOT, "work/h/"));
    s.holds(4, "work/h/l/f", "g");
    call!(s, OK, path_link(ROOT, 0, "work/h/b/f", ROOT, "work/same"));
    call!(s, OK, path_rename(ROOT, "work/same", ROOT, "work/h/b/f"));
    s.holds(4, "work/same", "g");
    call!(s, NOENT, path_rename(ROOT, "work/missing", ROOT, "work/x"));
    call!(
        s,
        NOENT,
        path_rename(ROOT, "work/same", ROOT, "work/missing/x")
    );
    s.run(&work()).await;
}
