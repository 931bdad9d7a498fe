//! Reading and writing: by offset, by streams, and what a failing stream says.

use agentvm_fuzz_driver::Arg;
use agentvm_fuzz_driver::preview2::calls::{CODES, CREATE, READ, Reply, TRUNCATE, WRITE};
use agentvm_fuzz_driver::script::ZEROS;

use crate::vm::{Calls, STORAGE, filesystem};

#[test]
fn what_is_written_is_read_and_the_end_is_told() {
    let mut calls = Calls::new();
    let file = calls.create("work/f");
    let written = calls.script.write(file, b"hello world", 0);
    let middle = calls.script.read(file, 5, 6);
    let over = calls.script.read(file, 100, 6);
    let behind = calls.script.read(file, 100, 11);
    let stat = calls.script.stat(file);
    let memory = calls.run();
    assert_eq!(memory.code(written), "ok");
    assert_eq!(memory.u64(written.payload()), 11);
    let at_end = |reply: Reply| memory.u8(reply.payload() + 8);
    assert_eq!(
        (memory.list(middle), at_end(middle)),
        (b"world".to_vec(), 0)
    );
    assert_eq!((memory.list(over), at_end(over)), (b"world".to_vec(), 1));
    assert_eq!((memory.list(behind), at_end(behind)), (Vec::new(), 1));
    let links = memory.u64(stat.payload() + 8);
    assert_eq!((links, memory.u64(stat.payload() + 16)), (1, 11));
}

#[test]
fn streams_go_on_from_their_place_and_close_at_the_end() {
    let mut calls = Calls::new();
    let file = calls.create("work/f");
    let writer = calls.script.stream_at("write-via-stream", file, 2).handle();
    let appender = calls.script.stream_of("append-via-stream", file).handle();
    let room = calls.script.check_write(writer);
    for (stream, text) in [
        (writer, b"ab"),
        (appender, b"yz"),
        (writer, b"cd"),
        (appender, b"!!"),
    ] {
        calls.script.stream_write(stream, text);
    }
    let reader = calls.script.stream_at("read-via-stream", file, 1).handle();
    let read = [3, 100, 100].map(|bytes| calls.script.stream_read(reader, bytes));
    let memory = calls.run();
    assert_eq!(memory.u64(room.payload()), 64 << 10);
    assert_eq!(memory.list(read[0]), b"\0ab");
    assert_eq!(memory.list(read[1]), b"cd!!"); // the writer wrote over what was appended first
    assert_eq!(memory.stream(read[2]), "closed");
}

#[test]
fn a_stream_that_finds_no_space_says_so_once_and_is_closed() {
    let mut calls = Calls::new();
    let file = calls.create("work/f");
    let stream = calls.script.stream_of("append-via-stream", file).handle();
    let chunk = [ZEROS, 64 << 10].map(Arg::from);
    let writes = [0; 17].map(|_| calls.script.stream_write_arg(stream, chunk));
    let room = calls.script.check_write(stream);
    let failed = writes[15]; // the last 64 KiB of the storage, of which the file's name has some
    let code = calls.script.error_code(failed.stream_error());
    let text = calls.script.debug_string(failed.stream_error());
    let stat = calls.script.stat(file);
    let memory = calls.run();
    let streams = writes.map(|write| memory.stream(write));
    assert_eq!(streams[..15], ["ok"; 15]);
    assert_eq!(streams[15..], ["last-operation-failed", "closed"]);
    assert_eq!(memory.stream(room), "closed");
    let code = [0, 1].map(|at| memory.u8(code.stored() + at));
    assert_eq!(
        (code[0], CODES[usize::from(code[1])]),
        (1, "insufficient-space")
    );
    assert_eq!(memory.list(text), b"no space is left");
    let size = memory.u64(stat.payload() + 16);
    assert!((15 << 16..STORAGE).contains(&size), "{size}");
}

#[test]
fn an_open_file_does_what_it_was_opened_for() {
    let mut calls = Calls::new();
    calls.write_file("work/f", b"abc");
    let reads = calls.open("work/f", 0, READ).handle();
    let writes = calls.open("work/f", 0, WRITE).handle();
    let neither = calls.open("work/f", 0, 0).handle();
    let mut codes = Vec::new();
    for (file, expected) in [
        (reads, ["ok", "bad-descriptor", "bad-descriptor", "invalid"]),
        (writes, ["bad-descriptor", "ok", "ok", "ok"]),
        (
            neither,
            [
                "bad-descriptor",
                "bad-descriptor",
                "bad-descriptor",
                "invalid",
            ],
        ),
    ] {
        let read = calls.script.read(file, 1, 0);
        let write = calls.script.write(file, b"x", 0);
        let append = calls.script.stream_of("append-via-stream", file);
        let set_size = calls.script.set_size(file, 3);
        codes.push(([read, write, append, set_size], expected));
    }
    let memory = calls.run();
    for (replies, expected) in codes {
        assert_eq!(replies.map(|reply| memory.code(reply)), expected);
    }
}

#[test]
fn a_directory_is_no_file_and_a_file_no_directory() {
    let mut calls = Calls::new();
    let file = calls.create("work/f");
    let directory = calls.directory("work");
    let replies = [
        (calls.script.read(directory, 1, 0), "is-directory"),
        (calls.script.write(directory, b"x", 0), "bad-descriptor"),
        (calls.script.set_size(directory, 0), "invalid"),
        (calls.open("work", 0, WRITE), "is-directory"),
        (calls.open("work", TRUNCATE, READ), "is-directory"),
        (calls.open("work", CREATE, WRITE), "is-directory"),
        (
            calls.script.stream_of("read-directory", file),
            "not-directory",
        ),
        (
            calls.script.at("create-directory-at", file, "x"),
            "not-directory",
        ),
        (calls.at("create-directory-at", "work/f/x"), "not-directory"),
        (calls.at("unlink-file-at", "work/f/"), "not-directory"),
        (calls.open("work/f/", 0, READ), "not-directory"),
    ];
    let memory = calls.run();
    for (index, (reply, expected)) in replies.into_iter().enumerate() {
        assert_eq!(memory.code(reply), expected, "{index}");
    }
}

#[test]
fn an_unlinked_file_lives_until_its_last_handle_is_dropped() {
    let filesystem = filesystem();
    let before = filesystem.usage();
    let mut calls = Calls::new();
    let file = calls.write_file("work/f", &[1; 10_000]);
    calls.at("unlink-file-at", "work/f");
    let reader = calls
        .script
        .stream_at("read-via-stream", file, 9_000)
        .handle();
    calls.script.drop_handle("drop-descriptor", file);
    let read = calls.script.stream_read(reader, 10_000);
    calls.script.drop_handle("drop-in", reader);
    let other = calls.write_file("work/g", b"");
    calls.script.drop_handle("drop-descriptor", other);
    calls.at("unlink-file-at", "work/g");
    let memory = calls.run_on(&filesystem);
    assert_eq!(memory.list(read), [1; 1_000]);
    let after = filesystem.usage();
    assert_eq!((after.bytes, after.inodes), (before.bytes, before.inodes));
    assert!(after.peak_bytes < STORAGE);
}
