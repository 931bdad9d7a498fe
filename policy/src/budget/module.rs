//! Bounds on modules: their size, their compilation, what is remembered of them.

use super::bound::{MINUTE, SECOND, bounds};

bounds! {
    "Modules and their compilation":
    MODULE_BYTES = Bytes(256 << 20), "The largest module that a compiler looks at, and that an agent pulls", "refused, `CompileLimit`";
    ACCEPTED_MODULE_BYTES = Bytes(128 << 20), "The largest module that a node accepts, unless `--max-module-mib` of the warden says otherwise", "refused, `CompileLimit`";
    CODE_BYTES = Bytes(512 << 20), "The largest machine code that a node accepts, and all that it holds in memory for cells to share, unless `--max-code-mib` says otherwise", "refused, `CompileLimit`; code not used for longest leaves memory";
    CACHE_BYTES = Bytes(4 << 30), "Machine code that a node keeps on disk, unless `--max-cache-mib` says otherwise", "what was not used for longest goes";
    COMPILERS = Count(2), "Compilations at once, unless `--compilers` says otherwise", "waits";
    MODULES_WAITING = Count(32), "Modules of one namespace that wait for a compiler", "refused, `Exhausted`, and tried again";
    MODULES_WAITING_BYTES = Bytes(256 << 20), "Bytes of the modules of one namespace that wait for a compiler; one alone may be larger", "refused, `Exhausted`, and tried again";
    ALL_MODULES_WAITING_BYTES = Bytes(512 << 20), "Bytes of the modules of all namespaces that wait for a compiler; one alone may be larger", "refused, `Exhausted`, and tried again";
    ALL_MODULES_WAITING = Count(1_024), "Modules of all namespaces that wait for a compiler", "refused, `Exhausted`, and tried again";
    COMPILE_HALF_LIFE = Milliseconds(MINUTE), "The time after which what a namespace has used of the compilers counts half, when the next module is chosen", "nothing";
    COMPILE_WALL = Milliseconds(4 * MINUTE), "The time of one compilation, unless `--compile-timeout-seconds` says otherwise", "refused, `CompileLimit`";
    COMPILE_CPU_PER_MIB = Milliseconds(10 * SECOND), "CPU time of one compilation for each MiB of its module, rounded up", "refused, `CompileLimit`";
    COMPILE_CPU_LEAST = Milliseconds(10 * SECOND), "That CPU time, where the module is small", "refused, `CompileLimit`";
    COMPILE_CPU_MOST = Milliseconds(MINUTE), "That CPU time, however large the module is", "refused, `CompileLimit`";
    COMPILE_MEMORY_BYTES = Bytes(512 << 20), "The memory of one compilation beyond what the engine reserves, unless `--compile-memory-mib` says otherwise", "refused, `CompileLimit`";
    COMPILE_ANSWER = Milliseconds(10 * MINUTE), "The time that whoever asks for a compilation waits for it, its turn included", "tried again";
    COMPILER_OPEN_FILES = Count(64), "Descriptors of one compiler", "refused, `CompileLimit`";
    REFUSED_MODULES = Count(1_024), "Refused modules that a node remembers", "the oldest refusal is forgotten, its module is looked at again";
    TOO_EXPENSIVE_FOR = Milliseconds(10 * MINUTE), "The time for which a node remembers that a module was too expensive", "it is compiled again";
    HELD_MODULES = Count(256), "Modules whose machine code a node holds in memory", "code not used for longest leaves memory";
    KEPT_PROGRAMS = Count(64), "Loaded programs that a cell keeps besides those that run", "the one not used for longest is loaded again";
    MODULE_MESSAGE_CHARS = Count(1_000), "Characters of a message about a module", "cut off";
    MISSING_IMPORTS = Count(32), "Imports that one refusal names", "the others are not named";
    IMPORT_NAME_CHARS = Count(128), "Characters of an import's name in a message", "cut off";
}
