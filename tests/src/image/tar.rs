//! The tar format, as far as images need it: plain files and their folders, owned by root.

use std::collections::BTreeSet;
use std::io::Write as _;

use anyhow::ensure;

use super::File;
use crate::Result;

const BLOCK: usize = 512;

/// An archive of `files`, in their order, each after its folders.
pub(super) fn archive(files: &[File]) -> Result<Vec<u8>> {
    let mut archive = Vec::new();
    let mut folders = BTreeSet::new();
    for file in files {
        for folder in folders_of(&file.path) {
            if folders.insert(folder) {
                header(&mut archive, &format!("{folder}/"), 0o755, 0, b'5')?;
            }
        }
        header(&mut archive, &file.path, file.mode, file.bytes.len(), b'0')?;
        archive.extend_from_slice(&file.bytes);
        archive.resize(archive.len().next_multiple_of(BLOCK), 0);
    }
    archive.resize(archive.len() + 2 * BLOCK, 0);
    Ok(archive)
}

fn folders_of(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').filter_map(|(at, _)| path.get(..at))
}

fn header(archive: &mut Vec<u8>, path: &str, mode: u32, bytes: usize, kind: u8) -> Result<()> {
    ensure!(
        path.len() < 100,
        "the path {path:?} is too long for a tar header"
    );
    let mut block = Vec::with_capacity(BLOCK);
    write!(
        block,
        "{path:\0<100}{mode:07o}\0{owner:07o}\0{owner:07o}\0",
        owner = 0
    )?;
    write!(block, "{bytes:011o}\0{time:011o}\0", time = 0)?;
    // The checksum counts itself as blanks.
    write!(block, "{:8}", "")?;
    block.push(kind);
    block.resize(257, 0);
    block.extend_from_slice(b"ustar\x0000");
    block.resize(BLOCK, 0);
    let sum: u64 = block.iter().copied().map(u64::from).sum();
    archive.extend_from_slice(block.get(..148).unwrap_or_default());
    write!(archive, "{sum:06o}\0 ")?;
    archive.extend_from_slice(block.get(156..).unwrap_or_default());
    Ok(())
}
