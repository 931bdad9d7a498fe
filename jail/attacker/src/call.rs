//! The system calls of an attacker, which no safe wrapper offers.
#![expect(
    unsafe_code,
    reason = "an attacker makes the system calls that no safe wrapper offers"
)]

use std::ffi::{CString, c_long, c_void};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use crate::outcome::tell;

/// A call: its name, its number, its arguments. Pointers among them are of live values, or null,
/// or of addresses where nothing is mapped.
pub type Call = (&'static str, c_long, [i64; 6]);

/// Makes each of `calls`, and tells what became of it.
pub fn make(calls: &[Call]) {
    for (name, number, arguments) in calls {
        call(name, || syscall(*number, *arguments));
    }
}

/// Tells what became of one attempt.
pub fn call(attempt: &str, attempt_it: impl FnOnce() -> Result<c_long, i32>) {
    tell(attempt, attempt_it().map(drop));
}

/// Opens a file.
pub fn open(attempt: &str, path: &Path, flags: i32) {
    let path = c_string(path);
    let arguments = [
        libc::AT_FDCWD.into(),
        pointer(&path),
        flags.into(),
        0o600,
        0,
        0,
    ];
    call(attempt, || syscall(libc::SYS_openat, arguments));
}

/// A result with the kernel's number for what went wrong.
pub fn raw<T>(result: io::Result<T>) -> Result<(), i32> {
    result
        .map(drop)
        .map_err(|error| error.raw_os_error().unwrap_or(0))
}

/// Makes a system call by its number.
pub fn syscall(number: c_long, arguments: [i64; 6]) -> Result<c_long, i32> {
    let [first, second, third, fourth, fifth, sixth] = arguments;
    // SAFETY: every pointer among the arguments was made from a live value of this process, or
    // is null; the calls are chosen so that they change nothing that this process still uses.
    let result = unsafe { libc::syscall(number, first, second, third, fourth, fifth, sixth) };
    if result == -1 {
        Err(io::Error::last_os_error().raw_os_error().unwrap_or(0))
    } else {
        Ok(result)
    }
}

/// A path as the kernel reads it.
pub fn c_string(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap()
}

/// Where it is.
pub fn pointer(text: &CString) -> i64 {
    number(text.as_ptr().cast())
}

/// Where a value is that the kernel may change.
pub fn address<T: ?Sized>(value: &mut T) -> i64 {
    number(std::ptr::from_mut(value).cast())
}

/// Where a value is that the kernel reads.
pub fn address_of<T: ?Sized>(value: &T) -> i64 {
    number(std::ptr::from_ref(value).cast())
}

fn number(pointer: *const c_void) -> i64 {
    i64::try_from(pointer.addr()).unwrap()
}

/// Ends the child of a fork that got through, before it runs anything of its parent's.
pub(crate) fn child_ends(made: Result<c_long, i32>) -> Result<c_long, i32> {
    if made == Ok(0) {
        // SAFETY: it takes no pointer, and does not come back.
        unsafe { libc::_exit(0) }
    }
    made
}
