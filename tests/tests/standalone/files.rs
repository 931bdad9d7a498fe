//! Mounts from one YAML file, and files that are copied in and out.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use agentvm_tests::built::binary;
use agentvm_tests::process::Process;
use agentvm_tests::program::output_of;
use agentvm_tests::vm::manifest;
use agentvm_tests::wait;
use agentvm_tests::{Result, guests, scratch};
use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::{Ran, Stage};

const IMAGE: &str = "registry.test/cpython:3.12";

/// A VM that runs a Python script, and what else is in its file.
struct Script {
    stage: Stage,
    flags: Vec<String>,
}

impl Script {
    fn new(name: &str, script: &str, mounts: &Value, more: &[Value]) -> Result<Self> {
        let limits = json!({"memory": "128Mi", "cpu": "1"});
        Self::with_limits(name, script, mounts, more, &limits)
    }

    fn with_limits(
        name: &str,
        script: &str,
        mounts: &Value,
        more: &[Value],
        limits: &Value,
    ) -> Result<Self> {
        let vm =
            json!({"image": IMAGE, "args": ["-c", script], "mounts": mounts, "limits": limits});
        let mut documents = vec![manifest(name, &vm)];
        documents.extend_from_slice(more);
        let stage = Stage::new(name, &documents)?;
        let module = format!("{IMAGE}={}", guests::cpython()?.display());
        let flags = vec!["--module".to_owned(), module];
        Ok(Self { stage, flags })
    }

    fn copy_in(mut self, dir: &Path, path: &str) -> Self {
        let copy = format!("{}:{path}", dir.display());
        self.flags.extend(["--copy-in".to_owned(), copy]);
        self
    }

    fn copy_out(mut self, path: &str, dir: &Path) -> Self {
        let copy = format!("{path}:{}", dir.display());
        self.flags.extend(["--copy-out".to_owned(), copy]);
        self
    }

    /// A path in the stage's folder.
    fn path(&self, name: &str) -> PathBuf {
        self.stage.dir.join(name)
    }

    fn run(&self) -> Result<Ran> {
        let mut agentvm = Command::new(binary("agentvm")?);
        let started = Instant::now();
        let output = output_of(agentvm.args(self.stage.arguments()).args(&self.flags))?;
        Ok(Ran::new(&output, started.elapsed()))
    }

    /// That nothing runs, and one sentence says why.
    fn is_refused(&self, says: &[&str]) -> Result<()> {
        let ran = self.run()?;
        ensure!(ran.code == Some(126) && ran.stdout.is_empty(), "{ran:?}");
        for word in says {
            ensure!(ran.stderr.contains(word), "no word on {word:?}: {ran:?}");
        }
        ensure!(ran.stderr.lines().count() == 1, "{ran:?}");
        Ok(())
    }
}

fn work() -> Value {
    json!([{"path": "/work", "emptyDir": {}}])
}

fn config_map(name: &str, data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

fn policy(capabilities: &Value) -> Value {
    json!({
        "apiVersion": "agentvm.dev/v1alpha1", "kind": "AgentPolicy", "metadata": {"name": "keepers"},
        "spec": {"namespaceSelector": {}, "capabilities": capabilities},
    })
}

fn secret() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"},
        "data": {"coded": STANDARD.encode("heron"), "both": STANDARD.encode("old")},
        "stringData": {"plain": "egret", "both": "new"},
    })
}

/// A folder's paths, with the text of files and the targets of links.
fn tree(dir: &Path) -> Result<BTreeMap<String, String>> {
    let mut all = BTreeMap::new();
    let mut left = vec![dir.to_owned()];
    while let Some(next) = left.pop() {
        for entry in fs::read_dir(&next)? {
            let path = entry?.path();
            let name = path.strip_prefix(dir)?.display().to_string();
            let kind = fs::symlink_metadata(&path)?.file_type();
            let shows = if kind.is_symlink() {
                format!("-> {}", fs::read_link(&path)?.display())
            } else if kind.is_dir() {
                left.push(path);
                "dir".to_owned()
            } else {
                String::from_utf8_lossy(&fs::read(&path)?).into_owned()
            };
            all.insert(name, shows);
        }
    }
    Ok(all)
}

