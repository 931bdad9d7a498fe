//! Compiled code on disk, each entry authenticated: what this warden's key did not sign is
//! never loaded, only thrown away.
//!
//! An entry is `DIR/ENGINE/SHA256.code`: 32 bytes of HMAC-SHA256, one byte of kind, the code.
//! The MAC covers the engine's hash, the module's digest, the kind and the code, so that an
//! entry cannot stand in for another one either.

mod prune;

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use agentvm_cell_api::warden::ModuleKind;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::code::{Code, Draft};
use super::digest::Digest;
use super::key::Key;

const MAC_BYTES: usize = 32;
const DOMAIN: &[u8] = b"agentvm compiled code 1";

/// What looking an entry up yields.
#[derive(Debug)]
pub(super) enum Lookup {
    /// The code, verified and sealed.
    Found(Code),
    /// There is no entry.
    Missing,
    /// There was one that is not ours or was altered; it is gone now.
    Rejected,
}

/// The entries of one engine.
#[derive(Debug)]
pub(super) struct Cache {
    directory: PathBuf,
    engine: String,
    key: Key,
    bounds: Bounds,
}

/// How much the cache takes in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Bytes of code in one entry.
    pub(super) code_bytes: u64,
    /// Bytes of all entries, of whatever engine.
    pub(super) total_bytes: u64,
}

impl Cache {
    /// The entries under `root` of the engine with this hash.
    pub(super) fn new(root: &Path, engine: &str, key: Key, bounds: Bounds) -> Self {
        let directory = root.join(engine);
        Self {
            directory,
            engine: engine.to_owned(),
            key,
            bounds,
        }
    }

    /// Reads an entry into sealed memory and verifies what it has read. Blocks.
    pub(super) fn load(&self, digest: &Digest) -> io::Result<Lookup> {
        let path = self.path(digest);
        let opened = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&path);
        let file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Lookup::Missing),
            Err(_unreadable) => return self.reject(&path),
        };
        match self.verify(file, digest)? {
            Some(code) => Ok(Lookup::Found(code)),
            None => self.reject(&path),
        }
    }

    /// Writes an entry; readers see the whole of it or none. Blocks.
    pub(super) fn store(&self, digest: &Digest, code: &Code) -> io::Result<()> {
        super::run_dir::private_directory(&self.directory)?;
        let mut mac = self.mac(digest, code.kind);
        code.sealed.read(|piece| {
            mac.update(piece);
            Ok(())
        })?;
        let draft = self
            .directory
            .join(format!("{digest}.{}", std::process::id()));
        let written = write(&draft, &mac.finalize().into_bytes(), code)
            .and_then(|()| std::fs::rename(&draft, self.path(digest)));
        if written.is_err() {
            let _gone_already = std::fs::remove_file(&draft);
        }
        written?;
        let root = self.directory.parent().unwrap_or(&self.directory);
        prune::prune(root, self.bounds.total_bytes)
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.directory.join(format!("{digest}.code"))
    }

    fn reject(&self, path: &Path) -> io::Result<Lookup> {
        tracing::warn!(entry = %path.display(), engine = %self.engine, "cache entry is altered or foreign: compiled anew");
        std::fs::remove_file(path)?;
        Ok(Lookup::Rejected)
    }

    fn mac(&self, digest: &Digest, kind: ModuleKind) -> Hmac<Sha256> {
        // HMAC pads a key to its block with zeros itself; done here, there is nothing to fail.
        let mut block = hmac::digest::Key::<Hmac<Sha256>>::default();
        block
            .iter_mut()
            .zip(self.key.bytes())
            .for_each(|(to, from)| *to = *from);
        let mut mac = <Hmac<Sha256> as Mac>::new(&block);
        mac.update(DOMAIN);
        // Both have a fixed length for one engine, so no boundary is ambiguous.
        mac.update(self.engine.as_bytes());
        mac.update(&[0]);
        mac.update(digest.as_str().as_bytes());
        mac.update(&[kind_byte(kind)]);
        mac
    }

    /// Copies first and verifies the copy, so that a change of the file meanwhile does not matter.
    fn verify(&self, mut file: File, digest: &Digest) -> io::Result<Option<Code>> {
        let facts = file.metadata()?;
        let mut head = [0; MAC_BYTES + 1];
        let max_bytes = self
            .bounds
            .code_bytes
            .saturating_add(u64::try_from(head.len()).unwrap_or(0));
        if !facts.is_file() || facts.len() > max_bytes {
            return Ok(None);
        }
        match file.read_exact(&mut head) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        let [signed @ .., kind] = head;
        let Some(kind) = kind_of_byte(kind) else {
            return Ok(None);
        };
        let mut draft = Draft::new("code")?;
        let mut mac = self.mac(digest, kind);
        let mut chunk = vec![0; 256 << 10];
        loop {
            let read = file.read(&mut chunk)?;
            let Some(piece) = chunk.get(..read).filter(|piece| !piece.is_empty()) else {
                break;
            };
            mac.update(piece);
            draft.write_all(piece)?;
        }
        if mac.verify_slice(&signed).is_err() {
            return Ok(None);
        }
        // When it was used last; a cache that can't be written is still one to read.
        let _read_only = file.set_modified(SystemTime::now());
        Ok(Some(Code {
            kind,
            sealed: draft.seal()?,
        }))
    }
}

fn write(path: &Path, mac: &[u8], code: &Code) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(mac)?;
    file.write_all(&[kind_byte(code.kind)])?;
    code.sealed.read(|piece| file.write_all(piece))
}

fn kind_byte(kind: ModuleKind) -> u8 {
    match kind {
        ModuleKind::Core => 1,
        ModuleKind::Component => 2,
    }
}

