//! Real programs on a VM's files: each prints what it found, and that is compared.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use agentvm_tests::built::binary;
use agentvm_tests::program::{output_of, stdout_of};
use agentvm_tests::vm::manifest;
use agentvm_tests::{Result, guests, scratch};
use anyhow::ensure;
use serde_json::{Value, json};

const IMAGE: &str = "registry.test/program:v1";

/// One run of one program, with a writable `/work` and nothing else.
struct Program<'a> {
    name: &'a str,
    module: PathBuf,
    args: &'a [&'a str],
    /// Folders that are copied in: a folder here, and its path in the VM.
    copied: &'a [(&'a Path, &'a str)],
    limits: Value,
}

impl Program<'_> {
    /// What it prints, where it ends well. What it left in `/work/out` is in the folder given.
    fn run(&self, out: Option<&Path>) -> Result<String> {
        let dir = scratch::dir(self.name)?;
        let vm = json!({
            "image": IMAGE,
            "args": self.args,
            "mounts": [{"path": "/work", "emptyDir": {}}],
            "limits": self.limits,
        });
        fs::write(dir.join("vm.yaml"), manifest(self.name, &vm).to_string())?;
        let mut agentvm = Command::new(binary("agentvm")?);
        agentvm.args(["run", "-f"]).arg(dir.join("vm.yaml"));
        agentvm.arg("--module");
        agentvm.arg(format!("{IMAGE}={}", self.module.display()));
        for (folder, path) in self.copied {
            agentvm.arg("--copy-in");
            agentvm.arg(format!("{}:{path}", folder.display()));
        }
        if let Some(out) = out {
            agentvm.arg("--copy-out");
            agentvm.arg(format!("/work/out:{}", out.display()));
        }
        let started = Instant::now();
        let output = output_of(&mut agentvm)?;
        let took = started.elapsed();
        let stdout = String::from_utf8(output.stdout)?;
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(
            output.status.success(),
            "{} failed ({}) after {took:?}:\n{stdout}{stderr}",
            self.name,
            output.status
        );
        eprintln!("{} took {took:?}", self.name);
        Ok(stdout)
    }

    /// Runs it, and holds what it prints to `lines`.
    fn prints(&self, lines: &[&str]) -> Result<()> {
        assert_eq!(self.run(None)?.lines().collect::<Vec<_>>(), lines);
        Ok(())
    }
}

#[test]
fn cpython_zips_keeps_a_database_and_copies_trees() -> Result<()> {
    let sources = guests::sources().join("python");
    let program = Program {
        name: "program-python",
        module: guests::cpython()?,
        args: &["/work/files.py"],
        copied: &[(&sources, "/work")],
        limits: json!({"memory": "256Mi", "cpu": "1", "storage": "128Mi", "timeout": "5m"}),
    };
    let sum: u64 = (0..100_000_u64).map(|n| n * n % 1_000_003).sum();
    let database = format!("database ok 100000 {sum} 99999 name 9 False");
    program.prints(&[
        "zips 2000 True d5b25c3b66985921",
        database.as_str(),
        "temporary 100000 1000 [] False",
        "trees 2001 d1/f1.txt 50 False",
        "root ['work']",
    ])
}

#[test]
fn go_names_walks_and_encodes() -> Result<()> {
    let program = Program {
        name: "program-go",
        module: guests::go("go-files")?,
        args: &[],
        copied: &[],
        limits: json!({"memory": "256Mi", "cpu": "1", "storage": "256Mi", "inodes": 32768, "timeout": "5m"}),
    };
    let bytes: usize = (0..10_000)
        .map(|index| format!("file {index}\n").len())
        .sum();
    let made = format!("made 10000 moved 10000 walked 10000 bytes {bytes}");
    program.prints(&[
            "tree 4f94a701636988a2",
            made.as_str(),
            "listed 10000 00000 09999",
            "removed true",
            "records 100000 624993750.00 6588900 e807e49d234c9965332aeb6db7d668142638f59b997bf8d2b64d2610e6746994",
            "exists true",
            "not empty true",
            "not a directory true",
            "link records.json",
            "truncated 10",
            "no host true",
])
}

