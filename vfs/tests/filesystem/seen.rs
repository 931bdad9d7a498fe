//! Mounts to test with, and all that can be seen in them.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use agentvm_vfs::{
    Access, Budget, Entry, File, Files, Filesystem, Follow, Kind, Mount, Node, Open, Source,
};

/// `O_CREAT | O_RDWR`.
pub(crate) const WRITE: Open = Open {
    create: true,
    exclusive: false,
    directory: false,
    truncate: false,
    write: true,
    read: true,
};

pub(crate) const READ: Open = Open {
    create: false,
    exclusive: false,
    directory: false,
    truncate: false,
    write: false,
    read: true,
};

pub(crate) fn empty(path: &str) -> Mount {
    Mount {
        path: path.to_owned(),
        access: Access::ReadWrite,
        source: Source::Empty { max_bytes: None },
    }
}

pub(crate) fn files(files: &[(&str, &str)]) -> Files {
    let files = files.iter().map(|(path, data)| {
        let file = File {
            data: data.as_bytes().into(),
            mode: 0o644,
        };
        ((*path).to_owned(), file)
    });
    files.collect()
}

pub(crate) fn config(path: &str, content: &[(&str, &str)]) -> Mount {
    Mount {
        path: path.to_owned(),
        access: Access::ReadOnly,
        source: Source::Files(files(content)),
    }
}

pub(crate) fn mounted(mounts: &[Mount]) -> Filesystem {
    let budget = Budget {
        bytes: 64 << 20,
        inodes: 16_384,
    };
    Filesystem::new(budget, mounts, 1).unwrap()
}

/// The names of a directory, sorted.
pub(crate) fn names(node: &Node) -> Vec<String> {
    let mut names = Vec::new();
    node.read_dir(0, &mut |entry: Entry<'_>| {
        names.push(entry.name.to_owned());
        ControlFlow::Continue(())
    })
    .unwrap();
    names.sort();
    names
}

/// Everything below a directory by its path: what it is, what it holds, how many links it has.
pub(crate) fn snapshot(base: &Node) -> BTreeMap<String, String> {
    let mut seen = BTreeMap::new();
    let mut directories = vec![String::new()];
    while let Some(directory) = directories.pop() {
        let path = if directory.is_empty() {
            "."
        } else {
            &directory
        };
        let open = base.open(path, Follow::No, Open::default(), 0).unwrap();
        for name in names(&open) {
            if name == "." || name == ".." {
                continue;
            }
            let path = if directory.is_empty() {
                name
            } else {
                format!("{directory}/{name}")
            };
            let metadata = base.metadata_of(&path, Follow::No).unwrap();
            let what = match metadata.kind {
                Kind::Directory => {
                    directories.push(path.clone());
                    "directory".to_owned()
                }
                Kind::Symlink => format!("-> {}", base.read_link_of(&path).unwrap()),
                Kind::File => {
                    let content = read(base, &path);
                    format!("{} {content:?}", metadata.links)
                }
            };
            seen.insert(path, what);
        }
    }
    seen
}

pub(crate) fn read(base: &Node, path: &str) -> String {
    let file = base.open(path, Follow::No, READ, 0).unwrap();
    let mut content = vec![0; usize::try_from(file.metadata().size).unwrap()];
    let read = file.read_at(0, &mut content).unwrap();
    assert_eq!(read, content.len());
    String::from_utf8_lossy(&content).into_owned()
}

pub(crate) fn write(base: &Node, path: &str, content: &str) {
    let file = base.open(path, Follow::Yes, WRITE, 0).unwrap();
    assert_eq!(file.write_at(0, content.as_bytes(), 0), Ok(content.len()));
}
