//! The guests interpret scripts as they are written.
#![expect(
    clippy::unwrap_used,
    reason = "a test that meets something unexpected shall fail"
)]

use agentvm_fuzz_driver::{Arg, Guest, Interface, Script, limits};
use agentvm_runtime::vfs::{Access, Budget, Filesystem, Mount, Source};

fn filesystem() -> Filesystem {
    let mounts = [Mount {
        path: "/work".to_owned(),
        access: Access::ReadWrite,
        source: Source::Empty { max_bytes: None },
    }];
    let budget = Budget {
        bytes: 1 << 20,
        inodes: 100,
    };
    Filesystem::new(budget, &mounts, 0).unwrap()
}

#[test]
fn a_core_module_finds_its_preopened_directory() {
    let mut script = Script::default();
    let prestat = script.buffer(8);
    let answer = script.preview1("fd_prestat_get", &[3, prestat].map(Arg::from));
    let ran = Guest::of(Interface::Preview1).run(script, &filesystem(), limits());
    assert_eq!(ran.ending.exit_code, Some(0), "{}", ran.ending.message);
    assert_eq!(ran.memory.returned(answer), 0);
    assert_eq!(ran.memory.u32(prestat + 4), 1);
}

#[test]
fn a_component_finds_its_preopened_directory() {
    let mut script = Script::default();
    let answer = script.preview2("get-directories", &[]);
    let ran = Guest::of(Interface::Preview2).run(script, &filesystem(), limits());
    assert_eq!(ran.ending.exit_code, Some(0), "{}", ran.ending.message);
    let list = ran.memory.u32(answer.stored());
    assert_eq!(ran.memory.u32(answer.stored() + 4), 1);
    let path = ran.memory.u32(list + 4);
    assert_eq!(ran.memory.bytes(path, 1), b"/");
}
