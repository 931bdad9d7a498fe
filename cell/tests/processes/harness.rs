//! A warden of one's own: its directories, its sockets, its output, its end.

use std::collections::BTreeMap;
use std::future::Future;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use agentvm_cell_api::cell::{Stats, VmSpec, VmState, VmStatus};
use agentvm_cell_api::client::{CellClient, WardenClient};
use agentvm_cell_api::log::Line;
use agentvm_cell_api::warden::{Cell, Module, ModuleKind};
use agentvm_policy::{EndReason, Grants, Limits};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// How long anything may take that has no bound of its own.
const WITHIN: Duration = Duration::from_secs(30);

/// A running warden. Dropping it kills it; its cells go with it.
pub(crate) struct Node {
    directory: TempDir,
    warden: Child,
    stdout: Arc<Mutex<Vec<u8>>>,
    /// Held open and never read, where the node is deaf.
    unread: Option<ChildStdout>,
}

/// One cell of it.
pub(crate) struct TestCell {
    pub(crate) facts: Cell,
    pub(crate) client: CellClient,
}

impl Node {
    /// Starts a warden with the defaults and waits until it serves.
    pub(crate) async fn start() -> Self {
        Self::with(&[]).await
    }

    /// Starts a warden with more flags.
    pub(crate) async fn with(flags: &[&str]) -> Self {
        Self::start_in(TempDir::new().unwrap(), flags).await
    }

    /// Starts a warden over the directories that an earlier one has left.
    pub(crate) async fn start_in(directory: TempDir, flags: &[&str]) -> Self {
        let mut node = Self::spawn(directory, flags, Stdio::piped());
        if let Some(mut pipe) = node.unread.take() {
            let kept = node.stdout.clone();
            std::thread::spawn(move || {
                let mut chunk = [0; 8192];
                while let Ok(read @ 1..) = pipe.read(&mut chunk) {
                    kept.lock().unwrap().extend_from_slice(&chunk[..read]);
                }
            });
        }
        node.serves().await
    }

    /// Starts a warden whose stdout nobody reads.
    pub(crate) async fn deaf() -> Self {
        Self::with_stdout(Stdio::piped()).await
    }

    /// Starts a warden whose output goes anywhere, but not to the test.
    pub(crate) async fn with_stdout(stdout: Stdio) -> Self {
        let directory = TempDir::new().unwrap();
        Self::spawn(directory, &[], stdout).serves().await
    }

    fn spawn(directory: TempDir, flags: &[&str], stdout: Stdio) -> Self {
        let mut warden = Command::new(env!("CARGO_BIN_EXE_agentvm-cell"))
            .arg("warden")
            .arg("--run-dir")
            .arg(directory.path().join("run"))
            .arg("--cache-dir")
            .arg(directory.path().join("cache"))
            .arg("--log-dir")
            .arg(directory.path().join("log"))
            .args(flags)
            .env("AGENTVM_MAX_VMS_PER_CELL", "50")
            .env("CANARY", "must-never-be-seen")
            .stdout(stdout)
            .spawn()
            .unwrap();
        let unread = warden.stdout.take();
        Self {
            directory,
            warden,
            stdout: Arc::default(),
            unread,
        }
    }

    async fn serves(self) -> Self {
        eventually("the warden serves", || async {
            self.client().info().await.ok()
        })
        .await;
        self
    }

    /// The directory of the sockets.
    pub(crate) fn run_dir(&self) -> PathBuf {
        self.directory.path().join("run")
    }

    /// A client of the warden.
    pub(crate) fn client(&self) -> WardenClient {
        WardenClient::new(self.directory.path().join("run/warden.sock"))
    }

    /// The warden's process id.
    pub(crate) fn pid(&self) -> u32 {
        self.warden.id()
    }

    /// The directory of log files.
    pub(crate) fn log_dir(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    /// The compiled-code cache.
    pub(crate) fn cache(&self) -> PathBuf {
        self.directory.path().join("cache")
    }

    /// Every entry in the cache.
    pub(crate) fn cache_entries(&self) -> Vec<PathBuf> {
        let engines = std::fs::read_dir(self.cache())
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let files = engines.filter(|path| path.is_dir()).flat_map(|engine| {
            std::fs::read_dir(engine)
                .unwrap()
                .map(|entry| entry.unwrap().path())
        });
        files.collect()
    }

    /// Has a module compiled; returns its digest.
    pub(crate) async fn compile(&self, wasm: &[u8]) -> Module {
        self.client()
            .put_module(Some("team-a"), &sha256(wasm), wasm.to_vec().into())
            .await
            .unwrap()
    }

    /// Starts the cell of a namespace.
    pub(crate) async fn cell(&self, namespace: &str) -> TestCell {
        let facts = self.client().start_cell(namespace).await.unwrap();
        let client = CellClient::new(&facts.socket);
        TestCell { facts, client }
    }

    /// Every line of guest output on the warden's stdout so far.
    pub(crate) fn lines(&self) -> Vec<Line> {
        let stdout = self.stdout.lock().unwrap().clone();
        let lines = stdout
            .split_inclusive(|byte| *byte == b'\n')
            .filter(|line| line.ends_with(b"\n"));
        lines
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect()
    }

    /// Sends the warden a signal.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        kill(self.pid(), signal);
    }

