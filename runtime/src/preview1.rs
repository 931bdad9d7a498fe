//! `wasi_snapshot_preview1`, linked natively: all of its 46 functions over the VM's
//! files and a closed network, and requests beside it.
//!
//! `docs/adr/0001-preview1-by-hand.md` says why these are written by hand.

mod args;
mod clock;
mod descriptors;
mod errno;
mod fd;
mod filestat;
mod http;
mod iovec;
mod memory;
mod path;
mod poll;
mod proc;
mod random;
mod rights;
mod sock;

use wasmtime::{Engine, Linker};

pub(crate) use self::descriptors::{Descriptors, OPEN_FILE_BYTES};
use crate::host::Host;
use crate::imports::Signature;

/// The module that all of them are imported from.
const MODULE: &str = "wasi_snapshot_preview1";

/// Every function with the letters of its parameters; all but two return an error number.
const FUNCTIONS: [(&str, &str); 46] = [
    ("args_get", "ii"),
    ("args_sizes_get", "ii"),
    ("clock_res_get", "ii"),
    ("clock_time_get", "iIi"),
    ("environ_get", "ii"),
    ("environ_sizes_get", "ii"),
    ("fd_advise", "iIIi"),
    ("fd_allocate", "iII"),
    ("fd_close", "i"),
    ("fd_datasync", "i"),
    ("fd_fdstat_get", "ii"),
    ("fd_fdstat_set_flags", "ii"),
    ("fd_fdstat_set_rights", "iII"),
    ("fd_filestat_get", "ii"),
    ("fd_filestat_set_size", "iI"),
    ("fd_filestat_set_times", "iIIi"),
    ("fd_pread", "iiiIi"),
    ("fd_prestat_dir_name", "iii"),
    ("fd_prestat_get", "ii"),
    ("fd_pwrite", "iiiIi"),
    ("fd_read", "iiii"),
    ("fd_readdir", "iiiIi"),
    ("fd_renumber", "ii"),
    ("fd_seek", "iIii"),
    ("fd_sync", "i"),
    ("fd_tell", "ii"),
    ("fd_write", "iiii"),
    ("path_create_directory", "iii"),
    ("path_filestat_get", "iiiii"),
    ("path_filestat_set_times", "iiiiIIi"),
    ("path_link", "iiiiiii"),
    ("path_open", "iiiiiIIii"),
    ("path_readlink", "iiiiii"),
    ("path_remove_directory", "iii"),
    ("path_rename", "iiiiii"),
    ("path_symlink", "iiiii"),
    ("path_unlink_file", "iii"),
    ("poll_oneoff", "iiii"),
    ("proc_exit", "i"),
    ("proc_raise", "i"),
    ("random_get", "ii"),
    ("sched_yield", ""),
    ("sock_accept", "iii"),
    ("sock_recv", "iiiiii"),
    ("sock_send", "iiiii"),
    ("sock_shutdown", "ii"),
];

/// The type of the function `name` of `module`, where there is one.
pub(crate) fn signature(module: &str, name: &str) -> Option<Signature> {
    match module {
        MODULE => wasi(name),
        http::MODULE => http::signature(name),
        _ => None,
    }
}

fn wasi(name: &str) -> Option<Signature> {
    let (_, params) = FUNCTIONS.iter().find(|(known, _)| *known == name)?;
    Some(Signature {
        params,
        results: if name == "proc_exit" { "" } else { "i" },
    })
}

/// Links every function of [`FUNCTIONS`] and of [`http`], and nothing else.
pub(crate) fn linker(engine: &Engine) -> wasmtime::Result<Linker<Host>> {
    let mut linker = Linker::new(engine);
    args::link(&mut linker)?;
    clock::link(&mut linker)?;
    fd::link(&mut linker)?;
    path::link(&mut linker)?;
    poll::link(&mut linker)?;
    proc::link(&mut linker)?;
    random::link(&mut linker)?;
    sock::link(&mut linker)?;
    http::link(&mut linker)?;
    Ok(linker)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use wasmtime::Module;

    use super::*;
    use crate::engine::{Engine, EngineSettings};

    /// A module that imports every function with the type the table says.
    fn imports_everything() -> String {
        let value = |letter| if letter == 'i' { " i32" } else { " i64" };
        let mut wat = String::from("(module");
        let wasi = FUNCTIONS.iter().map(|(name, _)| (MODULE, *name));
        for (module, name) in wasi.chain(http::functions().map(|name| (http::MODULE, name))) {
            let ty = signature(module, name).unwrap();
            let params: String = ty.params.chars().map(value).collect();
            let results: String = ty.results.chars().map(value).collect();
            write!(
                wat,
                "(import {module:?} {name:?} (func (param{params}) (result{results})))"
            )
            .unwrap();
        }
        wat + ")"
    }

    #[test]
    fn every_function_is_linked_with_the_type_that_imports_are_checked_against() {
        let engine = Engine::new(&EngineSettings { slots: 0 }).unwrap();
        let bytes = wat::parse_str(imports_everything()).unwrap();
        let module = Module::new(&engine.wasmtime, bytes).unwrap();
        engine
            .linkers
            .core
            .instantiate_pre(&module)
            .map(drop)
            .unwrap();
    }

    #[test]
    fn the_table_is_sorted_and_without_duplicates() {
        assert!(FUNCTIONS.is_sorted_by(|a, b| a.0 < b.0));
    }
}