fn is_tree(dir: &Path, expected: &[(&str, &str)]) -> Result<()> {
    let expected: BTreeMap<String, String> = expected
        .iter()
        .map(|(name, shows)| ((*name).to_owned(), (*shows).to_owned()))
        .collect();
    let found = tree(dir)?;
    ensure!(found == expected, "{found:?} instead of {expected:?}");
    Ok(())
}

#[test]
fn a10_a_vm_sees_the_mounts_of_its_yaml_and_nothing_else() -> Result<()> {
    let script = r#"
import os, sys
sys.stdout.reconfigure(encoding="utf-8")
for path in ("/", "/etc", "/etc/app", "/keys", "/none"):
    print(path, [name for name in sorted(os.listdir(path)) if not name.startswith("..")])
for path in ("/etc/app/text", "/etc/app/deep/bin", "/keys/coded", "/keys/plain", "/keys/both"):
    print(path, open(path, "rb").read())
for path in ("/etc/passwd", "/proc/1/environ", "/proc/self/root/etc", "/dev/fd/3", "/sys",
             "/var/run/secrets/kubernetes.io/serviceaccount/token", "/etc/app/../../proc"):
    try:
        os.stat(path)
        print("found", path)
    except OSError as error:
        assert error.strerror == "No such file or directory", error
for path in ("/etc/app/text", "/etc/app/new", "/keys/plain", "/new"):
    try:
        open(path, "w")
        print("wrote", path)
    except OSError as error:
        print(path, error.strerror)
"#;
    let mut map = config_map("settings", &json!({"text": "täxt", "unused": ""}));
    map["binaryData"] = json!({"bin": STANDARD.encode([0_u8, 255])});
    let mounts = json!([
        {"path": "/etc/app", "configMap": {"name": "settings", "items": [
            {"key": "text", "path": "text"}, {"key": "bin", "path": "deep/bin"}]}},
        {"path": "/keys", "secret": {"secretName": "keys"}},
        {"path": "/none", "configMap": {"name": "nobody", "optional": true}},
    ]);
    let more = [policy(&json!({"secretMounts": {}})), map, secret()];
    let ran = Script::new("st-mounts", script, &mounts, &more)?.run()?;
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(
        lines,
        [
            "/ ['etc', 'keys', 'none']",
            "/etc ['app']",
            "/etc/app ['deep', 'text']",
            "/keys ['both', 'coded', 'plain']",
            "/none []",
            r"/etc/app/text b't\xc3\xa4xt'",
            r"/etc/app/deep/bin b'\x00\xff'",
            "/keys/coded b'heron'",
            "/keys/plain b'egret'",
            "/keys/both b'new'",
            "/etc/app/text Read-only file system",
            "/etc/app/new Read-only file system",
            "/keys/plain Read-only file system",
            "/new Read-only file system",
        ],
        "{ran:?}"
    );
    assert_eq!(ran.code, Some(0), "{ran:?}");
    Ok(())
}

#[test]
fn a_secret_needs_a_policy_in_the_file_that_allows_it() -> Result<()> {
    let mounts = json!([{"path": "/keys", "secret": {"secretName": "keys"}}]);
    for (name, more, says) in [
        (
            "st-no-policy",
            vec![secret()],
            "no AgentPolicy selects the namespace",
        ),
        (
            "st-other-policy",
            vec![
                secret(),
                policy(&json!({"clock": {"minResolution": "1ms"}})),
            ],
            "AgentPolicy \"keepers\"",
        ),
    ] {
        let script = Script::new(name, "print('never')", &mounts, &more)?;
        script.is_refused(&["spec.mounts[0].secret", says, "PolicyRefused"])?;
    }
    Ok(())
}