fn kind_of_byte(byte: u8) -> Option<ModuleKind> {
    [ModuleKind::Core, ModuleKind::Component]
        .into_iter()
        .find(|kind| kind_byte(*kind) == byte)
}

/// What `sealed` holds, for tests of the cache.
#[cfg(test)]
fn contents(sealed: &super::code::Sealed) -> Vec<u8> {
    let mut bytes = Vec::new();
    sealed
        .read(|piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        })
        .unwrap();
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: Bounds = Bounds {
        code_bytes: 1 << 20,
        total_bytes: 1 << 20,
    };

    fn code(bytes: &[u8]) -> Code {
        let mut draft = Draft::new("test").unwrap();
        draft.write_all(bytes).unwrap();
        Code {
            kind: ModuleKind::Component,
            sealed: draft.seal().unwrap(),
        }
    }

    fn digest(of: &[u8]) -> Digest {
        Digest::of(of)
    }

    fn cache(root: &Path) -> Cache {
        Cache::new(root, "engine-a", Key::from_bytes([7; 32]), MAX)
    }

    #[test]
    fn an_entry_comes_back_as_it_was_stored() {
        let root = tempfile::tempdir().unwrap();
        cache(root.path())
            .store(&digest(b"m"), &code(b"native"))
            .unwrap();
        let Lookup::Found(found) = cache(root.path()).load(&digest(b"m")).unwrap() else {
            panic!("it is not there");
        };
        assert_eq!(found.kind, ModuleKind::Component);
        assert_eq!(contents(&found.sealed), b"native");
    }

    #[test]
    fn e04_an_entry_with_any_byte_altered_is_rejected_and_removed() {
        let root = tempfile::tempdir().unwrap();
        let cache = cache(root.path());
        let path = cache.path(&digest(b"m"));
        for position in 0..MAC_BYTES + 1 + b"native".len() {
            cache.store(&digest(b"m"), &code(b"native")).unwrap();
            let mut bytes = std::fs::read(&path).unwrap();
            bytes[position] ^= 1;
            std::fs::write(&path, bytes).unwrap();
            assert!(
                matches!(cache.load(&digest(b"m")).unwrap(), Lookup::Rejected),
                "{position}"
            );
            assert!(!path.exists());
        }
    }

    #[test]
    fn e04_an_entry_is_not_taken_for_another_module_engine_or_key() {
        let root = tempfile::tempdir().unwrap();
        let ours = cache(root.path());
        ours.store(&digest(b"m"), &code(b"native")).unwrap();
        let entry = std::fs::read(ours.path(&digest(b"m"))).unwrap();
        let other_engine = Cache::new(root.path(), "engine-b", Key::from_bytes([7; 32]), MAX);
        let other_key = Cache::new(root.path(), "engine-c", Key::from_bytes([8; 32]), MAX);
        for (cache, digest) in [
            (&ours, digest(b"other")),
            (&other_engine, digest(b"m")),
            (&other_key, digest(b"m")),
        ] {
            std::fs::create_dir_all(&cache.directory).unwrap();
            std::fs::write(cache.path(&digest), &entry).unwrap();
            assert!(matches!(cache.load(&digest).unwrap(), Lookup::Rejected));
        }
    }

    #[test]
    fn an_entry_cut_short_or_empty_is_rejected() {
        let root = tempfile::tempdir().unwrap();
        let cache = cache(root.path());
        for length in [0, 1, MAC_BYTES, MAC_BYTES + 1] {
            cache.store(&digest(b"m"), &code(b"native")).unwrap();
            let path = cache.path(&digest(b"m"));
            let entry = std::fs::read(&path).unwrap();
            std::fs::write(&path, &entry[..length]).unwrap();
            assert!(
                matches!(cache.load(&digest(b"m")).unwrap(), Lookup::Rejected),
                "{length}"
            );
        }
    }

    #[test]
    fn a_symlink_in_the_cache_is_not_followed() {
        let root = tempfile::tempdir().unwrap();
        let cache = cache(root.path());
        cache.store(&digest(b"m"), &code(b"native")).unwrap();
        let path = cache.path(&digest(b"m"));
        let elsewhere = root.path().join("elsewhere");
        std::fs::rename(&path, &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        assert!(matches!(
            cache.load(&digest(b"m")).unwrap(),
            Lookup::Rejected
        ));
        assert!(elsewhere.exists());
    }
    #[test]
    fn an_entry_as_large_as_allowed_is_kept_and_a_larger_one_rejected() {
        let root = tempfile::tempdir().unwrap();
        let bounded = |code_bytes| {
            let bounds = Bounds {
                code_bytes,
                total_bytes: 1 << 20,
            };
            Cache::new(root.path(), "engine-a", Key::from_bytes([7; 32]), bounds)
        };
        let six = 6;
        bounded(six).store(&digest(b"m"), &code(b"native")).unwrap();
        assert!(matches!(
            bounded(six).load(&digest(b"m")).unwrap(),
            Lookup::Found(_)
        ));
        assert!(matches!(
            bounded(six - 1).load(&digest(b"m")).unwrap(),
            Lookup::Rejected
        ));
    }

    #[test]
    fn a_full_cache_makes_room() {
        let root = tempfile::tempdir().unwrap();
        let bounds = Bounds {
            code_bytes: 100,
            total_bytes: 100,
        };
        let cache = Cache::new(root.path(), "engine-a", Key::from_bytes([7; 32]), bounds);
        for name in [b"a", b"b", b"c"] {
            cache.store(&digest(name), &code(b"native")).unwrap();
        }
        let left = std::fs::read_dir(&cache.directory).unwrap().count();
        assert_eq!(left, 2, "three entries of 39 bytes are more than 100");
    }
}
