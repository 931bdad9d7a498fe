//! A plain model of a filesystem: whole paths in one map, written apart from the crate.

use std::collections::BTreeMap;

use agentvm_vfs::{Error, Follow, Kind, MAX_SYMLINKS};

/// What a path is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Thing {
    Directory,
    Link(String),
    /// Its number in `files`.
    File(u32),
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Data {
    pub(crate) content: Vec<u8>,
    pub(crate) links: u32,
    pub(crate) opens: u32,
    pub(crate) largest: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) path: String,
    pub(crate) read_only: bool,
    pub(crate) largest_file: u64,
}

/// An open node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Handle {
    File(u32),
    Directory(String),
    /// A directory that was removed.
    Dead,
}

/// How a file is opened.
#[expect(clippy::struct_excessive_bools, reason = "as in the filesystem itself")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct How {
    pub(crate) create: bool,
    pub(crate) exclusive: bool,
    pub(crate) truncate: bool,
    pub(crate) write: bool,
}

/// Keys are paths without a slash at either end; the root is the empty one.
#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) things: BTreeMap<String, Thing>,
    pub(crate) files: BTreeMap<u32, Data>,
    pub(crate) handles: Vec<Handle>,
    pub(crate) mounts: Vec<Place>,
    /// The links and files of the guest, which count as inodes, with all directories.
    pub(crate) free: u64,
    next: u32,
}

/// Where a walk ends.
#[derive(Debug)]
enum Walked {
    At(String),
    /// Its directory is there.
    Missing(String),
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(above, _)| above)
}

fn is_below(path: &str, above: &str) -> bool {
    above.is_empty() || path == above || path.starts_with(&format!("{above}/"))
}

fn join(above: &str, name: &str) -> String {
    if above.is_empty() {
        name.to_owned()
    } else {
        format!("{above}/{name}")
    }
}

impl Model {
    /// Everything is mounted in the order of the paths; what leads there is read-only.
    pub(crate) fn new(mounts: &[(&str, bool, u64)]) -> Self {
        let mut model = Self::default();
        model.things.insert(String::new(), Thing::Directory);
        for (path, read_only, largest_file) in mounts {
            let mut above = String::new();
            for name in path.split('/').filter(|name| !name.is_empty()) {
                above = join(&above, name);
                model.things.insert(above.clone(), Thing::Directory);
            }
            model.mounts.push(Place {
                path: above,
                read_only: *read_only,
                largest_file: *largest_file,
            });
        }
        model.free = u64::try_from(model.things.len()).unwrap();
        model
    }

    pub(crate) fn inodes(&self) -> u64 {
        let others = self.things.values();
        let others = others.filter(|thing| !matches!(thing, Thing::File(_)));
        let dead = self.dead_directories();
        u64::try_from(others.count() + self.files.len()).unwrap() - self.free + dead
    }

    /// Directories that are removed and still open, each once.
    fn dead_directories(&self) -> u64 {
        let dead = self.handles.iter().filter(|it| **it == Handle::Dead);
        u64::try_from(dead.count()).unwrap()
    }

    fn mount_of(&self, path: &str) -> Option<&Place> {
        let over = self.mounts.iter().filter(|it| is_below(path, &it.path));
        over.max_by_key(|it| it.path.len())
    }

    fn volume(&self, path: &str) -> String {
        self.mount_of(path)
            .map_or("nowhere".to_owned(), |it| it.path.clone())
    }

    fn writable(&self, path: &str) -> Result<(), Error> {
        match self.mount_of(path) {
            Some(mount) if !mount.read_only => Ok(()),
            Some(_) | None => Err(Error::ReadOnly),
        }
    }

    fn pinned(&self, path: &str) -> bool {
        self.mounts.iter().any(|it| is_below(&it.path, path))
    }

    fn has_entries(&self, path: &str) -> bool {
        let prefix = format!("{path}/");
        self.things.keys().any(|key| key.starts_with(&prefix))
    }

    fn base(&self, handle: Option<usize>, path: &str) -> Result<&str, Error> {
        match handle.map(|handle| &self.handles[handle]) {
            None => Ok(""),
            Some(Handle::Directory(path)) => Ok(path),
            Some(Handle::File(_)) => Err(Error::NotDirectory),
            Some(Handle::Dead) => Err(dead(path)),
        }
    }

    /// Resolves all names but the last; then the last by name.
    fn split(&self, handle: Option<usize>, path: &str) -> Result<(String, String), Error> {
        let base = self.base(handle, path)?;
        let (above, last) = path.rsplit_once('/').unwrap_or((".", path));
        let above = match self.resolve(base, base, above, Follow::Yes, &mut 0)? {
            Walked::At(above) => above,
            Walked::Missing(_) => return Err(Error::NoEntry),
        };
        match self.things.get(&above) {
            Some(Thing::Directory) => {}
            _ => return Err(Error::NotDirectory),
        }
        if last == ".." && above == base {
            return Err(Error::NotPermitted);
        }
        Ok((above, last.to_owned()))
    }

