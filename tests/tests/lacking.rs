//! Machines that lack what guests need: the warden ends with one sentence, or runs with less and
//! the AgentNode says so.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use agentvm_tests::built::binary;
use agentvm_tests::identity::{self, BoundTo};
use agentvm_tests::operator::Operator;
use agentvm_tests::process::Process;
use agentvm_tests::vm::{Namespace, condition, text};
use agentvm_tests::{Result, cluster, http, scratch, wait};
use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

/// The user that our image runs as.
const USER: &str = "65532";

/// A warden's folder, and how its program is called.
struct Site {
    dir: PathBuf,
    wrap: Vec<String>,
    flags: Vec<String>,
}

impl Site {
    fn new(name: &str) -> Result<Self> {
        let dir = scratch::dir(name)?;
        Ok(Self {
            dir,
            wrap: Vec::new(),
            flags: Vec::new(),
        })
    }

    /// The words that stand before the warden's program.
    fn wrapped(mut self, words: &[&str]) -> Self {
        self.wrap.extend(words.iter().map(|&word| word.to_owned()));
        self
    }

    fn with(mut self, flags: &[&str]) -> Self {
        self.flags.extend(flags.iter().map(|&flag| flag.to_owned()));
        self
    }

    fn without_landlock(self) -> Result<Self> {
        let launcher = binary("without-landlock")?.display().to_string();
        Ok(self.wrapped(&[&launcher]))
    }

    /// A file of this text lies over `vm.max_map_count`, for this process alone: the setting is
    /// the whole machine's.
    fn with_map_count(self, text: &str) -> Result<Self> {
        let file = self.dir.join("max_map_count");
        fs::write(&file, text)?;
        let script = format!(
            "mount --bind {} /proc/sys/vm/max_map_count && exec \"$@\"",
            file.display()
        );
        Ok(self.wrapped(&["unshare", "--mount", "sh", "-c", &script, "sh"]))
    }

    fn warden(&self) -> Result<Process> {
        self.warden_of(&binary("agentvm-cell")?)
    }

    fn warden_of(&self, program: &Path) -> Result<Process> {
        let mut words = self.wrap.clone();
        words.push(program.display().to_string());
        let first = words.remove(0);
        let folder = |name: &str| self.dir.join(name);
        Process::start("warden", &self.dir, first, |command| {
            command
                .args(words)
                .arg("warden")
                .arg("--run-dir")
                .arg(folder("run"))
                .arg("--cache-dir")
                .arg(folder("state"))
                .arg("--log-dir")
                .arg(folder("logs"))
                .args(&self.flags)
        })
    }

    fn info(&self) -> Result<Value> {
        let socket = self.dir.join("run/warden.sock");
        wait::until("the warden to serve", || {
            Ok(match http::get_unix(&socket, "/v1/info") {
                Ok(answer) => wait::Look::Yes(serde_json::from_str(&answer.body)?),
                Err(error) => wait::Look::NotYet(format!("{error:#}")),
            })
        })
    }
}

/// What the warden's log ends with, once it has ended by itself.
fn last_words(warden: &Process) -> Result<String> {
    let status = warden.wait_for_end(wait::PATIENCE)?;
    ensure!(!status.success(), "it ended well");
    let log = warden.stderr()?;
    Ok(log.lines().last().context("it said nothing")?.to_owned())
}

#[test]
fn a_kernel_without_landlock_ends_the_warden_with_a_sentence() -> Result<()> {
    let site = Site::new("no-landlock")?.without_landlock()?;
    let said = last_words(&site.warden()?)?;
    assert!(
        said.starts_with(
            "Error: --require-jail is full, but this kernel allows only partial: no Landlock"
        ),
        "{said}"
    );
    Ok(())
}

#[test]
fn a_container_that_is_too_small_ends_the_warden_with_the_limit_and_what_is_needed() -> Result<()> {
    let site = Site::new("small")?;
    let groups = site.dir.join("groups");
    // What the kernel shows of a group, in both versions of the interface.
    for (path, text) in [
        ("cgroup.controllers", "memory\n"),
        ("memory.max", "25165824\n"),
        ("memory.current", "1000\n"),
        ("memory.stat", "inactive_file 0\n"),
        ("memory/memory.limit_in_bytes", "25165824\n"),
        ("memory/memory.usage_in_bytes", "1000\n"),
        ("memory/memory.stat", "total_inactive_file 0\n"),
    ] {
        let path = groups.join(path);
        fs::create_dir_all(path.parent().context("a file has a folder")?)?;
        fs::write(path, text)?;
    }
    let site = site.with(&["--cgroup-dir", &groups.display().to_string()]);
    let said = last_words(&site.warden()?)?;
    assert!(said.contains("memory limit is 24 MiB"), "{said}");
    assert!(
        said.contains("node.cells.resources.limits.memory"),
        "{said}"
    );
    Ok(())
}

