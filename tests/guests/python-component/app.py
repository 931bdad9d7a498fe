"""A component that works on files, and prints what it found: counts and checksums."""

import errno
import hashlib
import json
import os
import shutil
import sys
import tempfile

from wit_world import exports

FILES = 500


def text(index):
    return f"line {index}\n" * (index % 97 + 1)


def tree():
    """Writes a tree of files, copies it, compares the two and removes one."""
    for index in range(FILES):
        folder = f"tree/d{index % 20}"
        os.makedirs(folder, exist_ok=True)
        with open(f"{folder}/f{index}.txt", "w") as file:
            file.write(text(index))
    shutil.copytree("tree", "copy")
    state = hashlib.sha256()
    count = 0
    for where, folders, names in os.walk("copy"):
        folders.sort()
        for name in sorted(names):
            with open(os.path.join(where, name), "rb") as file:
                state.update(file.read())
            count += 1
    shutil.rmtree("tree")
    print("tree", count, state.hexdigest()[:16], os.path.exists("tree"))


def records():
    """Appends, seeks and truncates."""
    with open("records", "w+b") as file:
        for number in range(10_000):
            file.write(json.dumps({"number": number}).encode() + b"\n")
        file.seek(0)
        total = sum(json.loads(line)["number"] for line in file)
        file.truncate(100)
    with open("records", "ab") as file:
        file.write(b"end")
    with open("records", "rb") as file:
        file.seek(98)
        print("records", total, os.stat("records").st_size, file.read())


def names():
    """Links, renames and temporary files, and what is no more."""
    os.symlink("records", "link")
    os.link("records", "hard")
    os.replace("hard", "harder")
    same = os.path.samefile("records", "harder")
    with tempfile.TemporaryFile(dir="/work") as file:
        file.write(b"x" * 100_000)
        file.seek(99_990)
        rest = len(file.read())
    print("names", os.readlink("link"), os.stat("link").st_nlink, same, rest)
    print("listed", sorted(os.listdir("/")), sorted(os.listdir("/work")))


def errors():
    """What is refused, by its number."""
    told = []
    for path in ("/etc/passwd", "../../etc/passwd", "copy/d0", "records/x"):
        try:
            open(path).close()
        except OSError as error:
            told.append(errno.errorcode[error.errno])
    try:
        # Not buffered: a buffer is written again when it is closed, to a stream that has failed.
        with open("large", "wb", buffering=0) as file:
            while True:
                file.write(b"x" * 65_536)
    except OSError:
        # Its number says little: the C library does not ask why a stream has failed.
        told.append("full")
    print("errors", *told)


class Run(exports.Run):
    """What `wasi:cli/run` is."""

    def run(self):
        os.chdir("/work")
        tree()
        records()
        names()
        errors()
        sys.stdout.flush()
