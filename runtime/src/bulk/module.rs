//! One core module: what rewriting it takes to know, and the sections that change.

use std::collections::BTreeSet;

use wasm_encoder::Encode;
use wasmparser::{
    CodeSectionReader, CompositeInnerType, DataKind, DataSectionReader, FunctionSectionReader,
    ImportSectionReader, TypeRef, TypeSectionReader,
};

use super::body::{Rewriting, find};
use super::loops::{ARGUMENTS, Bulk};
use super::section::{self, Section};
use super::{CutError, Result, names};

const CUSTOM: u8 = 0;
const TYPE: u8 = 1;
const IMPORT: u8 = 2;
const FUNCTION: u8 = 3;
const CODE: u8 = 10;
const DATA: u8 = 11;
/// What the type of a function begins with.
const FUNCTION_TYPE: u8 = 0x60;

/// A module that is looked at.
pub(super) struct Module<'a> {
    sections: Vec<Section<'a>>,
    piece: u32,
    /// How many parameters each type has.
    parameters: Vec<u32>,
    imported: u32,
    /// The type of each function that it defines.
    functions: Vec<u32>,
    /// How many bytes each segment of data has for `memory.init`.
    segments: Vec<u32>,
    /// What is cut in it.
    bulks: BTreeSet<Bulk>,
}

impl<'a> Module<'a> {
    pub(super) fn of(sections: Vec<Section<'a>>, piece: u32) -> Result<Self> {
        let mut module = Self {
            sections: Vec::new(),
            piece,
            parameters: Vec::new(),
            imported: 0,
            functions: Vec::new(),
            segments: Vec::new(),
            bulks: BTreeSet::new(),
        };
        for section in &sections {
            match section.id {
                TYPE => module.read_types(section)?,
                IMPORT => module.read_imports(section)?,
                FUNCTION => module.read_functions(section)?,
                DATA => module.read_data(section)?,
                _ => {}
            }
        }
        // The code comes before the data, and what is cut depends on them.
        for code in sections.iter().filter(|section| section.id == CODE) {
            module.read_code(code)?;
        }
        module.sections = sections;
        Ok(module)
    }

    pub(super) fn is_to_be_cut(&self) -> bool {
        !self.bulks.is_empty()
    }

    fn read_types(&mut self, section: &Section<'_>) -> Result<()> {
        for group in TypeSectionReader::new(section.reader())? {
            for ty in group?.types() {
                let parameters = match &ty.composite_type.inner {
                    CompositeInnerType::Func(ty) => ty.params().len(),
                    CompositeInnerType::Array(_)
                    | CompositeInnerType::Struct(_)
                    | CompositeInnerType::Cont(_) => 0,
                };
                self.parameters.push(number(parameters)?);
            }
        }
        Ok(())
    }

    fn read_imports(&mut self, section: &Section<'_>) -> Result<()> {
        for import in ImportSectionReader::new(section.reader())?.into_imports() {
            let function = matches!(import?.ty, TypeRef::Func(_) | TypeRef::FuncExact(_));
            self.imported += u32::from(function);
        }
        Ok(())
    }

    fn read_functions(&mut self, section: &Section<'_>) -> Result<()> {
        for ty in FunctionSectionReader::new(section.reader())? {
            self.functions.push(ty?);
        }
        Ok(())
    }

    fn read_data(&mut self, section: &Section<'_>) -> Result<()> {
        for segment in DataSectionReader::new(section.reader())? {
            let segment = segment?;
            self.segments.push(match segment.kind {
                DataKind::Passive => number(segment.data.len())?,
                DataKind::Active { .. } => 0, // it is dropped once it was written
            });
        }
        Ok(())
    }

    fn read_code(&mut self, section: &Section<'_>) -> Result<()> {
        for body in CodeSectionReader::new(section.reader())? {
            find(&body?, &self.segments, self.piece, |_, bulk, _| {
                self.bulks.insert(bulk);
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Writes the module without its header.
    pub(super) fn write(&self, out: &mut Vec<u8>) -> Result<()> {
        for part in &self.sections {
            match part.id {
                TYPE => write_types(out, part)?,
                FUNCTION => self.write_functions(out, part)?,
                CODE => self.write_code(out, part)?,
                CUSTOM => self.write_custom(out, part)?,
                _ => out.extend(part.whole),
            }
        }
        Ok(())
    }

    fn write_functions(&self, out: &mut Vec<u8>, part: &Section<'_>) -> Result<()> {
        let loop_type = number(self.parameters.len())?;
        section::write(out, FUNCTION, |out| {
            append(out, part, number(self.bulks.len())?)?;
            for _ in &self.bulks {
                loop_type.encode(out);
            }
            Ok(())
        })
    }

    fn write_code(&self, out: &mut Vec<u8>, part: &Section<'_>) -> Result<()> {
        let bodies = CodeSectionReader::new(part.reader())?;
        let rewriting = Rewriting {
            segments: &self.segments,
            piece: self.piece,
            loop_type: number(self.parameters.len())?,
            function: |bulk| self.function_of(bulk),
        };
        section::write(out, CODE, |out| {
            more(bodies.count(), number(self.bulks.len())?)?.encode(out);
            for (body, ty) in bodies.into_iter().zip(&self.functions) {
                let parameters = usize::try_from(*ty).ok();
                let parameters = parameters.and_then(|ty| self.parameters.get(ty));
                let parameters = parameters.ok_or(CutError::Odd("a function has no type"))?;
                rewriting.write(out, &body?, *parameters)?;
            }
            for bulk in &self.bulks {
                bulk.function(self.piece).encode(out);
            }
            Ok(())
        })
    }

    fn write_custom(&self, out: &mut Vec<u8>, part: &Section<'_>) -> Result<()> {
        let added = self
            .bulks
            .iter()
            .map(|bulk| Ok((self.function_of(*bulk)?, bulk.name())));
        let added = added.collect::<Result<Vec<_>>>()?;
        let Some(content) = names::with(part.content, &added) else {
            out.extend(part.whole);
            return Ok(());
        };
        section::write(out, CUSTOM, |out| {
            out.extend(content);
            Ok(())
        })
    }

    /// The number of the function that does `bulk`.
    fn function_of(&self, bulk: Bulk) -> Result<u32> {
        let own = more(self.imported, number(self.functions.len())?)?;
        let place = self.bulks.iter().position(|other| *other == bulk);
        let place = place.ok_or(CutError::Odd("an instruction was not there before"))?;
        more(own, number(place)?)
    }
}

/// Writes the types and that of the functions that are added.
fn write_types(out: &mut Vec<u8>, part: &Section<'_>) -> Result<()> {
    section::write(out, TYPE, |out| {
        append(out, part, 1)?;
        out.push(FUNCTION_TYPE);
        for types in [ARGUMENTS, ARGUMENTS] {
            number(types.len())?.encode(out);
            for ty in types {
                ty.encode(out);
            }
        }
        Ok(())
    })
}

/// Writes that `part` has `added` entries more, and those that it has.
fn append(out: &mut Vec<u8>, part: &Section<'_>, added: u32) -> Result<()> {
    let mut reader = part.reader();
    more(reader.read_var_u32()?, added)?.encode(out);
    out.extend(reader.read_bytes(reader.bytes_remaining())?);
    Ok(())
}

fn more(count: u32, added: u32) -> Result<u32> {
    let sum = count.checked_add(added);
    sum.ok_or(CutError::Odd("it has too many entries"))
}

fn number(count: usize) -> Result<u32> {
    u32::try_from(count).map_err(|_too_large| CutError::Odd("it has too many entries"))
}