#[test]
fn a_state_directory_of_another_user_ends_the_warden_with_its_path_and_user() -> Result<()> {
    let site = Site::new("foreign")?;
    // The user of our image can't look into root's folders, where Cargo builds.
    let program = site.dir.join("agentvm-cell");
    fs::copy(binary("agentvm-cell")?, &program)?;
    for (folder, mode) in [("run", 0o777), ("logs", 0o777), ("state", 0o755)] {
        let folder = site.dir.join(folder);
        fs::create_dir(&folder)?;
        fs::set_permissions(&folder, fs::Permissions::from_mode(mode))?;
    }
    for folder in ["run", "logs"] {
        std::os::unix::fs::chown(site.dir.join(folder), Some(65532), Some(65532))?;
    }
    let user = [
        "setpriv",
        "--reuid",
        USER,
        "--regid",
        USER,
        "--clear-groups",
    ];
    let site = site.wrapped(&user);
    let said = last_words(&site.warden_of(&program)?)?;
    let wanted = format!(
        "Error: --cache-dir {} can't be written by user {USER}",
        site.dir.join("state").display()
    );
    assert!(
        said.starts_with(&wanted) && said.contains("mode 0700"),
        "{said}"
    );
    Ok(())
}

#[test]
fn a_state_directory_that_is_read_only_ends_the_warden_with_its_path() -> Result<()> {
    let site = Site::new("read-only")?;
    let state = site.dir.join("state");
    fs::create_dir(&state)?;
    let state = state.display();
    let script =
        format!("mount --bind {state} {state} && mount -o remount,ro,bind {state} && exec \"$@\"");
    let site = site.wrapped(&["unshare", "--mount", "sh", "-c", &script, "sh"]);
    let said = last_words(&site.warden()?)?;
    assert!(
        said.contains("--cache-dir") && said.contains("Read-only file system"),
        "{said}"
    );
    Ok(())
}

#[test]
fn too_few_memory_maps_for_a_single_vm_end_the_warden_with_what_to_set() -> Result<()> {
    let site = Site::new("no-maps")?.with_map_count("64\n")?;
    let said = last_words(&site.warden()?)?;
    assert!(
        said.contains("vm.max_map_count is 64 on this node") && said.contains("sysctl -w"),
        "{said}"
    );
    Ok(())
}

#[test]
fn a_node_that_runs_with_less_says_so_and_is_offered_what_fits() -> Result<()> {
    let plane = cluster::installed()?;
    let dir = scratch::dir("lack-op")?;
    let _operator = Operator::start(plane, &dir, "lack-op")?;
    let site = Site::new("less")?
        .with_map_count("2048\n")?
        .without_landlock()?
        .with(&["--require-jail", "partial", "--max-vms-per-cell", "1000"]);
    let warden = site.warden()?;
    let info = site.info()?;
    assert_eq!(
        (&info["jail"], &info["maxVmsPerCell"]),
        (&json!("Partial"), &json!(320))
    );
    assert!(warden.stderr()?.contains("holds 320 VMs and not 1000"));

    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "slate"}});
    plane.api.create("/api/v1/nodes", &node)?;
    let kubeconfig = identity::node_agent(plane, "slate", BoundTo::Node)?;
    let listen = http::loopback(http::free_port()?);
    let agent = Process::start(
        "agent",
        &site.dir,
        binary("agentvm-node-agent")?,
        |command| {
            command
                .env("KUBECONFIG", &kubeconfig)
                .args(["--node-name", "slate", "--run-dir"])
                .arg(site.dir.join("run"))
                .args(["--listen", &listen.to_string(), "--memory", "1Gi"])
        },
    )?;
    let path = "/apis/agentvm.dev/v1alpha1/agentnodes/slate";
    let node = wait::until("the AgentNode to say what the node lacks", || {
        agent.must_run()?;
        let node = plane.api.get(path)?.unwrap_or_default();
        Ok(match condition(&node, "Constrained") {
            Some(found) if found.status == "True" => wait::Look::Yes(node),
            other => wait::Look::NotYet(format!("{other:?}")),
        })
    })?;
    let constrained = condition(&node, "Constrained").context("seen a moment ago")?;
    assert_eq!(constrained.reason, "TooFewMaps");
    assert!(
        constrained.message.contains("raise it to 6128"),
        "{constrained:?}"
    );
    assert_eq!(node["status"]["allocatable"]["vms"], json!(320));
    assert_eq!(text(&node, "/status/jail/level"), "Partial");
    assert!(
        text(&node, "/status/jail/message").contains("no Landlock"),
        "{node}"
    );

    let namespace = Namespace::create(plane, "lacking")?;
    namespace.run_probe("waits", "hello", &json!({}))?;
    namespace.wait_for("waits", "be told of the jail", |vm| {
        condition(vm, "Placed").is_some_and(|placed| placed.message.contains("jail"))
    })?;

    warden.crash()?;
    wait::until(
        "the AgentNode to say where the warden's end is told",
        || {
            let node = plane.api.get(path)?.unwrap_or_default();
            let ready = condition(&node, "Ready").context("Ready")?;
            let told =
                ready.status == "False" && ready.message.contains("the node pod's container cells");
            Ok(wait::yes_if(told, || format!("{ready:?}")))
        },
    )
}
