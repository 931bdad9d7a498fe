//! Guests that work on the files of a mount at `/work`.

use super::{again, module};

/// Opens the path at 2,048 with `oflags`, and rights for all there is; the descriptor is at 12.
fn open(length: usize, oflags: u32) -> String {
    format!(
        "(drop (call $path_open (i32.const 3) (i32.const 1) (i32.const 2048) (i32.const {length})
           (i32.const {oflags}) (i64.const 0x1fffffff) (i64.const 0) (i32.const 0) (i32.const 12)))"
    )
}

/// A file `work/f`, made and opened.
const PATH: &str = "(data (i32.const 2048) \"work/f\")";

/// A name below `work` that the guest counts up.
const NAMES: &str = "(data (i32.const 2048) \"work/dAAAA\") (data (i32.const 2148) \"work/eAAAA\")";

/// Makes directories, each with another name, for ever.
pub(crate) fn creates() -> Vec<u8> {
    let body = format!(
        "(local $n i32) {}",
        again(
            "(call $name (i32.const 2054) (local.get $n))
             (local.set $n (i32.add (local.get $n) (i32.const 1)))
             (drop (call $path_create_directory (i32.const 3) (i32.const 2048) (i32.const 10)))"
        )
    );
    module(1, NAMES, &body)
}

/// Makes a file, writes 64 KiB, gives it another name and removes it, for ever.
pub(crate) fn churns() -> Vec<u8> {
    let body = format!(
        "(local $n i32) {}",
        again(&format!(
            "(call $name (i32.const 2054) (local.get $n))
             (call $name (i32.const 2154) (local.get $n))
             (local.set $n (i32.add (local.get $n) (i32.const 1)))
             {}
             (call $vector (i32.const 65536) (i32.const 65536))
             (drop (call $fd_write (i32.load (i32.const 12)) (i32.const 0) (i32.const 1) (i32.const 8)))
             (drop (call $fd_close (i32.load (i32.const 12))))
             (drop (call $path_rename (i32.const 3) (i32.const 2048) (i32.const 10)
                                      (i32.const 3) (i32.const 2148) (i32.const 10)))
             (drop (call $path_unlink_file (i32.const 3) (i32.const 2148) (i32.const 10)))",
            open(10, 1)
        ))
    );
    module(3, NAMES, &body)
}

/// Lists a directory of 5,000 names, for ever.
pub(crate) fn lists() -> Vec<u8> {
    let body = format!(
        "(local $n i32)
         (loop $make
           (call $name (i32.const 2054) (local.get $n))
           (drop (call $path_create_directory (i32.const 3) (i32.const 2048) (i32.const 10)))
           (local.set $n (i32.add (local.get $n) (i32.const 1)))
           (br_if $make (i32.lt_u (local.get $n) (i32.const 5000))))
         {}
         (loop $list
           (drop (call $fd_readdir (i32.load (i32.const 12))
             (i32.const 65536) (i32.const 6000000) (i64.const 0) (i32.const 8)))
           (br $list))",
        open(4, 2)
    );
    module(100, NAMES, &body)
}

/// Opens one file, and never closes it, for ever.
pub(crate) fn opens() -> Vec<u8> {
    module(1, PATH, &again(&open(6, 1)))
}

/// Asks what is at the end of 40 links, for ever.
pub(crate) fn follows_links() -> Vec<u8> {
    let links: Vec<String> = (0..40)
        .map(|n| {
            // `lNN` leads to the next; the last leads to the file.
            let (to, from) = (3000 + 10 * (n + 1), 4000 + 10 * n);
            format!(
                "(drop (call $path_symlink (i32.const {to}) (i32.const 3)
                   (i32.const 3) (i32.const {from}) (i32.const 8)))"
            )
        })
        .collect();
    let names: Vec<String> = (0..=40)
        .map(|n| {
            let (name, path) = (3000 + 10 * n, 4000 + 10 * n);
            format!(
                "(data (i32.const {name}) \"l{n:02}\") (data (i32.const {path}) \"work/l{n:02}\")"
            )
        })
        .collect();
    let (links, names) = (links.concat(), names.concat());
    let make = "(drop (call $path_open (i32.const 3) (i32.const 1) (i32.const 4400) (i32.const 8)
        (i32.const 1) (i64.const 64) (i64.const 0) (i32.const 0) (i32.const 12)))";
    let ask = "(if (call $path_filestat_get (i32.const 3) (i32.const 1)
          (i32.const 4000) (i32.const 8) (i32.const 1024))
        (then (unreachable)))";
    module(1, &names, &format!("{make} {links} {}", again(ask)))
}

/// Asks for what is at the end of a path as long as one may be, for ever.
pub(crate) fn follows_a_long_path() -> Vec<u8> {
    let path = format!("work{}", "/../work".repeat(511));
    let data = format!("(data (i32.const 4096) \"{path}\")");
    let ask = format!(
        "(if (call $path_filestat_get (i32.const 3) (i32.const 1)
           (i32.const 4096) (i32.const {}) (i32.const 1024))
         (then (unreachable)))",
        path.len()
    );
    module(1, &data, &again(&ask))
}

/// Has a file be 1 TiB, then as long as it gets with a byte at its end, then empty, for ever.
pub(crate) fn stretches() -> Vec<u8> {
    let size = |size: u64| {
        format!("(drop (call $fd_filestat_set_size (local.get $fd) (i64.const {size})))")
    };
    let body = format!(
        "(local $fd i32) {} (local.set $fd (i32.load (i32.const 12)))
         (call $vector (i32.const 1024) (i32.const 8192))
         (loop $again {} {}
           (drop (call $fd_pwrite (local.get $fd) (i32.const 0) (i32.const 1)
             (i64.const 15000000) (i32.const 8)))
           {} (br $again))",
        open(6, 1),
        size(1 << 40),
        size(15 << 20),
        size(0)
    );
    module(1, PATH, &body)
}

/// Fills a file of 15 MiB with one call and reads it with another, for ever.
pub(crate) fn reads_and_writes() -> Vec<u8> {
    let call = |name: &str| {
        format!(
            "(drop (call ${name} (local.get $fd) (i32.const 0) (i32.const 1) (i64.const 0) (i32.const 8)))"
        )
    };
    let body = format!(
        "(local $fd i32) {} (local.set $fd (i32.load (i32.const 12)))
         (call $vector (i32.const 65536) (i32.const 15728640))
         (loop $again {} {} (br $again))",
        open(6, 1),
        call("fd_pwrite"),
        call("fd_pread")
    );
    module(256, PATH, &body)
}
