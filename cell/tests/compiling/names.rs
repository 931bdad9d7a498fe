//! Names in modules that shall reach somebody's terminal, template or disk.

use agentvm_cell_api::problem::Reason;
use agentvm_policy::budget;

use crate::harness::{Node, spec};
use crate::{alone, make, neighbour_runs, put};

/// What nobody's name should do to whoever reads a message.
const HOSTILE: [&str; 8] = [
    "\u{1b}[2J\u{1b}[31mred",
    "a\r\nlevel=ERROR forged",
    "\u{7}\u{8}\u{7f}",
    "\u{202e}txt.exe",
    "\u{200b}\u{feff}",
    "\u{9b}31m",
    "{{ .Values.secret }}${HOME}$(id)",
    "\0",
];

/// A command that imports one function of this name.
fn imports(name: &str) -> Vec<u8> {
    // One type, `() -> ()`; one import of it; one function of it, which is empty.
    let types = make::section(1, &[1, 0x60, 0, 0]);
    let import = [&[1][..], &make::name("env"), &make::name(name), &[0, 0]].concat();
    let imports = make::section(2, &import);
    let functions = make::section(3, &[1, 0]);
    let memories = make::section(5, &[1, 0, 1]);
    let exports = [
        &[2][..],
        &make::name("_start"),
        &[0, 1],
        &make::name("memory"),
        &[2, 0],
    ];
    let exports = make::section(7, &exports.concat());
    let code = make::section(10, &[1, 2, 0, 0x0b]);
    [
        make::HEADER.to_vec(),
        types,
        imports,
        functions,
        memories,
        exports,
        code,
    ]
    .concat()
}

/// A command that exports its memory under this name `times` times besides.
fn exports(name: &str, times: usize) -> Vec<u8> {
    let types = make::section(1, &[1, 0x60, 0, 0]);
    let functions = make::section(3, &[1, 0]);
    let memories = make::section(5, &[1, 0, 1]);
    let more = [&make::name(name)[..], &[2, 0]].concat().repeat(times);
    let start = [&make::name("_start")[..], &[0, 0]].concat();
    let memory = [&make::name("memory")[..], &[2, 0]].concat();
    let all = [&make::number(2 + times)[..], &start, &memory, &more].concat();
    let exports = make::section(7, &all);
    let code = make::section(10, &[1, 2, 0, 0x0b]);
    [
        make::HEADER.to_vec(),
        types,
        functions,
        memories,
        exports,
        code,
    ]
    .concat()
}

/// A message that can be shown to anybody.
fn assert_clean(message: &str) {
    let most = budget::MODULE_MESSAGE_CHARS.usize() + 100;
    assert!(message.chars().count() <= most, "{} chars", message.len());
    let is_bad = |c: char| {
        c.is_control()
            || ('\u{200b}'..='\u{200f}').contains(&c)
            || ('\u{202a}'..='\u{202e}').contains(&c)
            || ('\u{2066}'..='\u{2069}').contains(&c)
            || c == '\u{feff}'
    };
    assert!(!message.contains(is_bad), "{message:?}");
}

#[tokio::test]
async fn e16_names_in_refusals_are_cut_and_clean() {
    let _alone = alone().await;
    let node = Node::start().await;
    let long = "x".repeat(100_000);
    let names = HOSTILE.into_iter().chain([long.as_str()]);
    for name in names {
        let refused = put(&node, "hostile", imports(name)).await.unwrap_err();
        assert_eq!(refused.reason(), Some(Reason::MissingImports), "{name:?}");
        assert_clean(&refused.to_string());
        // The same name twice is an error that quotes it.
        let refused = put(&node, "hostile", exports(name, 2)).await.unwrap_err();
        assert_eq!(refused.reason(), Some(Reason::InvalidModule), "{name:?}");
        assert_clean(&refused.to_string());
    }
    neighbour_runs(&node, "after").await;
}

#[tokio::test]
async fn e16_a_name_of_a_mebibyte_is_refused_in_a_short_sentence() {
    let _alone = alone().await;
    let node = Node::start().await;
    let name = "\u{1b}".repeat(1 << 20);
    for wasm in [imports(&name), exports(&name, 1)] {
        let refused = put(&node, "hostile", wasm).await.unwrap_err();
        assert_eq!(refused.reason(), Some(Reason::InvalidModule), "{refused}");
        assert_clean(&refused.to_string());
    }
    // What is said of a namespace that is none is short as well.
    let text = "x".repeat(5_000);
    let refused = put(&node, &text, make::prints("x")).await.unwrap_err();
    assert_eq!(refused.reason(), Some(Reason::BadRequest));
    assert_clean(&refused.to_string());
    neighbour_runs(&node, "after").await;
}

#[tokio::test]
async fn e16_a_module_with_hostile_names_in_it_runs_and_its_messages_are_clean() {
    let _alone = alone().await;
    let node = Node::start().await;
    let cell = node.cell("hostile").await;
    for (at, name) in HOSTILE.into_iter().enumerate() {
        // The custom section named "name": the name of function 0, as traps would show it.
        let function = [&[1, 0][..], &make::name(name)].concat();
        let names = [&make::name("name")[..], &make::section(1, &function)].concat();
        let mut wasm =
            make::module(r#"(memory (export "memory") 1) (func (export "_start") unreachable)"#);
        wasm.extend(make::section(0, &names));
        let module = put(&node, "hostile", wasm).await.unwrap();
        let uid = format!("u-{at}");
        cell.put(&uid, &spec(&module)).await;
        cell.ends(&uid).await;
        let end = cell.client.vm(&uid).await.unwrap().unwrap().end.unwrap();
        assert_clean(&end.message);
    }
}
