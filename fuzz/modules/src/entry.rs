//! Gives a generated module what a program has: a `_start` that calls what is in it, and a memory
//! that the host finds.

mod body;
mod given;

use wasm_encoder::reencode::{Error, Reencode};
use wasm_encoder::{
    AbstractHeapType, CodeSection, DataCountSection, DataSection, ElementSection, EntityType,
    ExportKind, ExportSection, FunctionSection, GlobalSection, ImportSection, MemorySection,
    MemoryType, StartSection, TableSection, TypeSection,
};
use wasmparser::MemorySectionReader;

use self::body::Body;
use self::given::Given;
use crate::numbers::Numbers;
use crate::preview1;
use crate::shape::Shape;

/// The module `wasm` with an entry point for its shape.
///
/// # Errors
///
/// Where `wasm` is no core module.
pub(crate) fn add(wasm: &[u8], shape: Shape, numbers: &mut Numbers) -> Result<Vec<u8>, Error> {
    let given = Given::of(wasm)?;
    let body = match shape {
        Shape::Pure => Body::with_digest(&given, numbers),
        Shape::Wild | Shape::Mangled => Body::of_functions(&given, numbers),
        Shape::Calls => Body::with_host_calls(&given, numbers),
    };
    encode(given, &body)
}

fn encode(given: Given<'_>, body: &Body) -> Result<Vec<u8>, Error> {
    let mut moved = Moved {
        imported: given.imported,
        added: count(&body.imports),
    };
    let from = given.sections;
    let mut types: TypeSection =
        section(from.types, |to, from| moved.parse_type_section(to, from))?;
    let mut imports: ImportSection = section(from.imports, |to, from| {
        moved.parse_import_section(to, from)
    })?;
    let mut functions: FunctionSection = section(from.functions, |to, from| {
        moved.parse_function_section(to, from)
    })?;
    let tables: TableSection =
        section(from.tables, |to, from| moved.parse_table_section(to, from))?;
    let memories: MemorySection = section(from.memories, |to, from| {
        moved.parse_memory_section(to, from)
    })?;
    let globals: GlobalSection = section(from.globals, |to, from| {
        moved.parse_global_section(to, from)
    })?;
    let elements: ElementSection = section(from.elements, |to, from| {
        moved.parse_element_section(to, from)
    })?;
    let mut code = CodeSection::new();
    for body in from.bodies {
        moved.parse_function_body(&mut code, body)?;
    }
    let data: DataSection = section(from.data, |to, from| moved.parse_data_section(to, from))?;

    let mut next_type = count(&given.types);
    for function in &body.imports {
        types.ty().function(function.params(), function.result());
        imports.import(
            preview1::MODULE,
            function.0,
            EntityType::Function(next_type),
        );
        next_type += 1;
    }
    types.ty().function([], []);
    functions.function(next_type);
    code.function(&body.code);
    let start = moved.imported + moved.added + count(&given.functions);
    let mut exports = ExportSection::new();
    exports
        .export("_start", ExportKind::Func, start)
        .export("memory", ExportKind::Memory, 0);

    let mut module = wasm_encoder::Module::new();
    module.section(&types).section(&imports).section(&functions);
    module.section(&tables).section(&memories).section(&globals);
    module.section(&exports);
    if let Some(function) = from.start {
        let function_index = moved.function_index(function)?;
        module.section(&StartSection { function_index });
    }
    module.section(&elements);
    if let Some(count) = from.data_count {
        module.section(&DataCountSection { count });
    }
    module.section(&code).section(&data);
    Ok(module.finish())
}

fn section<S: Default, R>(
    reader: Option<R>,
    parse: impl FnOnce(&mut S, R) -> Result<(), Error>,
) -> Result<S, Error> {
    let mut section = S::default();
    if let Some(reader) = reader {
        parse(&mut section, reader)?;
    }
    Ok(section)
}

fn count<T>(of: &[T]) -> u32 {
    u32::try_from(of.len()).unwrap_or(u32::MAX)
}

/// Functions move behind the imports that are added.
struct Moved {
    imported: u32,
    added: u32,
}

impl Reencode for Moved {
    type Error = std::convert::Infallible;

    fn function_index(&mut self, function: u32) -> Result<u32, Error> {
        Ok(if function < self.imported {
            function
        } else {
            function + self.added
        })
    }

    /// References to things of the host are closed: those to functions take their place.
    fn abstract_heap_type(
        &mut self,
        ty: wasmparser::AbstractHeapType,
    ) -> Result<AbstractHeapType, Error> {
        let closed = ty == wasmparser::AbstractHeapType::Extern;
        Ok(if closed {
            AbstractHeapType::Func
        } else {
            ty.into()
        })
    }

    /// What the entry point stores must fit into the first memory.
    fn parse_memory_section(
        &mut self,
        memories: &mut MemorySection,
        section: MemorySectionReader<'_>,
    ) -> Result<(), Error> {
        for (index, memory) in section.into_iter().enumerate() {
            let memory = self.memory_type(memory?)?;
            let least = u64::from(index == 0);
            memories.memory(MemoryType {
                minimum: memory.minimum.max(least),
                maximum: memory.maximum.map(|maximum| maximum.max(least)),
                ..memory
            });
        }
        Ok(())
    }
}
