//! Finds the constants with numbers in Rust sources.

use std::path::{Path, PathBuf};

/// A constant or static with a number in it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Constant {
    /// `crate::module::NAME`.
    pub(crate) path: String,
    /// What stands after the `=`.
    pub(crate) value: String,
}

impl Constant {
    /// Whether the number is a row's.
    pub(crate) fn is_from_the_table(&self) -> bool {
        self.value.contains("budget::")
    }
}

/// The Rust files below `folder` that are not tests alone.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in folder.read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.file_stem().unwrap() == "tests" {
            continue;
        }
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// The module that `file` is, a path below the `src` of `krate`.
pub(crate) fn module(krate: &str, file: &Path) -> String {
    let path = file.with_extension("").to_string_lossy().replace('/', "::");
    let krate = krate.replace('-', "_");
    match path.as_str() {
        "lib" | "main" => krate,
        _ => format!("{krate}::{path}"),
    }
}

/// The constants of `module` that hold a number, those of its tests excluded.
pub(crate) fn constants(module: &str, text: &str) -> Vec<Constant> {
    let tests = text.split_once("#[cfg(test)]\nmod ");
    let code = without_texts(tests.map_or(text, |(code, _)| code));
    let words = ["const ", "static "].into_iter();
    let mut starts: Vec<_> = words
        .flat_map(|word| code.match_indices(word))
        .filter(|(at, _)| !code.get(..*at).is_some_and(|before| before.ends_with('<')))
        .map(|(at, word)| at + word.len())
        .collect();
    starts.sort_unstable();
    starts
        .into_iter()
        .filter_map(|at| declaration(code.get(at..)?))
        .filter(|(_, value)| has_number(value))
        .map(|(name, value)| Constant {
            path: format!("{module}::{name}"),
            value: value.split_whitespace().collect::<Vec<_>>().join(" "),
        })
        .collect()
}

/// Name and value of the declaration that `code` begins with.
fn declaration(code: &str) -> Option<(&str, &str)> {
    let (name, rest) = code.split_once(':')?;
    let is_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    if name.is_empty() || !name.chars().all(is_name) {
        return None; // `const fn`, `*const`, a generic parameter
    }
    let (_, rest) = rest.split_once('=')?;
    let mut depth = 0_i32;
    let end = rest.find(|c| {
        depth += match c {
            '(' | '[' | '{' => 1,
            ')' | ']' | '}' => -1,
            _ => 0,
        };
        c == ';' && depth == 0
    })?;
    Some((name, rest.get(..end)?))
}

/// Whether a literal other than 0, or the largest value of a type, stands in `value`.
fn has_number(value: &str) -> bool {
    value
        .split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter(|word| *word != "0")
        .any(|word| word == "MAX" || word.starts_with(|c: char| c.is_ascii_digit()))
}

/// `text` without comments, and with strings and characters blanked.
fn without_texts(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let text = literal(rest);
        code.push(if text.is_some() { ' ' } else { c });
        rest = rest.get(text.unwrap_or(c.len_utf8())..).unwrap_or_default();
    }
    code
}

/// The length of the comment, string or character that `rest` begins with.
fn literal(rest: &str) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("r#\"") {
        return Some(rest.find("\"#")? + 2);
    }
    if let Some(inside) = rest.strip_prefix('"') {
        let mut escaped = false;
        let end = inside.find(|c| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        })?;
        return Some(end + 2);
    }
    if let Some(inside) = rest.strip_prefix("'\\") {
        return Some(inside.get(1..)?.find('\'')? + 4);
    }
    let mut characters = rest.strip_prefix('\'')?.char_indices();
    characters.next()?; // what is quoted; a lifetime has no quote after it
    let (at, end) = characters.next()?;
    (end == '\'').then_some(at + 2)
}

#[test]
fn a_number_is_found_wherever_it_stands() {
    let text = r##"
//! const IN_A_COMMENT: u8 = 1;
pub(crate) const PLAIN: usize = 64 << 10; // 5
const TIME: Duration =
    Duration::from_secs(3);
static TURNS: [u64; 2] = [1, 2];
const ALL: Bounds = Bounds { bytes: 7 };
const MOST: u64 = u64::MAX;
const FROM_THE_TABLE: usize = budget::CHUNK_BYTES.usize() * 2;
const ALIAS: usize = PLAIN;
const TEXT: &str = "const INSIDE: u8 = 9; \" 8";
const RAW: &str = r#"const INSIDE: u8 = "9";"#;
const QUOTE: char = '"';
const ESCAPED: char = '\'';
const LIFETIME: &'static [&'static str] = &[""];
const ERRNO: Self = Self(2);
static COUNTER: AtomicU64 = AtomicU64::new(0);
const fn eight<const N: usize>(at: *const u8) -> u8 { const LOCAL: u8 = 8; LOCAL }
#[cfg(test)]
mod tests {
    const IN_A_TEST: u8 = 1;
}
"##;
    let found = constants("vine::leaf", text);
    let names: Vec<_> = found.iter().map(|found| found.path.as_str()).collect();
    assert_eq!(
        names,
        [
            "vine::leaf::PLAIN",
            "vine::leaf::TIME",
            "vine::leaf::TURNS",
            "vine::leaf::ALL",
            "vine::leaf::MOST",
            "vine::leaf::FROM_THE_TABLE",
            "vine::leaf::ERRNO",
            "vine::leaf::LOCAL",
        ]
    );
    let from_the_table = found.iter().filter(|found| found.is_from_the_table());
    assert_eq!(from_the_table.count(), 1);
}

#[test]
fn a_file_is_a_module() {
    for (file, expected) in [
        ("lib.rs", "cell_api"),
        ("vm.rs", "cell_api::vm"),
        ("vm/usage.rs", "cell_api::vm::usage"),
    ] {
        assert_eq!(module("cell-api", Path::new(file)), expected);
    }
}
