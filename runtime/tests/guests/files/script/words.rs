//! The numbers of preview1 that scripts are written with.

pub(in crate::files) const OK: i32 = 0;
pub(in crate::files) const ACCES: i32 = 2;
pub(in crate::files) const BADF: i32 = 8;
pub(in crate::files) const BUSY: i32 = 10;
pub(in crate::files) const DQUOT: i32 = 19;
pub(in crate::files) const EXIST: i32 = 20;
pub(in crate::files) const FAULT: i32 = 21;
pub(in crate::files) const FBIG: i32 = 22;
pub(in crate::files) const ILSEQ: i32 = 25;
pub(in crate::files) const INVAL: i32 = 28;
pub(in crate::files) const ISDIR: i32 = 31;
pub(in crate::files) const LOOP: i32 = 32;
pub(in crate::files) const MFILE: i32 = 33;
pub(in crate::files) const MLINK: i32 = 34;
pub(in crate::files) const NAMETOOLONG: i32 = 37;
pub(in crate::files) const NOENT: i32 = 44;
pub(in crate::files) const NOSPC: i32 = 51;
pub(in crate::files) const NOTDIR: i32 = 54;
pub(in crate::files) const NOTEMPTY: i32 = 55;
pub(in crate::files) const PERM: i32 = 63;
pub(in crate::files) const ROFS: i32 = 69;
pub(in crate::files) const XDEV: i32 = 75;
pub(in crate::files) const NOTCAPABLE: i32 = 76;

/// Flags of `path_open`.
pub(in crate::files) const CREATE: i64 = 1;
pub(in crate::files) const DIRECTORY: i64 = 2;
pub(in crate::files) const EXCLUSIVE: i64 = 4;
pub(in crate::files) const TRUNCATE: i64 = 8;

/// Rights.
pub(in crate::files) const READ: i64 = 1 << 1;
pub(in crate::files) const WRITE: i64 = 1 << 6;
pub(in crate::files) const BOTH: i64 = READ | WRITE;

/// Flags of a descriptor.
pub(in crate::files) const APPEND: i64 = 1;

/// The directory `/`.
pub(in crate::files) const ROOT: i64 = 3;
