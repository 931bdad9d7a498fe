//! What every file of the repository must and must not hold, over `git ls-files`.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a panic is the report"
)]

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn every_rust_file_starts_with_what_it_is_for() {
    let mute: Vec<_> = sources()
        .into_iter()
        .filter(|(path, _)| path.extension().is_some_and(|extension| extension == "rs"))
        .filter(|(_, text)| !text.starts_with("//! "))
        .map(|(path, _)| path)
        .collect();
    assert!(
        mute.is_empty(),
        "these do not start with a `//! ` sentence: {mute:#?}"
    );
}

/// Hosts that a reader can reach, or that stand for none, as on a Unix socket.
const HOSTS: [&str; 27] = [
    "cell",
    "warden",
    "gateway",
    "127.0.0.1",
    "localhost",
    "[::1]",
    "169.254.169.254",
    "example",
    "example.com",
    "example.org",
    "invalid",
    "svc",
    "apache.org",
    "cncf.io",
    "crates.io",
    "debian.org",
    "docker.io",
    "docs.rs",
    "github.com",
    "go.dev",
    "json-schema.org",
    "kubernetes.io",
    "opencontainers.org",
    "pypi.org",
    "rust-lang.org",
    "rustup.rs",
    "wasmtime.dev",
];

#[test]
fn no_file_names_a_host_that_others_do_not_have() {
    let private = lines_that(|line| hosts(line).any(|host| !is_public(host)));
    assert!(
        private.is_empty(),
        "does everybody have these hosts? if so, add them to HOSTS: {private:#?}"
    );
}

#[test]
fn no_file_names_a_folder_of_one_machine() {
    // Not /work: that is where the guests of tests and examples have their files.
    let homes = ["home", "Users", "root"].map(|folder| format!("/{folder}/"));
    let named = lines_that(|line| homes.iter().any(|home| names_folder(line, home)));
    assert!(
        named.is_empty(),
        "these name a folder of one machine: {named:#?}"
    );
}

#[test]
fn every_link_between_documents_leads_somewhere() {
    let mut dead = Vec::new();
    for (path, text) in sources() {
        let folder = root().join(path.parent().unwrap());
        let is_markdown = path.extension().is_some_and(|extension| extension == "md");
        let targets = links(&text).filter(|_| is_markdown);
        let targets = targets.filter(|target| !folder.join(target).exists());
        dead.extend(targets.map(|target| format!("{}: {target}", path.display())));
    }
    assert!(dead.is_empty(), "these links lead nowhere: {dead:#?}");
}

#[test]
fn every_decision_record_is_in_the_index() {
    let index = std::fs::read_to_string(root().join("docs/adr/README.md")).unwrap();
    let listed: BTreeSet<_> = links(&index).collect();
    let written = root().join("docs/adr").read_dir().unwrap();
    let missing: Vec<_> = written
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "README.md" && !listed.contains(name.as_str()))
        .collect();
    assert!(missing.is_empty(), "docs/adr/README.md lacks {missing:?}");
}

/// The files that a Markdown text links to, relative to its own folder.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let targets = text.split("](").skip(1);
    let targets = targets.filter_map(|rest| rest.split_once(')').map(|(target, _)| target));
    let files = targets.map(|target| target.split_once('#').map_or(target, |(file, _)| file));
    files.filter(|file| !file.is_empty() && !file.contains("://"))
}

/// Every line of the repository of which `rule` is true, as `path:number: line`.
fn lines_that(rule: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for (path, text) in sources() {
        let lines = text.lines().enumerate().filter(|(_, line)| rule(line));
        found
            .extend(lines.map(|(index, line)| format!("{}:{}: {line}", path.display(), index + 1)));
    }
    found
}

/// Whether `line` names something below `folder`, as the start of a path.
fn names_folder(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(start, found)| {
        let before = line[..start].chars().next_back();
        let after = line[start + found.len()..].chars().next();
        let starts = before.is_none_or(|c| {
            !c.is_alphanumeric() && !matches!(c, '.' | '}' | ')' | '_' | '-' | '~')
        });
        starts && after.is_some_and(|c| c.is_alphanumeric() || c == '.')
    })
}

#[test]
fn rules_for_files_can_fail() {
    let slashes = "://";
    let urls = format!("see https{slashes}mirror.corp.example.net:8080/x and http{slashes}a@b/");
    assert_eq!(
        hosts(&urls).collect::<Vec<_>>(),
        ["mirror.corp.example.net", "b"]
    );
    assert!(is_public("reg.example") && is_public("www.apache.org") && is_public("127.0.0.1"));
    assert!(!is_public("mirror.corp.example.net") && !is_public("notgithub.com"));
    let text = "[a](a.md) [b](docs/b.md#part) [c](#c) [d](mailto://d) (e)";
    assert_eq!(links(text).collect::<Vec<_>>(), ["a.md", "docs/b.md"]);
    let folder = format!("/{}/", "home");
    assert!(
        names_folder(&format!("cd {folder}me"), &folder)
            && names_folder(&format!("{folder}.cache"), &folder)
    );
    assert!(
        !names_folder(&format!("path: {folder}"), &folder)
            && !names_folder(&format!("x{folder}y"), &folder)
    );
}

/// The hosts of every `http://` and `https://` in a line; none where a variable stands for it.
fn hosts(line: &str) -> impl Iterator<Item = &str> {
    let urls = line
        .match_indices("://")
        .filter(|(start, _)| line[..*start].ends_with("http") || line[..*start].ends_with("https"));
    urls.filter_map(|(start, separator)| {
        let rest = &line[start + separator.len()..];
        let authority = rest
            .split([
                '/', ' ', '"', '\'', '`', '<', '>', ')', '\\', '?', '#', ',', ';',
            ])
            .next()?;
        let host = authority.rsplit('@').next()?;
        let host = if host.starts_with('[') {
            host.split_inclusive(']').next()?
        } else {
            host.split(':').next()?
        };
        (!host.is_empty() && !host.contains(['{', '$', '%'])).then_some(host)
    })
}

fn is_public(host: &str) -> bool {
    let written_out = host.trim_start_matches('[').trim_end_matches(']');
    // Tests of what can be reached are full of addresses, and rules of the network of stars.
    host == "*" || written_out.parse::<IpAddr>().is_ok() || is_known(host)
}

fn is_known(host: &str) -> bool {
    HOSTS.iter().any(|public| {
        host == *public
            || host
                .strip_suffix(public)
                .is_some_and(|sub| sub.ends_with('.'))
    })
}

/// Every text file that git knows, with its path from the root.
fn sources() -> Vec<(PathBuf, String)> {
    let listed = Command::new("git")
        .args(["-c", "safe.directory=*", "ls-files", "-z"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        listed.status.success(),
        "git ls-files: {}",
        String::from_utf8_lossy(&listed.stderr)
    );
    let paths = String::from_utf8(listed.stdout).unwrap();
    let paths = paths.split_terminator('\0').map(PathBuf::from);
    let files: Vec<_> = paths
        .filter_map(|path| {
            std::fs::read_to_string(root().join(&path))
                .ok()
                .map(|text| (path, text))
        })
        .collect();
    assert!(files.len() > 50, "git lists only {} files", files.len());
    files
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}