    /// One name after another, with all links put in place.
    fn resolve(
        &self,
        base: &str,
        from: &str,
        path: &str,
        follow: Follow,
        hops: &mut u32,
    ) -> Result<Walked, Error> {
        let mut left: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
        let mut at = from.to_owned();
        if path.is_empty() {
            return Err(Error::NoEntry);
        }
        if path.starts_with('/') {
            return Err(Error::NotPermitted);
        }
        while let Some(name) = left.pop() {
            if self.things.get(&at) != Some(&Thing::Directory) {
                return Err(Error::NotDirectory);
            }
            match name.as_str() {
                "" | "." => {}
                ".." if at == base => return Err(Error::NotPermitted),
                ".." => at = parent(&at).to_owned(),
                name => {
                    let next = join(&at, name);
                    let is_last = left.iter().all(String::is_empty);
                    match self.things.get(&next) {
                        None if is_last => return Ok(Walked::Missing(next)),
                        None => return Err(Error::NoEntry),
                        Some(Thing::Link(target)) if !is_last || follow == Follow::Yes => {
                            if *hops == MAX_SYMLINKS {
                                return Err(Error::Loop);
                            }
                            *hops += 1;
                            if target.starts_with('/') {
                                if !base.is_empty() {
                                    return Err(Error::NotPermitted);
                                }
                                at = String::new();
                            }
                            left.extend(target.split('/').rev().map(str::to_owned));
                        }
                        Some(_) => at = next,
                    }
                }
            }
        }
        Ok(Walked::At(at))
    }

    fn find(&self, handle: Option<usize>, path: &str, follow: Follow) -> Result<String, Error> {
        let base = self.base(handle, path)?;
        match self.resolve(base, base, path, follow, &mut 0)? {
            Walked::At(path) => Ok(path),
            Walked::Missing(_) => Err(Error::NoEntry),
        }
    }

    /// Kind, size and links of a file or link.
    pub(crate) fn stat(
        &self,
        handle: Option<usize>,
        path: &str,
        follow: Follow,
    ) -> Result<(Kind, u64, u64), Error> {
        let path = self.find(handle, path, follow)?;
        Ok(match &self.things[&path] {
            Thing::Directory => {
                let prefix = if path.is_empty() {
                    path
                } else {
                    format!("{path}/")
                };
                let below = self.things.iter().filter(|(key, thing)| {
                    let name = key.strip_prefix(&prefix);
                    let is_child = name.is_some_and(|it| !it.is_empty() && !it.contains('/'));
                    is_child && **thing == Thing::Directory
                });
                (
                    Kind::Directory,
                    0,
                    2 + u64::try_from(below.count()).unwrap(),
                )
            }
            Thing::Link(target) => (Kind::Symlink, u64::try_from(target.len()).unwrap(), 1),
            Thing::File(number) => {
                let data = &self.files[number];
                let size = u64::try_from(data.content.len()).unwrap();
                (Kind::File, size, u64::from(data.links))
            }
        })
    }

    pub(crate) fn open(
        &mut self,
        handle: Option<usize>,
        path: &str,
        follow: Follow,
        how: How,
    ) -> Result<Handle, Error> {
        let base = self.base(handle, path)?;
        let follow = if how.create && how.exclusive {
            Follow::No
        } else {
            follow
        };
        let path = match self.resolve(base, base, path, follow, &mut 0)? {
            Walked::At(_) if how.create && how.exclusive => return Err(Error::Exists),
            Walked::At(path) => path,
            Walked::Missing(path) if how.create => {
                self.writable(parent(&path))?;
                let number = self.next;
                self.next += 1;
                let data = Data {
                    links: 1,
                    opens: 1,
                    largest: self.mount_of(parent(&path)).unwrap().largest_file,
                    ..Data::default()
                };
                self.files.insert(number, data);
                self.things.insert(path, Thing::File(number));
                return Ok(Handle::File(number));
            }
            Walked::Missing(_) => return Err(Error::NoEntry),
        };
        match &self.things[&path] {
            Thing::Directory if how.create || how.write || how.truncate => Err(Error::IsDirectory),
            Thing::Directory => Ok(Handle::Directory(path)),
            Thing::Link(_) => Err(Error::Loop),
            Thing::File(number) => {
                let number = *number;
                if how.write || how.truncate {
                    self.writable(parent(&path))?;
                }
                let data = self.files.get_mut(&number).unwrap();
                data.opens += 1;
                if how.truncate {
                    data.content.clear();
                }
                Ok(Handle::File(number))
            }
        }
    }