#[test]
fn a_python_component_copies_trees_and_is_told_what_is_refused() -> Result<()> {
    let program = Program {
        name: "program-python-component",
        module: guests::python_component()?,
        args: &[],
        copied: &[],
        limits: json!({"memory": "256Mi", "cpu": "1", "storage": "8Mi", "timeout": "5m"}),
    };
    program.prints(&[
        "tree 500 b498bed8fe55714f False",
        "records 49995000 103 b'{\"end'",
        "names records 2 True 10",
        "listed ['work'] ['copy', 'harder', 'link', 'records']",
        "errors ENOENT EPERM EISDIR ENOTDIR full",
    ])
}

#[test]
fn a_javascript_component_streams_lists_and_is_told_what_is_refused() -> Result<()> {
    let program = Program {
        name: "program-js-component",
        module: guests::js_component()?,
        args: &[],
        copied: &[],
        limits: json!({"memory": "256Mi", "cpu": "1", "timeout": "5m"}),
    };
    program.prints(&[
        "root / work",
        "files 300 300",
        "names g 56",
        "left g,link",
        "refused no-entry not-permitted exist read-only",
    ])
}

/// What `guests/c/files.c` prints, whoever has compiled it.
const C_PRINTS: [&str; 5] = [
    "stream 367046 73f2309a 367051",
    "holes 8 4ac824e1",
    "listed 1000 removed 500",
    "temporary 4 2 hard",
    "done",
];

#[test]
fn c_streams_seeks_lists_and_renames() -> Result<()> {
    let program = Program {
        name: "program-c",
        module: guests::c("files")?,
        args: &[],
        copied: &[],
        limits: json!({"cpu": "1"}),
    };
    program.prints(&C_PRINTS)
}

/// The compiler reads 230 files that were copied in, writes one that is copied out, and that one
/// is a program which does what the same source does by another compiler.
#[test]
fn a_c_compiler_runs_as_a_guest_and_what_it_makes_runs_as_another() -> Result<()> {
    let tcc = guests::tcc()?;
    let sources = guests::sources().join("c");
    let out = scratch::dir("program-tcc")?.join("out");
    let empty = scratch::dir("program-tcc-empty")?;
    let compiler = Program {
        name: "program-tcc",
        module: tcc.module,
        args: &["-o", "/work/out/files.wasm", "/work/files.c"],
        copied: &[
            (&tcc.own, "/work/tcc"),
            (&tcc.sysroot, "/work/wasi-sysroot"),
            (&sources, "/work"),
            (&empty, "/work/out"),
        ],
        limits: json!({"memory": "128Mi", "cpu": "1"}),
    };
    assert_eq!(compiler.run(Some(&out))?, "");
    let made = out.join("files.wasm");
    let program = Program {
        name: "program-of-tcc",
        module: made,
        args: &[],
        copied: &[],
        limits: json!({"cpu": "1"}),
    };
    program.prints(&C_PRINTS)
}

#[test]
fn the_c_program_does_the_same_on_this_machine() -> Result<()> {
    let dir = scratch::dir("program-native")?;
    let source = fs::read_to_string(guests::sources().join("c/files.c"))?;
    let work = dir.join("work");
    fs::create_dir(&work)?;
    // What the VM has at /work, this machine has elsewhere; and it does have an /etc/passwd.
    let source = source
        .replace("/work/", &format!("{}/", work.display()))
        .replace("char name[64], other[64];", "char name[4096], other[4096];")
        .replace("/etc/passwd", "/no/such/file");
    fs::write(dir.join("files.c"), source)?;
    let program = dir.join("files");
    stdout_of(
        Command::new("cc")
            .args(["-D_GNU_SOURCE", "-w", "-o"])
            .arg(&program)
            .arg(dir.join("files.c")),
    )?;
    let printed = stdout_of(&mut Command::new(program))?;
    assert_eq!(printed.lines().collect::<Vec<_>>(), C_PRINTS);
    Ok(())
}