#[test]
fn what_a_mount_lacks_is_named_by_file_field_and_object() -> Result<()> {
    let allowed = policy(&json!({"secretMounts": {}}));
    let settings = config_map("settings", &json!({"a": "1"}));
    let odd = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}, "data": {"k": "hunter2!"}});
    for (name, mount, more, says) in [
        (
            "st-no-map",
            json!({"configMap": {"name": "ghost"}}),
            vec![],
            &[
                "vm.yaml",
                "spec.mounts[0].configMap.name",
                "ConfigMap ghost",
            ][..],
        ),
        (
            "st-no-key",
            json!({"configMap": {"name": "settings", "items": [{"key": "b", "path": "b"}]}}),
            vec![settings],
            &[
                "vm.yaml",
                "spec.mounts[0].configMap.items[0]",
                "settings",
                "no key b",
            ],
        ),
        (
            "st-no-secret",
            json!({"secret": {"secretName": "ghost"}}),
            vec![allowed.clone()],
            &[
                "vm.yaml",
                "spec.mounts[0].secret.secretName",
                "Secret ghost",
            ],
        ),
        (
            "st-odd-secret",
            json!({"secret": {"secretName": "keys"}}),
            vec![allowed, odd],
            &["vm.yaml", "Secret keys", "base64"],
        ),
    ] {
        let mut mount = mount;
        mount["path"] = json!("/a");
        let script = Script::new(name, "print('never')", &json!([mount]), &more)?;
        script.is_refused(says)?;
        let said = script.run()?.stderr;
        ensure!(
            !said.contains("hunter2"),
            "a Secret's bytes are said: {said}"
        );
    }
    Ok(())
}

const COPIER: &str = r#"
import os, shutil, sys
os.chdir("/work")
seen = sorted(os.path.join(where, name) for where, dirs, files in os.walk(".") for name in dirs + files)
print(seen, os.readlink("in/link"), open("in/deep/ä", "rb").read(), os.stat("in/empty").st_mtime)
os.makedirs("out/made/empty")
shutil.copy("in/deep/ä", "out/ö")
os.link("out/ö", "out/made/hard")
os.symlink("/etc/passwd", "out/link")
open("out/big", "wb").write(bytes(range(256)) * 4096)
sys.exit(3)
"#;

#[test]
fn files_are_copied_in_before_the_start_and_out_after_the_end() -> Result<()> {
    let script = Script::new("st-copy", COPIER, &work(), &[])?;
    let (input, out) = (script.path("input"), script.path("results"));
    fs::create_dir_all(input.join("deep"))?;
    fs::write(input.join("deep/ä"), "heron")?;
    fs::write(input.join("empty"), "")?;
    let time = std::time::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    fs::File::open(input.join("empty"))?.set_modified(time)?;
    symlink("/etc/shadow", input.join("link"))?;
    let ran = script
        .copy_in(&input, "/work/in")
        .copy_out("/work/out", &out)
        .run()?;
    assert_eq!(ran.code, Some(3), "the guest's own: {ran:?}");
    let said = "['./in', './in/deep', './in/deep/ä', './in/empty', './in/link'] /etc/shadow b'heron' 1700000000.0\n";
    assert_eq!(ran.stdout, said, "{ran:?}");
    let big = fs::read(out.join("big"))?;
    ensure!(big.len() == 1 << 20 && big.chunks(256).all(|all| all.iter().copied().eq(0..=255)));
    fs::remove_file(out.join("big"))?;
    is_tree(
        &out,
        &[
            ("link", "-> /etc/passwd"),
            ("made", "dir"),
            ("made/empty", "dir"),
            ("made/hard", "heron"),
            ("ö", "heron"),
        ],
    )
}

#[test]
fn one_file_can_be_copied_out_and_a_mount_in_the_mount_is_left_out() -> Result<()> {
    let mounts = json!([
        {"path": "/work", "emptyDir": {}},
        {"path": "/work/keys", "secret": {"secretName": "keys"}},
    ]);
    let more = [policy(&json!({"secretMounts": {}})), secret()];
    let text = "open('/work/report', 'w').write(open('/work/keys/plain').read())";
    let script = Script::new("st-one", text, &mounts, &more)?;
    let (one, all) = (script.path("one"), script.path("all"));
    let ran = script
        .copy_out("/work/report", &one)
        .copy_out("/work/", &all)
        .run()?;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    is_tree(&one, &[("report", "egret")])?;
    is_tree(&all, &[("report", "egret")])
}

