//! The gateway's directory, and the two sockets in it that this user alone can connect to.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use agentvm_cell_api::gateway::{API, CHANNELS};
use rustix::fs::FlockOperation;
use tokio::net::{UnixListener, UnixStream, unix};

/// The longest path of a Unix socket, its closing zero excluded.
const MAX_SOCKET_PATH_BYTES: usize = 107;

/// How long nobody is accepted after the kernel could not: it has no descriptor left, say.
const AFTER_FAILURE: Duration = Duration::from_millis(100);

/// Why the directory is not usable.
#[derive(Debug, thiserror::Error)]
pub enum DirError {
    /// Its path is too long for a socket in it.
    #[error("the socket's path {} has {got} bytes, and Unix sockets allow {MAX_SOCKET_PATH_BYTES}: choose a shorter --dir", path.display())]
    TooLong {
        /// The socket's path.
        path: PathBuf,
        /// Its length.
        got: usize,
    },
    /// Another gateway has it.
    #[error("--dir {} is in use by another gateway: give each its own", path.display())]
    InUse {
        /// Which one.
        path: PathBuf,
    },
    /// The kernel refused.
    #[error("--dir {} can't be used: make it a directory of this user, on a file system that is not read-only", path.display())]
    System {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Both sockets, listened on, and the lock that keeps their directory this process's.
#[derive(Debug)]
pub(crate) struct Sockets {
    pub(crate) api: StdListener,
    pub(crate) channels: StdListener,
    pub(crate) lock: File,
    /// Who may connect.
    pub(crate) user: u32,
}

impl Sockets {
    /// Makes the directory where it is missing, closes it to others, and listens in it.
    pub(crate) fn open(dir: &Path) -> Result<Self, DirError> {
        let system = |source| DirError::System {
            path: dir.to_owned(),
            source,
        };
        let dir = std::path::absolute(dir).map_err(system)?;
        for name in [API, CHANNELS] {
            fits(&dir.join(name))?;
        }
        private_directory(&dir).map_err(system)?;
        let lock = lock(&dir)?;
        Ok(Self {
            api: listen(&dir.join(API)).map_err(system)?,
            channels: listen(&dir.join(CHANNELS)).map_err(system)?,
            lock,
            user: rustix::process::geteuid().as_raw(),
        })
    }
}

fn fits(socket: &Path) -> Result<(), DirError> {
    let got = socket.as_os_str().len();
    if got > MAX_SOCKET_PATH_BYTES {
        return Err(DirError::TooLong {
            path: socket.to_owned(),
            got,
        });
    }
    Ok(())
}

fn private_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o700))
}

fn lock(dir: &Path) -> Result<File, DirError> {
    let system = |source| DirError::System {
        path: dir.to_owned(),
        source,
    };
    let lock = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(dir.join("lock"))
        .map_err(system)?;
    match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(lock),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(DirError::InUse {
            path: dir.to_owned(),
        }),
        Err(errno) => Err(system(errno.into())),
    }
}

/// Listens on a fresh socket. Its directory is closed to others already, so that the moment before
/// the mode is set is no window.
fn listen(path: &Path) -> io::Result<StdListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = StdListener::bind(path)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// A listener that hands out connections of this user's own processes alone, whatever a mode or
/// a mount has become.
#[derive(Debug)]
pub(crate) struct OwnUser {
    listener: UnixListener,
    user: u32,
}

impl OwnUser {
    /// Takes connections of `user` from `listener`. Called within a runtime.
    pub(crate) fn on(listener: StdListener, user: u32) -> io::Result<Self> {
        Ok(Self {
            listener: UnixListener::from_std(listener)?,
            user,
        })
    }

    /// The next connection.
    pub(crate) async fn next(&self) -> UnixStream {
        loop {
            match self.listener.accept().await {
                Ok((stream, _unnamed)) if self.is_ours(&stream) => return stream,
                Ok(_another_users) => {
                    tracing::warn!("a connection by another user was refused");
                }
                Err(error) => {
                    tracing::warn!(%error, "no connection can be accepted");
                    tokio::time::sleep(AFTER_FAILURE).await;
                }
            }
        }
    }

    fn is_ours(&self, stream: &UnixStream) -> bool {
        stream.peer_cred().is_ok_and(|peer| peer.uid() == self.user)
    }
}

impl axum::serve::Listener for OwnUser {
    type Io = UnixStream;
    type Addr = unix::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let stream = self.next().await;
            // Gone before it said a word.
            if let Ok(address) = stream.peer_addr() {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn nobody_else_enters_the_directory_or_connects_to_a_socket() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("gateway");
        std::fs::create_dir(&dir).unwrap();
        std::fs::set_permissions(&dir, Permissions::from_mode(0o755)).unwrap();
        let _sockets = Sockets::open(&dir).unwrap();
        assert_eq!(mode(&dir), 0o700);
        for name in [API, CHANNELS] {
            assert_eq!(mode(&dir.join(name)), 0o600, "{name}");
        }
    }

    #[test]
    fn a_directory_belongs_to_one_gateway_and_a_dead_ones_sockets_are_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let first = Sockets::open(dir.path()).unwrap();
        let second = Sockets::open(dir.path()).unwrap_err();
        assert!(matches!(second, DirError::InUse { .. }), "{second}");
        drop(first);
        Sockets::open(dir.path()).unwrap();
    }

    #[test]
    fn a_path_too_long_for_a_socket_is_refused_with_the_limit() {
        let long = Path::new("/tmp").join("x".repeat(100));
        let refused = Sockets::open(&long).unwrap_err();
        assert!(refused.to_string().contains("allow 107"), "{refused}");
        assert!(!long.exists());
    }

    #[tokio::test]
    async fn a_connection_of_another_user_is_closed_unheard() {
        let dir = tempfile::tempdir().unwrap();
        let sockets = Sockets::open(dir.path()).unwrap();
        let mut listener = OwnUser::on(sockets.channels, sockets.user).unwrap();
        let path = dir.path().join(CHANNELS);
        let ours = UnixStream::connect(&path).await.unwrap();
        listener.next().await;
        drop(ours);
        listener.user = u32::MAX;
        let theirs = UnixStream::connect(&path).await.unwrap();
        tokio::select! {
            _accepted = listener.next() => panic!("another user was heard"),
            readable = theirs.readable() => readable.unwrap(),
        }
        assert_eq!(theirs.try_read(&mut [0]).unwrap(), 0);
    }
}
