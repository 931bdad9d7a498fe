// A component that works on files by wasi:filesystem, and prints what it found.

import { getDirectories } from "wasi:filesystem/preopens@0.2.10";

const FILES = 300;
const FOLLOW = { symlinkFollow: true };
const decoder = new TextDecoder();
const encoder = new TextEncoder();

const text = (index) => `line ${index}\n`.repeat((index % 97) + 1);

/** Calls `use` with a handle, and gives it up: a VM has few of them, and nobody collects them. */
function using(handle, use) {
  try {
    return use(handle);
  } finally {
    handle[Symbol.dispose]();
  }
}

/** Writes a file through a stream, 4 KiB at a time as blocking-write-and-flush has it. */
function write(directory, path, content) {
  const bytes = encoder.encode(content);
  const flags = [FOLLOW, path, { create: true, truncate: true }, { write: true }];
  using(directory.openAt(...flags), (file) =>
    using(file.writeViaStream(0n), (stream) => {
      for (let at = 0; at < bytes.length; at += 4096) {
        stream.blockingWriteAndFlush(bytes.subarray(at, at + 4096));
      }
    }),
  );
}

/** Reads a file to its end. */
function read(directory, path) {
  return using(directory.openAt(FOLLOW, path, {}, { read: true }), (file) => {
    let content = "";
    for (let offset = 0n, end = false; !end; ) {
      const [bytes, last] = file.read(1000n, offset);
      content += decoder.decode(bytes);
      offset += BigInt(bytes.length);
      end = last;
    }
    return content;
  });
}

function list(directory) {
  return using(directory.readDirectory(), (entries) => {
    const names = [];
    for (let entry; (entry = entries.readDirectoryEntry()); ) {
      names.push(entry.name);
    }
    return names.sort();
  });
}

/** What a call is refused with. */
function refused(call) {
  try {
    call();
    return "nothing";
  } catch (error) {
    return error.payload ?? `${error}`;
  }
}

export const run = {
  run() {
    const [[root, path]] = getDirectories();
    console.log("root", path, list(root).join());
    const work = root.openAt(FOLLOW, "work", { directory: true }, { read: true });
    work.createDirectoryAt("d");
    for (let index = 0; index < FILES; index += 1) {
      write(work, `d/f${index}`, text(index));
    }
    const directory = work.openAt(FOLLOW, "d", { directory: true }, { read: true });
    const names = list(directory);
    const same = names.filter((name) => read(directory, name) === text(Number(name.slice(1))));
    console.log("files", names.length, same.length);
    directory.renameAt("f7", work, "g");
    work.symlinkAt("g", "link");
    console.log("names", work.readlinkAt("link"), `${work.statAt(FOLLOW, "link").size}`);
    for (const name of list(directory)) {
      directory.unlinkFileAt(name);
    }
    directory[Symbol.dispose]();
    work.removeDirectoryAt("d");
    console.log("left", list(work).join());
    console.log(
      "refused",
      refused(() => root.openAt(FOLLOW, "etc/passwd", {}, { read: true })),
      refused(() => work.openAt(FOLLOW, "../../etc/passwd", {}, { read: true })),
      refused(() => work.createDirectoryAt("g")),
      refused(() => root.createDirectoryAt("d")),
    );
  },
};