/// A guest that leaves links for whoever copies its files out.
const TRAPPER: &str = r#"
import os
os.makedirs("/work/out/d")
os.chdir("/work/out")
for index, target in enumerate(["/", "..", "../../../../../../etc", "/proc/self/root", "OUTSIDE", "d", "loop0"]):
    os.symlink(target, f"loop{index}")
os.symlink("OUTSIDE/canary", "d/canary")
open("d/plain", "w").write("plain")
"#;

#[test]
fn a06_links_that_a_guest_leaves_are_links_and_nothing_is_written_through_them() -> Result<()> {
    let outside = scratch::dir("st-outside")?;
    fs::write(outside.join("canary"), "CANARY")?;
    let text = TRAPPER.replace("OUTSIDE", outside.to_str().context("UTF-8")?);
    let script = Script::new("st-trapper", &text, &work(), &[])?;
    let out = script.path("results");
    let ran = script.copy_out("/work/out", &out).run()?;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let to_outside = format!("-> {}", outside.display());
    is_tree(
        &out,
        &[
            ("d", "dir"),
            ("d/canary", &format!("{to_outside}/canary")),
            ("d/plain", "plain"),
            ("loop0", "-> /"),
            ("loop1", "-> .."),
            ("loop2", "-> ../../../../../../etc"),
            ("loop3", "-> /proc/self/root"),
            ("loop4", &to_outside),
            ("loop5", "-> d"),
            ("loop6", "-> loop0"),
        ],
    )?;
    is_tree(&outside, &[("canary", "CANARY")])
}

#[test]
fn a06_what_is_copied_out_can_be_no_link_itself() -> Result<()> {
    let mounts = json!([
        {"path": "/work", "emptyDir": {}},
        {"path": "/keys", "secret": {"secretName": "keys"}},
    ]);
    let more = [policy(&json!({"secretMounts": {}})), secret()];
    let text = "import os; os.symlink('/keys', '/work/out')";
    let script = Script::new("st-link", text, &mounts, &more)?;
    let out = script.path("results");
    let ran = script.copy_out("/work/out", &out).run()?;
    assert_eq!(ran.code, Some(123), "{ran:?}");
    ensure!(ran.stderr.contains("/work/out") && !out.exists(), "{ran:?}");
    Ok(())
}

#[test]
fn a17_a_folder_with_a_fifo_is_not_copied_in_and_nothing_runs() -> Result<()> {
    let script = Script::new("st-fifo", "print('never')", &work(), &[])?;
    let input = script.path("input");
    fs::create_dir(&input)?;
    let mode = rustix::fs::Mode::from_bits_retain(0o600);
    rustix::fs::mkfifoat(rustix::fs::CWD, input.join("pipe"), mode)?;
    let script = script.copy_in(&input, "/work");
    script.is_refused(&["--copy-in", "pipe", "a FIFO"])
}

#[test]
fn e08_what_is_copied_in_is_held_to_the_quotas() -> Result<()> {
    let input = scratch::dir("st-quota-input")?;
    for index in 0..64 {
        fs::write(input.join(format!("f{index}")), vec![b'x'; 32 << 10])?;
    }
    let limit = |name: &str, mounts: Value, limits: Value| {
        let script = Script::with_limits(name, "print('never')", &mounts, &[], &limits)?;
        Ok::<_, anyhow::Error>(script.copy_in(&input, "/work"))
    };
    let tight = limit("st-quota-bytes", work(), json!({"storage": "1Mi"}))?;
    tight.is_refused(&["--copy-in", "spec.limits.storage of 1Mi"])?;
    // 64 files fit, their inodes and names do not.
    let held = limit("st-quota-held", work(), json!({"storage": "2100000"}))?;
    held.is_refused(&["/work", "limits.storage"])?;
    let many = limit("st-quota-inodes", work(), json!({"inodes": 50}))?;
    many.is_refused(&["--copy-in", "spec.limits.inodes of 50"])?;
    let small = json!([{"path": "/work", "emptyDir": {"sizeLimit": "1Mi"}}]);
    let mount = limit("st-quota-mount", small, json!({}))?;
    mount.is_refused(&["/work", "sizeLimit"])
}

