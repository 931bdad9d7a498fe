"""Works on files as Python programs do, and prints what it found: counts and checksums."""

import hashlib
import os
import shutil
import sqlite3
import tempfile
import zipfile

FILES = 2_000
ROWS = 100_000


def digest(parts):
    state = hashlib.sha256()
    for part in parts:
        state.update(part if isinstance(part, bytes) else part.encode())
    return state.hexdigest()[:16]


def text(index):
    return f"line {index}\n" * (index % 97 + 1)


def zips():
    """Unpacks a zip of 2,000 files, packs them again and compares."""
    with zipfile.ZipFile("a.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        for index in range(FILES):
            packed.writestr(f"d{index % 40}/f{index}.txt", text(index))
    with zipfile.ZipFile("a.zip") as packed:
        packed.extractall("unpacked")
    walked = os.walk("unpacked")
    names = sorted(os.path.join(where, name) for where, _, names in walked for name in names)
    with zipfile.ZipFile("b.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        for name in names:
            packed.write(name, os.path.relpath(name, "unpacked"))
    contents = []
    for archive in ("a.zip", "b.zip"):
        with zipfile.ZipFile(archive) as packed:
            assert packed.testzip() is None
            inside = sorted(packed.namelist())
            contents.append(digest(part for name in inside for part in (name, packed.read(name))))
    return len(names), contents[0] == contents[1], contents[0]


def database():
    """100,000 rows in a file, over a journal, and an index."""
    rows = ((index, f"name {index}", index * index % 1000003) for index in range(ROWS))
    opened = sqlite3.connect("rows.db")
    # This build of SQLite traps, in whichever runtime, where it wants a temporary file.
    opened.execute("pragma temp_store = memory")
    opened.execute("create table entry (id integer primary key, name text, n integer)")
    opened.executemany("insert into entry values (?, ?, ?)", rows)
    opened.commit()
    opened.execute("create index by_n on entry (n)")
    opened.commit()
    opened.execute("delete from entry where id < 10")
    opened.rollback()
    opened.close()
    opened = sqlite3.connect("rows.db")
    (verdict,) = opened.execute("pragma integrity_check").fetchone()
    found = opened.execute("select count(*), sum(n), max(id) from entry").fetchone()
    (name,) = opened.execute("select name from entry where n = 81 order by id limit 1").fetchone()
    opened.close()
    return verdict, *found, name, os.path.exists("rows.db-journal")


def temporary():
    """Files and directories that go by themselves."""
    with tempfile.TemporaryDirectory(dir=".") as folder:
        with tempfile.NamedTemporaryFile(dir=folder) as named:
            named.write(b"x" * 100_000)
            named.flush()
            size = os.path.getsize(named.name)
        with tempfile.TemporaryFile(dir=folder) as nameless:
            nameless.write(b"y" * 1_000)
            nameless.seek(0)
            read = len(nameless.read())
        with tempfile.SpooledTemporaryFile(max_size=10, dir=folder) as spooled:
            spooled.write(b"z" * 20)
        left = os.listdir(folder)
    return size, read, left, os.path.exists(folder)


def trees():
    """A tree copied as a whole, compared, and removed as a whole."""
    os.symlink("d1/f1.txt", "unpacked/link")
    shutil.copytree("unpacked", "copy", symlinks=True)
    copied = [(where, sorted(names)) for where, _, names in os.walk("copy")]
    count = sum(len(names) for _, names in copied)
    target = os.readlink("copy/link")
    shutil.move("copy/d1", "copy/moved")
    moved = len(os.listdir("copy/moved"))
    shutil.rmtree("copy")
    return count, target, moved, os.path.exists("copy")


os.chdir("/work")
for step in (zips, database, temporary, trees):
    print(step.__name__, *step(), flush=True)
print("root", os.listdir("/"))
