//! The key that authenticates compiled code: random, made at the first start, this user's only.

use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rand::TryRngCore;

/// The key's length.
const KEY_BYTES: usize = 32;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file can't be read or written.
    #[error("the cache's key {} can't be used", path.display())]
    System {
        /// Where it is.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others could have read or replaced it, or it was cut.
    #[error("the cache's key {} must be a file of {KEY_BYTES} bytes that only its owner can read (mode 0600): remove it, and every module is compiled anew", path.display())]
    Unsafe {
        /// Where it is.
        path: PathBuf,
    },
    /// The kernel has no randomness.
    #[error("the kernel gives no random bytes")]
    Random(#[source] rand::rand_core::OsError),
}

/// The secret. Never shown, not even in debug output.
#[derive(Clone)]
pub(super) struct Key([u8; KEY_BYTES]);

impl std::fmt::Debug for Key {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Key(..)")
    }
}

impl Key {
    /// The secret bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// A key that no file holds.
    #[cfg(test)]
    pub(super) fn from_bytes(bytes: [u8; KEY_BYTES]) -> Self {
        Self(bytes)
    }
}

/// Reads `directory/key`, or makes it where it is missing.
pub(super) fn load_or_make(directory: &Path) -> Result<Key, KeyError> {
    let path = directory.join("key");
    let failed = |source| KeyError::System {
        path: path.clone(),
        source,
    };
    match load(&path) {
        Err(KeyError::System { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
        loaded => return loaded,
    }
    let mut bytes = [0; KEY_BYTES];
    rand::rngs::OsRng
        .try_fill_bytes(&mut bytes)
        .map_err(KeyError::Random)?;
    let draft = directory.join(format!("key.{}", std::process::id()));
    write_new(&draft, &bytes).map_err(failed)?;
    // A link never replaces: of two wardens that start at once, one's key holds for both.
    let linked = std::fs::hard_link(&draft, &path);
    std::fs::remove_file(&draft).map_err(failed)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(failed(error)),
        Ok(()) | Err(_) => load(&path),
    }
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn load(path: &Path) -> Result<Key, KeyError> {
    let failed = |source| KeyError::System {
        path: path.to_owned(),
        source,
    };
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
        .map_err(failed)?;
    let facts = file.metadata().map_err(failed)?;
    let own = facts.uid() == rustix::process::geteuid().as_raw();
    let unsafe_key = || KeyError::Unsafe {
        path: path.to_owned(),
    };
    if !own || facts.mode() & 0o077 != 0 || !facts.is_file() {
        return Err(unsafe_key());
    }
    let mut bytes = Vec::with_capacity(KEY_BYTES + 1);
    (&file).take(64).read_to_end(&mut bytes).map_err(failed)?;
    bytes
        .try_into()
        .map(Key)
        .map_err(|_wrong_length| unsafe_key())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_key_is_made_once_and_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let first = load_or_make(directory.path()).unwrap();
        let second = load_or_make(directory.path()).unwrap();
        assert_eq!(first.bytes(), second.bytes());
        assert_ne!(first.bytes(), [0; KEY_BYTES]);
        let mode = std::fs::metadata(directory.path().join("key"))
            .unwrap()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        load_or_make(directory.path()).unwrap();
        let path = directory.path().join("key");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let refused = load_or_make(directory.path()).unwrap_err();
        assert!(matches!(refused, KeyError::Unsafe { .. }), "{refused}");
    }

    #[test]
    fn a_cut_key_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        write_new(&directory.path().join("key"), b"short").unwrap();
        let refused = load_or_make(directory.path()).unwrap_err();
        assert!(matches!(refused, KeyError::Unsafe { .. }), "{refused}");
    }
}