    pub(crate) fn close(&mut self, handle: usize) {
        if let Handle::File(number) = self.handles.swap_remove(handle) {
            self.files.get_mut(&number).unwrap().opens -= 1;
            self.collect(number);
        }
    }

    fn collect(&mut self, number: u32) {
        let data = &self.files[&number];
        if data.links == 0 && data.opens == 0 {
            self.files.remove(&number);
        }
    }

    /// A name that is to be made.
    fn new_name(&self, handle: Option<usize>, path: &str) -> Result<String, Error> {
        if handle.is_some_and(|handle| self.handles[handle] == Handle::Dead) {
            return Err(if path == "." {
                Error::Exists
            } else {
                dead(path)
            });
        }
        let (above, last) = self.split(handle, path)?;
        if last == "." || last == ".." {
            return Err(Error::Exists);
        }
        let path = join(&above, &last);
        if self.things.contains_key(&path) {
            return Err(Error::Exists);
        }
        self.writable(&above)?;
        Ok(path)
    }

    pub(crate) fn create_directory(&mut self, at: Option<usize>, path: &str) -> Result<(), Error> {
        let path = self.new_name(at, path)?;
        self.things.insert(path, Thing::Directory);
        Ok(())
    }

    pub(crate) fn symlink(
        &mut self,
        target: &str,
        at: Option<usize>,
        path: &str,
    ) -> Result<(), Error> {
        let path = self.new_name(at, path)?;
        self.things.insert(path, Thing::Link(target.to_owned()));
        Ok(())
    }

    pub(crate) fn link(
        &mut self,
        from: (Option<usize>, &str, Follow),
        to: (Option<usize>, &str),
    ) -> Result<(), Error> {
        let old = self.find(from.0, from.1, from.2)?;
        let new = self.new_name(to.0, to.1)?;
        let old_volume = match &self.things[&old] {
            Thing::Directory => self.volume(&old),
            Thing::Link(_) | Thing::File(_) => self.volume(parent(&old)),
        };
        if old_volume != self.volume(parent(&new)) {
            return Err(Error::CrossDevice);
        }
        match self.things[&old].clone() {
            Thing::Directory => return Err(Error::NotPermitted),
            Thing::File(number) => {
                self.files.get_mut(&number).unwrap().links += 1;
                self.things.insert(new, Thing::File(number));
            }
            // The driver links no links: two names of one link have no place in this model.
            Thing::Link(_) => return Err(Error::Invalid),
        }
        Ok(())
    }

    /// Whether a path ends at a link: the driver then leaves linking alone.
    pub(crate) fn is_link(&self, handle: Option<usize>, path: &str, follow: Follow) -> bool {
        let found = self.find(handle, path, follow);
        found.is_ok_and(|path| matches!(self.things[&path], Thing::Link(_)))
    }

    pub(crate) fn unlink(&mut self, at: Option<usize>, path: &str) -> Result<(), Error> {
        if at.is_some_and(|at| self.handles[at] == Handle::Dead) {
            return Err(if path == "." {
                Error::IsDirectory
            } else {
                dead(path)
            });
        }
        let (above, last) = self.split(at, path)?;
        if last == "." || last == ".." {
            return Err(Error::IsDirectory);
        }
        self.writable(&above)?;
        let path = join(&above, &last);
        match self.things.get(&path) {
            None => Err(Error::NoEntry),
            Some(Thing::Directory) => Err(Error::IsDirectory),
            Some(_) => {
                self.remove(&path);
                Ok(())
            }
        }
    }

    fn remove(&mut self, path: &str) {
        match self.things.remove(path) {
            Some(Thing::File(number)) => {
                self.files.get_mut(&number).unwrap().links -= 1;
                self.collect(number);
            }
            Some(Thing::Directory) => {
                // One inode, however many handles: the first stays the dead one, the driver
                // opens no directory twice.
                for handle in &mut self.handles {
                    if *handle == Handle::Directory(path.to_owned()) {
                        *handle = Handle::Dead;
                    }
                }
            }
            Some(Thing::Link(_)) | None => {}
        }
    }

