//! Paths in `spec.mounts`: canonical, so that one directory has one name.

use crate::field::FieldError;

/// The most bytes of one name in a path.
const MAX_NAME: usize = 255;
/// The most names of one path: far fewer than directories may nest in a VM's filesystem.
pub(crate) const MOST_NAMES: usize = 64;
/// The most bytes of a path.
const MAX_PATH: usize = 4_096;

/// What is wrong with the path of a mount.
pub(super) fn absolute(field: &str, path: &str) -> Result<(), FieldError> {
    let is_canonical = path == "/" || path.strip_prefix('/').is_some_and(is_canonical);
    if !is_canonical {
        let message = "must be an absolute path without ., .., // and control characters, not ending with /, such as /work";
        return Err(FieldError::new(field, message));
    }
    short(field, path)
}

/// What is wrong with a file's path below its mount.
pub(super) fn relative(field: &str, path: &str) -> Result<(), FieldError> {
    if !is_canonical(path) {
        let message = "must be a relative path without ., .., // and control characters, not ending with /, such as tls/server.crt";
        return Err(FieldError::new(field, message));
    }
    if path.starts_with("..") {
        let message = "must not begin with .., such names are the mount's own";
        return Err(FieldError::new(field, message));
    }
    short(field, path)
}

/// Names joined by `/`: none is empty, `.` or `..` or has control characters.
fn is_canonical(names: &str) -> bool {
    names
        .split('/')
        .all(|name| !matches!(name, "" | "." | "..") && !name.chars().any(|c| c.is_ascii_control()))
}

fn short(field: &str, path: &str) -> Result<(), FieldError> {
    let error = |message: String| Err(FieldError::new(field, message));
    if path.len() > MAX_PATH {
        return error(format!(
            "has {} bytes, at most {MAX_PATH} are allowed",
            path.len()
        ));
    }
    let names = path.split('/').filter(|name| !name.is_empty()).count();
    if names > MOST_NAMES {
        return error(format!(
            "has {names} names, at most {MOST_NAMES} are allowed"
        ));
    }
    let mut lengths = path.split('/').map(str::len);
    match lengths.find(|length| *length > MAX_NAME) {
        Some(length) => error(format!(
            "holds a name of {length} bytes, at most {MAX_NAME} are allowed"
        )),
        None => Ok(()),
    }
}