#[test]
fn copies_that_no_mount_fits_are_refused_before_anything_runs() -> Result<()> {
    let mounts = json!([
        {"path": "/work", "emptyDir": {}},
        {"path": "/still", "readOnly": true, "emptyDir": {}},
        {"path": "/app", "configMap": {"name": "settings"}},
    ]);
    let settings = config_map("settings", &json!({"a": "1"}));
    let new = |name: &str| {
        Script::new(
            name,
            "print('never')",
            &mounts,
            std::slice::from_ref(&settings),
        )
    };
    let empty = scratch::dir("st-copies-empty")?;
    let full = scratch::dir("st-copies-full")?;
    fs::write(full.join("precious"), "mine")?;
    for (name, path, says) in [
        ("st-refused-app", "/app", "ConfigMap"),
        ("st-refused-still", "/still/x", "readOnly"),
        ("st-refused-none", "/tmp", "in no mount"),
        ("st-refused-up", "/work/../app", ".."),
    ] {
        new(name)?
            .copy_in(&empty, path)
            .is_refused(&["--copy-in", says])?;
        let out = empty.join("out");
        new(name)?
            .copy_out(path, &out)
            .is_refused(&["--copy-out", says])?;
    }
    let gone = full.join("gone");
    new("st-refused-gone")?
        .copy_in(&gone, "/work")
        .is_refused(&["--copy-in", "gone"])?;
    new("st-refused-full")?
        .copy_out("/work", &full)
        .is_refused(&["--copy-out", "not empty"])?;
    let other = manifest("other", &json!({"image": IMAGE}));
    Script::new("st-refused-two", "", &work(), &[other])?
        .copy_out("/work", &empty)
        .is_refused(&["--copy-out", "exactly one AgentVM", "hold 2"])?;
    is_tree(&full, &[("precious", "mine")])
}

#[test]
fn what_was_not_there_to_be_copied_out_has_an_exit_code_of_its_own() -> Result<()> {
    for (name, code, exit) in [("st-absent-0", 0, 123), ("st-absent-4", 4, 4)] {
        let text = format!("import sys; sys.exit({code})");
        let script = Script::new(name, &text, &work(), &[])?;
        let out = script.path("results");
        let ran = script.copy_out("/work/none", &out).run()?;
        assert_eq!(ran.code, Some(exit), "{ran:?}");
        for word in ["--copy-out", "/work/none", "no such file"] {
            ensure!(ran.stderr.contains(word), "no word on {word:?}: {ran:?}");
        }
        ensure!(!out.exists(), "{ran:?}");
    }
    Ok(())
}

#[test]
fn what_a_guest_leaves_is_copied_out_when_it_is_stopped() -> Result<()> {
    let text = r#"
import sys
open("/work/early", "w").write("early")
print("up", flush=True)
sys.stdin.read()
open("/work/late", "w").write("late")
"#;
    let script = Script::new("st-stopped", text, &work(), &[])?;
    let out = script.path("results");
    let script = script.copy_out("/work", &out);
    let agentvm = Process::start(
        "agentvm",
        &script.stage.dir,
        binary("agentvm")?,
        |command| command.args(script.stage.arguments()).args(&script.flags),
    )?;
    wait::until("the guest to be up", || {
        agentvm.must_run()?;
        let stdout = agentvm.stdout()?;
        Ok(wait::yes_if(stdout == "up\n", || stdout))
    })?;
    agentvm.signal(Signal::INT)?;
    agentvm.wait_for_end(Duration::from_secs(20))?;
    is_tree(&out, &[("early", "early"), ("late", "late")])
}
