//! The document of the network, held against the code: its tables are whole, and every number in
//! it is the one that holds.

#![expect(clippy::expect_used, reason = "a panic is the report")]

use std::collections::BTreeMap;
use std::path::Path;

use agentvm_policy::budget::{self, Bound};
use agentvm_policy::egress::{AddressClass, Code};

fn document() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/network.md");
    std::fs::read_to_string(path).expect("docs/network.md")
}

/// The rows of the table whose first line is `header`: the other cells by the first one.
fn table(document: &str, header: &str) -> BTreeMap<String, Vec<String>> {
    let lines = document.lines().skip_while(|line| *line != header).skip(2);
    let rows = lines.take_while(|line| line.starts_with('|'));
    let cells = rows.map(|row| {
        let mut cells = row.trim_matches('|').split('|').map(str::trim);
        let first = cells.next().unwrap_or_default().trim_matches('`');
        (first.to_owned(), cells.map(str::to_owned).collect())
    });
    cells.collect()
}

#[test]
fn the_table_of_codes_has_each_of_them_and_no_other() {
    let document = document();
    let rows = table(&document, "| code | when | again |");
    let mut codes: Vec<&str> = Code::ALL.into_iter().map(Code::as_str).collect();
    codes.sort_unstable();
    assert_eq!(rows.keys().collect::<Vec<_>>(), codes);
}

#[test]
fn the_table_of_addresses_has_each_class_and_whether_a_policy_opens_it() {
    let document = document();
    let rows = table(
        &document,
        "| class | what | a policy's `networks` can open it |",
    );
    let told: BTreeMap<&str, bool> = rows
        .iter()
        .filter_map(|(class, cells)| Some((class.as_str(), cells.last()? == "yes")))
        .collect();
    let holds = AddressClass::ALL
        .into_iter()
        .map(|class| (class.as_str(), class.can_be_excepted()));
    assert_eq!(told, holds.collect());
}

#[test]
fn every_bound_in_the_document_is_the_one_that_holds() {
    let document = document();
    let rows = table(&document, "| what | bound |");
    let told = |what: &str| rows.get(what).and_then(|cells| cells.first().cloned());
    let show = |bound: Bound| Some(bound.show());
    for (what, bound) in [
        ("body of a request", budget::REQUEST_BODY_BYTES),
        ("body of an answer", budget::RESPONSE_BODY_BYTES),
        ("path and query", budget::TARGET_BYTES),
        (
            "until there is a connection, the wait for its turn included",
            budget::CONNECT_WITHIN,
        ),
        (
            "from there to the answer's headers",
            budget::FIRST_BYTE_WITHIN,
        ),
        ("between two pieces of a body", budget::BODY_IDLE),
        ("the whole request", budget::REQUEST_WITHIN),
    ] {
        assert_eq!(told(what), show(bound), "{what}");
    }
    let headers = format!(
        "{}, {} together",
        budget::HEADERS.show(),
        budget::HEADER_BYTES.show()
    );
    assert_eq!(told("headers of either"), Some(headers));
}