    /// Waits for the warden to end by itself.
    pub(crate) async fn ended(&mut self) -> std::process::ExitStatus {
        let deadline = Instant::now() + WITHIN;
        loop {
            if let Some(status) = self.warden.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the warden does not end");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Kills the warden and keeps its directories.
    pub(crate) fn kill(mut self) -> TempDir {
        self.assert_no_host_panics();
        self.warden.kill().unwrap();
        self.warden.wait().unwrap();
        let empty = TempDir::new().unwrap();
        std::mem::replace(&mut self.directory, empty)
    }

    /// Whatever a test does to a cell: the host has not panicked in any that still answers.
    fn assert_no_host_panics(&self) {
        let Ok(sockets) = std::fs::read_dir(self.run_dir().join("cells")) else {
            return;
        };
        for socket in sockets {
            let socket = socket.unwrap().path();
            if let Some(stats) = stats(&socket) {
                assert_eq!(stats.host_panics, 0, "{}", socket.display());
            }
        }
    }
}

/// What a cell says of itself, asked without a runtime; `None` where it does not answer.
fn stats(socket: &Path) -> Option<Stats> {
    let mut socket = UnixStream::connect(socket).ok()?;
    let patience = Some(Duration::from_secs(5));
    socket.set_read_timeout(patience).ok()?;
    let request = "GET /v1/stats HTTP/1.0\r\nhost: cell\r\n\r\n";
    socket.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).ok()?;
    // One that was killed meanwhile.
    if answer.is_empty() {
        return None;
    }
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    Some(serde_json::from_str(body).unwrap())
}

impl Drop for Node {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.assert_no_host_panics();
        }
        let _gone = self.warden.kill();
        let _reaped = self.warden.wait();
    }
}

impl TestCell {
    /// Starts a VM.
    pub(crate) async fn put(&self, uid: &str, spec: &VmSpec) -> VmStatus {
        self.client.put_vm(uid, spec).await.unwrap()
    }

    /// Waits until a VM is in `state`, or past it.
    pub(crate) async fn reaches(&self, uid: &str, state: VmState) -> VmStatus {
        eventually(&format!("{uid} is {state:?}"), || async {
            self.client
                .vm(uid)
                .await
                .unwrap()
                .filter(|vm| vm.state >= state)
        })
        .await
    }

    /// Waits for a VM's end; returns its reason and exit code.
    pub(crate) async fn ends(&self, uid: &str) -> (EndReason, Option<i32>) {
        let end = self.reaches(uid, VmState::Ended).await.end.unwrap();
        (end.reason, end.exit_code)
    }

    /// The text of a VM's own log file.
    pub(crate) async fn log(&self, uid: &str) -> Vec<Line> {
        let log = self.client.log(uid).await.unwrap();
        let lines = log
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty());
        lines
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect()
    }
}

/// A specification with limits that no test guest meets by chance.
pub(crate) fn spec(module: &Module) -> VmSpec {
    VmSpec {
        name: "heron".to_owned(),
        epoch: 1,
        attempt: 0,
        fence_deadline_boottime_ms: None,
        module: module.sha256.clone(),
        kind: ModuleKind::Core,
        args: vec!["heron".to_owned()],
        env: BTreeMap::new(),
        grants: Grants {
            limits: Limits {
                memory_bytes: 16 << 20,
                cpu_millicores: 1000,
                fuel: None,
                timeout_ms: None,
                log_rate_bytes_per_second: 64 << 10,
                log_total_bytes: 1 << 30,
                storage_bytes: 1 << 20,
                inodes: 1_000,
                open_files: 64,
                connections: 32,
                egress_bytes: 1 << 20,
                egress_bytes_per_second: 1 << 20,
            },
            ..Grants::default()
        },
        mounts: Vec::new(),
        keep_files: false,
    }
}

/// Waits until `probe` yields something.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut probe: impl FnMut() -> F,
) -> T {
    let deadline = Instant::now() + WITHIN;
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {WITHIN:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until a process is gone, or a zombie of somebody else's.
pub(crate) async fn gone(pid: u32) {
    eventually(&format!("process {pid} is gone"), || async {
        let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        (status.is_empty() || status.contains(") Z ")).then_some(())
    })
    .await;
}

/// Sends a process a signal.
pub(crate) fn kill(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

/// The digest of a module.
pub(crate) fn sha256(wasm: &[u8]) -> String {
    Sha256::digest(wasm)
        .iter()
        .fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}

/// True where nothing in `directory` has a name; the directory itself is there.
pub(crate) fn is_empty(directory: &Path) -> bool {
    std::fs::read_dir(directory).unwrap().next().is_none()
}
