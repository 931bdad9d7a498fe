//! What is in a generated module: its sections, and what an entry point must know of them.

use wasmparser::{
    CompositeInnerType, DataSectionReader, ElementSectionReader, FuncType, FunctionBody,
    FunctionSectionReader, GlobalSectionReader, ImportSectionReader, MemorySectionReader, Parser,
    Payload, TableSectionReader, TypeRef, TypeSectionReader, ValType,
};

type Result<T> = std::result::Result<T, wasmparser::Error>;

/// A module that was read.
#[derive(Default)]
pub(crate) struct Given<'a> {
    pub(crate) sections: Sections<'a>,
    /// All types; those that are no functions are empty ones.
    pub(crate) types: Vec<FuncType>,
    /// How many functions are imported.
    pub(crate) imported: u32,
    /// The types of the other functions.
    pub(crate) functions: Vec<u32>,
    pub(crate) globals: Vec<ValType>,
    pub(crate) memories: u32,
    pub(crate) tables: u32,
}

/// The sections of a module that are to be written again.
#[derive(Default)]
pub(crate) struct Sections<'a> {
    pub(crate) types: Option<TypeSectionReader<'a>>,
    pub(crate) imports: Option<ImportSectionReader<'a>>,
    pub(crate) functions: Option<FunctionSectionReader<'a>>,
    pub(crate) tables: Option<TableSectionReader<'a>>,
    pub(crate) memories: Option<MemorySectionReader<'a>>,
    pub(crate) globals: Option<GlobalSectionReader<'a>>,
    pub(crate) start: Option<u32>,
    pub(crate) elements: Option<ElementSectionReader<'a>>,
    pub(crate) data_count: Option<u32>,
    pub(crate) bodies: Vec<FunctionBody<'a>>,
    pub(crate) data: Option<DataSectionReader<'a>>,
}

impl<'a> Given<'a> {
    /// Reads a module.
    pub(crate) fn of(wasm: &'a [u8]) -> Result<Self> {
        let mut given = Self::default();
        for payload in Parser::new(0).parse_all(wasm) {
            given.take(payload?)?;
        }
        Ok(given)
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "wasmparser's own enum: custom sections and what a core module does not have"
    )]
    fn take(&mut self, payload: Payload<'a>) -> Result<()> {
        let sections = &mut self.sections;
        match payload {
            Payload::TypeSection(types) => {
                self.types = function_types(types.clone())?;
                sections.types = Some(types);
            }
            Payload::ImportSection(imports) => {
                for import in imports.clone().into_imports() {
                    self.imported += u32::from(matches!(import?.ty, TypeRef::Func(_)));
                }
                sections.imports = Some(imports);
            }
            Payload::FunctionSection(functions) => {
                self.functions = functions.clone().into_iter().collect::<Result<_>>()?;
                sections.functions = Some(functions);
            }
            Payload::TableSection(tables) => {
                self.tables = tables.count();
                sections.tables = Some(tables);
            }
            Payload::MemorySection(memories) => {
                self.memories = memories.count();
                sections.memories = Some(memories);
            }
            Payload::GlobalSection(globals) => {
                for global in globals.clone() {
                    self.globals.push(global?.ty.content_type);
                }
                sections.globals = Some(globals);
            }
            Payload::StartSection { func, .. } => sections.start = Some(func),
            Payload::ElementSection(elements) => sections.elements = Some(elements),
            Payload::DataCountSection { count, .. } => sections.data_count = Some(count),
            Payload::CodeSectionEntry(body) => sections.bodies.push(body),
            Payload::DataSection(data) => sections.data = Some(data),
            _ => {}
        }
        Ok(())
    }

    /// The type of a function that is not imported.
    pub(crate) fn type_of(&self, function: usize) -> Option<&FuncType> {
        let index = usize::try_from(*self.functions.get(function)?).ok()?;
        self.types.get(index)
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "wasmparser's own enum: types of proposals that are off"
)]
fn function_types(section: TypeSectionReader<'_>) -> Result<Vec<FuncType>> {
    let mut types = Vec::new();
    for group in section {
        for ty in group?.into_types() {
            types.push(match ty.composite_type.inner {
                CompositeInnerType::Func(function) => function,
                _ => FuncType::new([], []),
            });
        }
    }
    Ok(types)
}
