//! Who this agent is: the machine's boot, and the run directory that it alone works in.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// Why an agent can't be sure of who it is.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file that proves it can't be used.
    #[error("{path} can't be used: {source}", path = path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What went wrong.
        source: std::io::Error,
    },
    /// Another agent works in the same run directory.
    #[error("another node agent works in {dir}: stop it, or give this one another --run-dir", dir = dir.display())]
    Locked {
        /// The run directory.
        dir: PathBuf,
    },
}

/// The proof that this agent alone works in its run directory; holds while it lives.
#[derive(Debug)]
pub struct Identity {
    /// `<boot id>_<random>`: the random part belongs to the run directory, so that an agent that
    /// is started again there is the same one.
    pub holder: String,
    _lock: File,
}

impl Identity {
    /// The identity of an agent that works in `run_dir`.
    pub fn of(run_dir: &Path) -> Result<Self, IdentityError> {
        let path = run_dir.join("agent.id");
        let at = |source| IdentityError::File {
            path: path.clone(),
            source,
        };
        // The warden makes it as well; who comes first is nobody's choice.
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(run_dir)
            .map_err(at)?;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(at)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|_held| {
            IdentityError::Locked {
                dir: run_dir.to_owned(),
            }
        })?;
        let random = own_random(&mut file).map_err(at)?;
        let boot = boot_id()?;
        Ok(Self {
            holder: format!("{boot}_{random}"),
            _lock: file,
        })
    }
}

/// What stands in the file, or a new random name that is written there.
fn own_random(file: &mut File) -> std::io::Result<String> {
    let mut text = String::new();
    file.take(64).read_to_string(&mut text)?;
    let known = text.trim();
    if known.len() == 32 && known.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(known.to_owned());
    }
    let new = std::fs::read_to_string("/proc/sys/kernel/random/uuid")?
        .trim()
        .replace('-', "");
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(new.as_bytes())?;
    file.sync_all()?;
    Ok(new)
}

fn boot_id() -> Result<String, IdentityError> {
    let path = PathBuf::from("/proc/sys/kernel/random/boot_id");
    let text =
        std::fs::read_to_string(&path).map_err(|source| IdentityError::File { path, source })?;
    Ok(text.trim().to_owned())
}
