//! What is told of a file, and how its times are set.

use agentvm_vfs::{Kind, Metadata, SetTime};

use super::errno::Errno;

/// Bytes of one `filestat`.
const BYTES: usize = 64;

/// The times are given, or are now.
const ATIM: u32 = 1;
const ATIM_NOW: u32 = 1 << 1;
const MTIM: u32 = 1 << 2;
const MTIM_NOW: u32 = 1 << 3;

/// The number of a kind of file.
pub(super) const fn filetype(kind: Kind) -> u8 {
    match kind {
        Kind::Directory => 3,
        Kind::File => 4,
        Kind::Symlink => 7,
    }
}

/// `metadata` as a guest reads it; its padding is zero.
pub(super) fn filestat(metadata: &Metadata) -> [u8; BYTES] {
    let Metadata {
        kind,
        device,
        inode,
        links,
        size,
        accessed,
        modified,
        changed,
    } = *metadata;
    let kind = u64::from(filetype(kind));
    let fields = [
        device, inode, kind, links, size, accessed, modified, changed,
    ];
    let mut stat = [0; BYTES];
    for (place, field) in stat.chunks_exact_mut(8).zip(fields) {
        place.copy_from_slice(&field.to_le_bytes());
    }
    stat
}

/// What the access and modification times are set to.
///
/// # Errors
///
/// INVAL where a time is to be both given and now, and for flags that don't exist.
pub(super) fn times(accessed: u64, modified: u64, flags: u32) -> Result<(SetTime, SetTime), Errno> {
    if flags & !(ATIM | ATIM_NOW | MTIM | MTIM_NOW) != 0 {
        return Err(Errno::INVAL);
    }
    Ok((
        time(accessed, flags & ATIM != 0, flags & ATIM_NOW != 0)?,
        time(modified, flags & MTIM != 0, flags & MTIM_NOW != 0)?,
    ))
}

fn time(at: u64, given: bool, now: bool) -> Result<SetTime, Errno> {
    match (given, now) {
        (false, false) => Ok(SetTime::Keep),
        (true, false) => Ok(SetTime::At(at)),
        (false, true) => Ok(SetTime::Now),
        (true, true) => Err(Errno::INVAL),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_given_or_now_or_stays() {
        use SetTime::{At, Keep, Now};
        for (flags, expected) in [
            (0, Ok((Keep, Keep))),
            (ATIM, Ok((At(1), Keep))),
            (ATIM_NOW | MTIM, Ok((Now, At(2)))),
            (MTIM_NOW, Ok((Keep, Now))),
            (ATIM | ATIM_NOW, Err(Errno::INVAL)),
            (MTIM | MTIM_NOW, Err(Errno::INVAL)),
            (1 << 4, Err(Errno::INVAL)),
        ] {
            assert_eq!(times(1, 2, flags), expected, "{flags:#b}");
        }
    }

    #[test]
    fn every_field_has_its_place() {
        let stat = filestat(&Metadata {
            kind: Kind::File,
            device: 1,
            inode: 2,
            links: 5,
            size: 6,
            accessed: 7,
            modified: 8,
            changed: 9,
        });
        let words: Vec<_> = stat.chunks(8).map(|word| word[0]).collect();
        assert_eq!(words, [1, 2, 4, 5, 6, 7, 8, 9]);
        assert_eq!(stat.iter().map(|byte| u32::from(*byte)).sum::<u32>(), 42);
    }
}
