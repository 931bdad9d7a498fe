//! What a component learns of a file, and how it sets a file's times.

use agentvm_vfs::{Error, Kind, Metadata, SetTime, Timestamp};
use sha2::{Digest as _, Sha256};
use wasmtime_wasi::p2::bindings::clocks::wall_clock::Datetime;
use wasmtime_wasi::p2::bindings::filesystem::types::{
    DescriptorStat, DescriptorType, MetadataHashValue, NewTimestamp,
};

const NANOS_PER_SECOND: u64 = 1_000_000_000;

pub(super) const fn descriptor_type(kind: Kind) -> DescriptorType {
    match kind {
        Kind::File => DescriptorType::RegularFile,
        Kind::Directory => DescriptorType::Directory,
        Kind::Symlink => DescriptorType::SymbolicLink,
    }
}

pub(super) fn stat(metadata: &Metadata) -> DescriptorStat {
    DescriptorStat {
        type_: descriptor_type(metadata.kind),
        link_count: metadata.links,
        size: metadata.size,
        data_access_timestamp: Some(datetime(metadata.accessed)),
        data_modification_timestamp: Some(datetime(metadata.modified)),
        status_change_timestamp: Some(datetime(metadata.changed)),
    }
}

fn datetime(time: Timestamp) -> Datetime {
    Datetime {
        seconds: time / NANOS_PER_SECOND,
        nanoseconds: u32::try_from(time % NANOS_PER_SECOND).unwrap_or_default(),
    }
}

/// Times beyond what the filesystem keeps saturate; a fraction of more than a second is no time.
pub(super) fn set_time(time: NewTimestamp) -> Result<SetTime, Error> {
    match time {
        NewTimestamp::NoChange => Ok(SetTime::Keep),
        NewTimestamp::Now => Ok(SetTime::Now),
        NewTimestamp::Timestamp(time) => {
            let nanos = u64::from(time.nanoseconds);
            if nanos >= NANOS_PER_SECOND {
                return Err(Error::Invalid);
            }
            let seconds = time.seconds.saturating_mul(NANOS_PER_SECOND);
            Ok(SetTime::At(seconds.saturating_add(nanos)))
        }
    }
}

/// What makes one VM's hashes useless to all others.
pub(in crate::preview2) type HashKey = [u8; 32];

/// Says which file it is, and stays the same while that file is changed: toolchains that go
/// through preview1 make it the inode number. Of the host there is nothing in it.
pub(super) fn hash(key: &HashKey, metadata: &Metadata) -> MetadataHashValue {
    let digest = Sha256::new()
        .chain_update(key)
        .chain_update(metadata.device.to_le_bytes())
        .chain_update(metadata.inode.to_le_bytes())
        .finalize();
    let half = |skipped| {
        digest
            .iter()
            .skip(skipped)
            .take(8)
            .fold(0, |bits, &byte| bits << 8 | u64::from(byte))
    };
    MetadataHashValue {
        lower: half(0),
        upper: half(8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(inode: u64) -> Metadata {
        Metadata {
            kind: Kind::File,
            device: 1,
            inode,
            links: 1,
            size: 3,
            accessed: 0,
            modified: 0,
            changed: 0,
        }
    }

    #[test]
    fn a_hash_is_of_one_file_in_one_vm() {
        let hash = |key, inode| {
            let MetadataHashValue { lower, upper } = hash(&[key; 32], &file(inode));
            (lower, upper)
        };
        assert_eq!(hash(1, 7), hash(1, 7));
        assert_ne!(hash(1, 7), hash(1, 8));
        assert_ne!(hash(1, 7), hash(2, 7));
        assert_ne!(hash(1, 7).0, hash(1, 7).1);
    }

    #[test]
    fn times_saturate_and_a_second_has_no_more_than_its_nanoseconds() {
        let at = |seconds, nanoseconds| {
            set_time(NewTimestamp::Timestamp(Datetime {
                seconds,
                nanoseconds,
            }))
        };
        assert_eq!(at(2, 5), Ok(SetTime::At(2_000_000_005)));
        assert_eq!(at(u64::MAX, 0), Ok(SetTime::At(u64::MAX)));
        assert_eq!(at(0, 1_000_000_000), Err(Error::Invalid));
        let back = datetime(2_000_000_005);
        assert_eq!((back.seconds, back.nanoseconds), (2, 5));
    }
}
