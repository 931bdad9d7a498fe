//! The functions of `wasi_snapshot_preview1` with their types, as modules import them.

use wasm_encoder::{EntityType, ImportSection, Module, TypeSection, ValType};

/// The module that all of them are imported from.
pub(crate) const MODULE: &str = "wasi_snapshot_preview1";
/// The one by which a module shows its digest.
pub(crate) const FD_WRITE: Function = Function("fd_write", "iiii");

/// A function's name and the letters of its parameters: `i` is i32, `I` is i64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Function(pub(crate) &'static str, &'static str);

impl Function {
    pub(crate) fn params(self) -> Vec<ValType> {
        let letters = self.1.chars();
        letters
            .map(|letter| match letter {
                'I' => ValType::I64,
                _ => ValType::I32,
            })
            .collect()
    }

    /// All return an error number, but for the one that does not return.
    pub(crate) fn result(self) -> Option<ValType> {
        (self.0 != "proc_exit").then_some(ValType::I32)
    }
}

/// Every function, as a program may import it.
pub(crate) const FUNCTIONS: [Function; 46] = [
    Function("args_get", "ii"),
    Function("args_sizes_get", "ii"),
    Function("clock_res_get", "ii"),
    Function("clock_time_get", "iIi"),
    Function("environ_get", "ii"),
    Function("environ_sizes_get", "ii"),
    Function("fd_advise", "iIIi"),
    Function("fd_allocate", "iII"),
    Function("fd_close", "i"),
    Function("fd_datasync", "i"),
    Function("fd_fdstat_get", "ii"),
    Function("fd_fdstat_set_flags", "ii"),
    Function("fd_fdstat_set_rights", "iII"),
    Function("fd_filestat_get", "ii"),
    Function("fd_filestat_set_size", "iI"),
    Function("fd_filestat_set_times", "iIIi"),
    Function("fd_pread", "iiiIi"),
    Function("fd_prestat_dir_name", "iii"),
    Function("fd_prestat_get", "ii"),
    Function("fd_pwrite", "iiiIi"),
    Function("fd_read", "iiii"),
    Function("fd_readdir", "iiiIi"),
    Function("fd_renumber", "ii"),
    Function("fd_seek", "iIii"),
    Function("fd_sync", "i"),
    Function("fd_tell", "ii"),
    FD_WRITE,
    Function("path_create_directory", "iii"),
    Function("path_filestat_get", "iiiii"),
    Function("path_filestat_set_times", "iiiiIIi"),
    Function("path_link", "iiiiiii"),
    Function("path_open", "iiiiiIIii"),
    Function("path_readlink", "iiiiii"),
    Function("path_remove_directory", "iii"),
    Function("path_rename", "iiiiii"),
    Function("path_symlink", "iiiii"),
    Function("path_unlink_file", "iii"),
    Function("poll_oneoff", "iiii"),
    Function("proc_exit", "i"),
    Function("proc_raise", "i"),
    Function("random_get", "ii"),
    Function("sched_yield", ""),
    Function("sock_accept", "iii"),
    Function("sock_recv", "iiiiii"),
    Function("sock_send", "iiiii"),
    Function("sock_shutdown", "ii"),
];

/// A module that imports every function, from which generated ones choose.
pub(crate) fn importing_all() -> Vec<u8> {
    let mut types = TypeSection::new();
    let mut imports = ImportSection::new();
    for (index, function) in (0_u32..).zip(FUNCTIONS) {
        types.ty().function(function.params(), function.result());
        imports.import(MODULE, function.0, EntityType::Function(index));
    }
    Module::new()
        .section(&types)
        .section(&imports)
        .clone()
        .finish()
}
