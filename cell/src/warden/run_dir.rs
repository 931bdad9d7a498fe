//! The directory of the sockets, and the lock that keeps it one warden's.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

/// The longest path of a Unix socket, its closing zero excluded.
const MAX_SOCKET_PATH_BYTES: usize = 107;

/// Why the run directory is not usable.
#[derive(Debug, thiserror::Error)]
pub enum RunDirError {
    /// Its path is too long for a socket in it.
    #[error("the socket's path {} has {got} bytes, and Unix sockets allow {MAX_SOCKET_PATH_BYTES}: choose a shorter --run-dir", path.display())]
    TooLong {
        /// The socket's path.
        path: PathBuf,
        /// Its length.
        got: usize,
    },
    /// Another warden has it.
    #[error("--run-dir {} is in use by another warden: give each its own", path.display())]
    InUse {
        /// Which one.
        path: PathBuf,
    },
    /// The kernel refused.
    #[error("--run-dir {} can't be used", path.display())]
    System {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The locked run directory.
#[derive(Debug)]
pub(super) struct RunDir {
    path: PathBuf,
    _lock: File,
}

impl RunDir {
    /// Makes the directory where it is missing, and locks it as long as this lives.
    pub(super) fn open(path: &Path) -> Result<Self, RunDirError> {
        let path = std::path::absolute(path).map_err(|source| RunDirError::System {
            path: path.to_owned(),
            source,
        })?;
        fits(&path.join("warden.sock"))?;
        let failed = |source| RunDirError::System {
            path: path.clone(),
            source,
        };
        private_directory(&path).map_err(failed)?;
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.join("lock"))
            .map_err(failed)?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(RunDirError::InUse { path }),
            Err(errno) => return Err(failed(errno.into())),
        }
        // Sockets of a warden that was killed: nobody listens on them.
        match std::fs::remove_dir_all(path.join("cells")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            Ok(()) | Err(_) => {}
        }
        private_directory(&path.join("cells")).map_err(failed)?;
        Ok(Self { path, _lock: lock })
    }

    /// The warden's own socket.
    pub(super) fn socket(&self) -> PathBuf {
        self.path.join("warden.sock")
    }

    /// The socket of a namespace's cell.
    pub(super) fn cell_socket(&self, namespace: &str) -> Result<PathBuf, RunDirError> {
        let path = self.path.join("cells").join(format!("{namespace}.sock"));
        fits(&path)?;
        Ok(path)
    }

    /// Listens on the warden's socket.
    pub(super) fn listen(&self) -> io::Result<UnixListener> {
        listen(&self.socket())
    }
}

fn fits(socket: &Path) -> Result<(), RunDirError> {
    let got = socket.as_os_str().len();
    if got > MAX_SOCKET_PATH_BYTES {
        return Err(RunDirError::TooLong {
            path: socket.to_owned(),
            got,
        });
    }
    Ok(())
}

/// Listens on a fresh socket that only this user can connect to.
///
/// Its directory is closed to others, so that the moment before the mode is set is no window.
pub(super) fn listen(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Makes a directory that only this user can enter, with those above it.
pub(super) fn private_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o700))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_directory_belongs_to_one_warden() {
        let directory = tempfile::tempdir().unwrap();
        let first = RunDir::open(directory.path()).unwrap();
        let second = RunDir::open(directory.path()).unwrap_err();
        assert!(matches!(second, RunDirError::InUse { .. }), "{second}");
        drop(first);
        RunDir::open(directory.path()).unwrap();
    }

    #[test]
    fn a_path_too_long_for_a_socket_is_refused_with_the_limit() {
        let long = Path::new("/tmp").join("x".repeat(100));
        let refused = RunDir::open(&long).unwrap_err();
        assert!(refused.to_string().contains("allow 107"), "{refused}");
        assert!(!long.exists());
    }
}