    pub(crate) fn remove_directory(&mut self, at: Option<usize>, path: &str) -> Result<(), Error> {
        if at.is_some_and(|at| self.handles[at] == Handle::Dead) {
            return Err(if path == "." {
                Error::Invalid
            } else {
                dead(path)
            });
        }
        let (above, last) = self.split(at, path)?;
        if last == "." {
            return Err(Error::Invalid);
        }
        if last == ".." {
            return Err(Error::NotEmpty);
        }
        self.writable(&above)?;
        let path = join(&above, &last);
        match self.things.get(&path) {
            None => Err(Error::NoEntry),
            Some(Thing::Directory) if self.pinned(&path) => Err(Error::Busy),
            Some(Thing::Directory) if self.has_entries(&path) => Err(Error::NotEmpty),
            Some(Thing::Directory) => {
                self.remove(&path);
                Ok(())
            }
            Some(_) => Err(Error::NotDirectory),
        }
    }

    pub(crate) fn rename(
        &mut self,
        from: (Option<usize>, &str),
        to: (Option<usize>, &str),
    ) -> Result<(), Error> {
        let (old_above, old_last) = self.split(from.0, from.1)?;
        let (new_above, new_last) = self.split(to.0, to.1)?;
        if self.volume(&old_above) != self.volume(&new_above) {
            return Err(Error::CrossDevice);
        }
        if [&old_last, &new_last]
            .iter()
            .any(|it| *it == "." || *it == "..")
        {
            return Err(Error::Busy);
        }
        self.writable(&old_above)?;
        let (old, new) = (join(&old_above, &old_last), join(&new_above, &new_last));
        let source = self.things.get(&old).ok_or(Error::NoEntry)?.clone();
        let is_directory = source == Thing::Directory;
        if is_directory && is_below(&new_above, &old) {
            return Err(Error::Invalid);
        }
        if let Some(target) = self.things.get(&new) {
            let same_file = matches!(target, Thing::File(_)) && *target == source;
            if old == new || same_file {
                return Ok(());
            }
            let onto_directory = *target == Thing::Directory;
            if onto_directory && is_below(&old_above, &new) {
                return Err(Error::NotEmpty);
            }
            match (is_directory, onto_directory) {
                (true, false) => return Err(Error::NotDirectory),
                (false, true) => return Err(Error::IsDirectory),
                (true, true) | (false, false) => {}
            }
            if self.pinned(&new) {
                return Err(Error::Busy);
            }
            if onto_directory && self.has_entries(&new) {
                return Err(Error::NotEmpty);
            }
        }
        if self.pinned(&old) && is_directory {
            return Err(Error::Busy);
        }
        self.remove(&new);
        let moved: Vec<String> = self
            .things
            .keys()
            .filter(|it| is_below(it, &old))
            .cloned()
            .collect();
        for path in moved {
            let thing = self.things.remove(&path).unwrap();
            self.things
                .insert(format!("{new}{}", &path[old.len()..]), thing);
        }
        for handle in &mut self.handles {
            if let Handle::Directory(path) = handle
                && is_below(path, &old)
            {
                *path = format!("{new}{}", &path[old.len()..]);
            }
        }
        Ok(())
    }

    /// The names in a directory, `.` and `..` left out.
    pub(crate) fn list(&self, handle: usize) -> Result<Vec<String>, Error> {
        match &self.handles[handle] {
            Handle::File(_) => Err(Error::NotDirectory),
            Handle::Dead => Ok(Vec::new()),
            Handle::Directory(path) => {
                let prefix = if path.is_empty() {
                    String::new()
                } else {
                    format!("{path}/")
                };
                let names = self
                    .things
                    .keys()
                    .filter_map(|key| key.strip_prefix(&prefix));
                let names = names.filter(|name| !name.is_empty() && !name.contains('/'));
                Ok(names.map(str::to_owned).collect())
            }
        }
    }

    pub(crate) fn read(&self, handle: usize, at: u64, length: usize) -> Result<Vec<u8>, Error> {
        let Handle::File(number) = self.handles[handle] else {
            return Err(Error::IsDirectory);
        };
        let content = &self.files[&number].content;
        let from = usize::try_from(at).unwrap().min(content.len());
        Ok(content[from..content.len().min(from + length)].to_vec())
    }

    /// A file's data, to be changed.
    pub(crate) fn data(&mut self, handle: usize) -> Result<&mut Data, Error> {
        match &self.handles[handle] {
            Handle::File(number) => Ok(self.files.get_mut(number).unwrap()),
            Handle::Directory(path) => Err(self.writable(path).err().unwrap_or(Error::IsDirectory)),
            Handle::Dead => Err(Error::IsDirectory),
        }
    }

    pub(crate) fn is_dead(&self, handle: Option<usize>) -> bool {
        handle.is_some_and(|handle| self.handles[handle] == Handle::Dead)
    }
}

/// What a name below a removed directory gives.
fn dead(path: &str) -> Error {
    if path.starts_with("..") {
        Error::NotPermitted
    } else {
        Error::NoEntry
    }
}
