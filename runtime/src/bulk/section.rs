//! The sections of a module or component, as bytes.

use wasmparser::BinaryReader;

use super::{CutError, Result};

/// What stands before the first section.
pub(super) const HEADER_BYTES: usize = 8;
/// The bytes of a size that is written before what it is the size of.
const SIZE_BYTES: usize = 5;

/// One section.
#[derive(Clone, Copy, Debug)]
pub(super) struct Section<'a> {
    pub(super) id: u8,
    pub(super) content: &'a [u8],
    /// With its number and size.
    pub(super) whole: &'a [u8],
}

impl<'a> Section<'a> {
    pub(super) fn reader(&self) -> BinaryReader<'a> {
        BinaryReader::new(self.content, 0)
    }
}

/// The sections of `wasm`, in their order.
pub(super) fn sections(wasm: &[u8]) -> impl Iterator<Item = Result<Section<'_>>> {
    parts(wasm.get(HEADER_BYTES..).unwrap_or_default())
}

/// Whatever is written as a number, a size, and so many bytes.
pub(super) fn parts(all: &[u8]) -> impl Iterator<Item = Result<Section<'_>>> {
    let mut reader = BinaryReader::new(all, 0);
    std::iter::from_fn(move || (!reader.eof()).then(|| next(&mut reader, all)))
}

fn next<'a>(reader: &mut BinaryReader<'a>, all: &'a [u8]) -> Result<Section<'a>> {
    let start = reader.current_position();
    let id = reader.read_u8()?;
    let mut content = reader.read_reader()?;
    Ok(Section {
        id,
        content: content.read_bytes(content.bytes_remaining())?,
        whole: between(all, start, reader.current_position())?,
    })
}

/// The bytes from `start` to `end`.
pub(super) fn between(bytes: &[u8], start: usize, end: usize) -> Result<&[u8]> {
    let found = bytes.get(start..end);
    found.ok_or(CutError::Odd("a part is not where it was found"))
}

/// Writes a section whose content `content` writes, without holding it twice.
pub(super) fn write(
    out: &mut Vec<u8>,
    id: u8,
    content: impl FnOnce(&mut Vec<u8>) -> Result<()>,
) -> Result<()> {
    out.push(id);
    let size_at = out.len();
    out.extend([0; SIZE_BYTES]);
    let start = out.len();
    content(out)?;
    let size = u32::try_from(out.len() - start);
    let size = size.map_err(|_too_large| CutError::Odd("a section is larger than 4 GiB"))?;
    if let Some(place) = out.get_mut(size_at..start) {
        place.copy_from_slice(&in_five_bytes(size));
    }
    Ok(())
}

/// `number` in as many bytes as any number takes at most.
fn in_five_bytes(number: u32) -> [u8; SIZE_BYTES] {
    let group = |shift: u32, more: u32| {
        let [low, ..] = (((number >> shift) & 0x7f) | more).to_le_bytes();
        low
    };
    [
        group(0, 0x80),
        group(7, 0x80),
        group(14, 0x80),
        group(21, 0x80),
        group(28, 0),
    ]
}
