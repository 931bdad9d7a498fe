//! A core module that carries a script out by `wasi_snapshot_preview1`.

pub(crate) mod operations;

use crate::interpreter::{Function, PAGES, interpreter};
use crate::script::{Answer, Arg, Script, TEXT};

/// What scripts can call; a function's place here is its number.
pub(crate) const FUNCTIONS: &[Function] = &[
    function("args_get", "ii"),
    function("fd_advise", "iIIi"),
    function("fd_allocate", "iII"),
    function("fd_close", "i"),
    function("fd_datasync", "i"),
    function("fd_fdstat_get", "ii"),
    function("fd_fdstat_set_flags", "ii"),
    function("fd_filestat_get", "ii"),
    function("fd_filestat_set_size", "iI"),
    function("fd_filestat_set_times", "iIIi"),
    function("fd_pread", "iiiIi"),
    function("fd_prestat_dir_name", "iii"),
    function("fd_prestat_get", "ii"),
    function("fd_pwrite", "iiiIi"),
    function("fd_read", "iiii"),
    function("fd_readdir", "iiiIi"),
    function("fd_renumber", "ii"),
    function("fd_seek", "iIii"),
    function("fd_sync", "i"),
    function("fd_tell", "ii"),
    function("fd_write", "iiii"),
    function("path_create_directory", "iii"),
    function("path_filestat_get", "iiiii"),
    function("path_filestat_set_times", "iiiiIIi"),
    function("path_link", "iiiiiii"),
    function("path_open", "iiiiiIIii"),
    function("path_readlink", "iiiiii"),
    function("path_remove_directory", "iii"),
    function("path_rename", "iiiiii"),
    function("path_symlink", "iiiii"),
    function("path_unlink_file", "iii"),
];

const fn function(name: &'static str, params: &'static str) -> Function {
    Function {
        name,
        params,
        result: "i",
    }
}

/// The module as text.
pub(crate) fn module() -> String {
    format!(
        "(module {} (memory (export \"memory\") {PAGES})
           (func (export \"_start\")
             (drop (call $args_get (i32.const 4096) (i32.const {TEXT})))
             (call $interpret (i32.const {TEXT}))))",
        interpreter("", "wasi_snapshot_preview1", FUNCTIONS)
    )
}

impl Script {
    /// Calls the function of preview1 named `name`.
    pub fn preview1(&mut self, name: &str, args: &[Arg]) -> Answer {
        let answer = self.answer();
        self.preview1_into(answer, name, args);
        answer
    }

    /// As [`Script::preview1`], with its answer at a place that is known before.
    pub fn preview1_into(&mut self, answer: Answer, name: &str, args: &[Arg]) {
        self.call(crate::number(FUNCTIONS, name), args, answer);
    }

    /// Writes the answers to stdout, which is what a core module's script ends with.
    pub fn end_preview1(&mut self) {
        let written = self.data(&[0; 8]);
        for address in crate::pieces() {
            let vector = [address, crate::PIECE_BYTES].map(u32::to_le_bytes).concat();
            let vector = self.data(&vector);
            self.preview1("fd_write", &[1, vector, 1, written].map(Arg::from));
        }
    }
}
