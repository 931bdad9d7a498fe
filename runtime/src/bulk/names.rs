//! The names of the functions that are added, for messages about traps.

use wasm_encoder::Encode;
use wasmparser::BinaryReader;

use super::Result;
use super::section::{Section, parts};

/// The part of the section that names functions.
const FUNCTIONS: u8 = 1;

/// The content of a custom section with names for `added` functions, which come behind all that it
/// names; `None` where it is another one, or is not understood: nobody validates those.
pub(super) fn with(content: &[u8], added: &[(u32, &'static str)]) -> Option<Vec<u8>> {
    let mut reader = BinaryReader::new(content, 0);
    if reader.read_string().ok()? != "name" {
        return None;
    }
    let start = reader.current_position();
    let parts: Vec<Section<'_>> = parts(content.get(start..)?).collect::<Result<_>>().ok()?;
    let mut out = content.get(..start)?.to_vec();
    for part in parts {
        if part.id == FUNCTIONS {
            out.push(FUNCTIONS);
            appended(part, added)?.as_slice().encode(&mut out);
        } else {
            out.extend(part.whole);
        }
    }
    Some(out)
}

fn appended(part: Section<'_>, added: &[(u32, &'static str)]) -> Option<Vec<u8>> {
    let mut reader = part.reader();
    let count = reader.read_var_u32().ok()?;
    let mut out = Vec::with_capacity(part.content.len() + added.len() * 16);
    count
        .checked_add(u32::try_from(added.len()).ok()?)?
        .encode(&mut out);
    out.extend(reader.read_bytes(reader.bytes_remaining()).ok()?);
    for (function, name) in added {
        function.encode(&mut out);
        name.encode(&mut out);
    }
    Some(out)
}
