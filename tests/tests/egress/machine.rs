//! A warden and a gateway of a test's own, and the VMs that it runs there.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use agentvm_cell_api::cell::{VmSpec, VmState, VmStatus};
use agentvm_cell_api::client::{CellClient, GatewayClient, WardenClient};
use agentvm_cell_api::gateway::{self, Key};
use agentvm_cell_api::log::Line;
use agentvm_cell_api::warden::ModuleKind;
use agentvm_policy::egress::RuleText;
use agentvm_policy::{Grants, LimitField, Limits};
use agentvm_tests::built::binary;
use agentvm_tests::process::Process;
use agentvm_tests::{cache, guests, scratch};
use sha2::{Digest as _, Sha256};
use tokio::sync::OnceCell;

use agentvm_tests::internet::authority::Authority;
use agentvm_tests::internet::dns::{self, Dns};

/// How long anything may take that has no bound of its own.
const WITHIN: Duration = Duration::from_mins(1);

/// The namespace of most VMs.
pub(crate) const NAMESPACE: &str = "team-a";

/// Everything between a guest and the internet, and the internet's names.
pub(crate) struct Machine {
    pub(crate) dns: Dns,
    pub(crate) authority: Authority,
    dir: PathBuf,
    warden: Process,
    gateway: Option<Process>,
    gateways: usize,
    module: OnceCell<String>,
}

/// What one VM is given besides the program.
#[derive(Clone)]
pub(crate) struct Given {
    pub(crate) namespace: &'static str,
    pub(crate) network: bool,
    pub(crate) args: Vec<String>,
}

/// A rule for one host by https.
pub(crate) fn rule(host: &str, methods: &[&str], paths: &[&str]) -> gateway::Rule {
    gateway::Rule {
        allow: RuleText::new(host, methods, paths),
        inject: Vec::new(),
    }
}

/// The same by http, on any port that is named.
pub(crate) fn plain_rule(host: &str, ports: &[u16]) -> gateway::Rule {
    gateway::Rule {
        allow: RuleText {
            ports: ports.to_vec(),
            scheme: Some("http".to_owned()),
            ..RuleText::new(host, &["*"], &["*"])
        },
        inject: Vec::new(),
    }
}

/// The rule, with this key in `Authorization`.
pub(crate) fn with_key(rule: gateway::Rule, key: &str) -> gateway::Rule {
    gateway::Rule {
        inject: vec![gateway::Inject {
            header: "Authorization".to_owned(),
            template: "Bearer {}".to_owned(),
            key: Key::from(key.to_owned()),
        }],
        ..rule
    }
}

impl Machine {
    /// Starts it in the network of this thread.
    pub(crate) async fn start(name: &str) -> Self {
        let mut machine = Self::without_gateway(name).await;
        machine.start_gateway().await;
        machine
    }

    /// A warden that was told of a gateway, which is not there.
    pub(crate) async fn without_gateway(name: &str) -> Self {
        let dir = scratch::dir(name).unwrap();
        let gateway_dir = dir.join("gw");
        Self::with_warden_flags(dir, &["--gateway-dir", gateway_dir.to_str().unwrap()]).await
    }

    /// A warden with these flags besides the directories.
    pub(crate) async fn with_warden_flags(dir: PathBuf, flags: &[&str]) -> Self {
        let authority = Authority::default();
        authority.write(&dir.join("roots.pem"));
        let warden = start(&dir, "warden", "agentvm-cell", |command| {
            command.arg("warden");
            for (flag, dir) in [
                ("--run-dir", dir.join("run")),
                ("--log-dir", dir.join("log")),
                ("--cache-dir", cache::dir().unwrap().join("egress-code")),
            ] {
                command.arg(flag).arg(dir);
            }
            command.args(flags).env("AGENTVM_MAX_VMS_PER_CELL", "20")
        });
        let machine = Self {
            dns: Dns::start().await,
            authority,
            warden,
            gateway: None,
            gateways: 0,
            module: OnceCell::new(),
            dir,
        };
        until("the warden serves", || async {
            machine.warden.must_run().unwrap();
            machine.warden_client().info().await.is_ok()
        })
        .await;
        machine
    }

    /// Starts a gateway, in the place of one that has ended. It knows its node, and no VM.
    pub(crate) async fn start_gateway(&mut self) {
        let dir = self.dir.join("gw");
        self.gateways += 1;
        let name = format!("gateway-{}", self.gateways);
        let gateway = start(&self.dir, &name, "agentvm-gateway", |command| {
            command.arg("--dir").arg(&dir);
            command
                .arg("--root-certificates")
                .arg(self.dir.join("roots.pem"));
            command.arg("--access-log").arg(self.access_log());
            command.args(["--name-server", &dns::ADDRESS.to_string()])
        });
        let client = self.gateway();
        until("the gateway serves", || async {
            gateway.must_run().unwrap();
            client.info().await.is_ok()
        })
        .await;
        let node = gateway::Node {
            cluster: vec!["10.96.0.0/12".parse().unwrap()],
            own: Vec::new(),
        };
        client.put_node(&node).await.unwrap();
        self.gateway = Some(gateway);
    }

    /// Kills the gateway as a crash would.
    pub(crate) fn crash_gateway(&mut self) {
        self.gateway.take().unwrap().crash().unwrap();
    }

    pub(crate) fn gateway(&self) -> GatewayClient {
        GatewayClient::of_dir(&self.dir.join("gw"))
    }

    pub(crate) fn gateway_dir(&self) -> PathBuf {
        self.dir.join("gw")
    }

    fn warden_client(&self) -> WardenClient {
        WardenClient::new(self.dir.join("run/warden.sock"))
    }

    fn access_log(&self) -> PathBuf {
        self.dir.join("access.log")
    }

    /// The lines of the access log so far.
    pub(crate) fn accesses(&self) -> Vec<serde_json::Value> {
        let text = fs::read_to_string(self.access_log()).unwrap_or_default();
        let lines = text.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// Allows a VM these requests, and no others.
    pub(crate) async fn allow(&self, namespace: &str, uid: &str, rules: Vec<gateway::Rule>) {
        let default = |field: LimitField| field.default().unwrap();
        let vm = gateway::Vm {
            namespace: namespace.to_owned(),
            name: format!("name-of-{uid}"),
            rules,
            networks: Vec::new(),
            limits: gateway::Limits {
                connections: default(LimitField::Connections),
                egress_bytes: default(LimitField::Egress),
                egress_bytes_per_second: default(LimitField::EgressRate),
            },
            fence_deadline_boottime_ms: None,
        };
        self.gateway().put_vm(uid, &vm).await.unwrap();
    }

    /// Runs the guest to its end; the lines that it has printed.
    pub(crate) async fn run(&self, uid: &str, given: Given) -> Vec<String> {
        let cell = self.begin(uid, given).await;
        let end = self.end(&cell, uid).await.end.unwrap();
        assert_eq!(end.exit_code, Some(0), "{end:?}");
        self.lines(&cell, uid).await
    }

    /// Runs it with rules that it has; the lines that it has printed.
    pub(crate) async fn ask(&self, uid: &str, args: &[&str]) -> Vec<String> {
        self.run(uid, asking(args)).await
    }

    /// Starts the guest.
    pub(crate) async fn begin(&self, uid: &str, given: Given) -> CellClient {
        let module = self.module.get_or_init(|| self.compile()).await.clone();
        let cell = self
            .warden_client()
            .start_cell(given.namespace)
            .await
            .unwrap();
        let cell = CellClient::new(&cell.socket);
        cell.put_vm(uid, &spec(&module, given)).await.unwrap();
        cell
    }

    /// Compiles the guest, or finds what another test's machine has compiled.
    async fn compile(&self) -> String {
        static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
        let _turn = TURN.lock().await;
        let path = tokio::task::spawn_blocking(|| guests::go_for_vms("ask").unwrap());
        let wasm = fs::read(path.await.unwrap()).unwrap();
        let digest = Sha256::digest(&wasm);
        let digest = digest
            .iter()
            .fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
        let client = self.warden_client();
        let module = client
            .put_module(Some(NAMESPACE), &digest, wasm.into())
            .await;
        module.unwrap().sha256
    }

    /// Waits for the guest's end.
    pub(crate) async fn end(&self, cell: &CellClient, uid: &str) -> VmStatus {
        let ended = async || {
            let status = cell.vm(uid).await.unwrap().unwrap();
            (status.state == VmState::Ended).then_some(status)
        };
        let deadline = tokio::time::Instant::now() + WITHIN;
        loop {
            if let Some(status) = ended().await {
                return status;
            }
            let lines = self.lines(cell, uid).await;
            assert!(tokio::time::Instant::now() < deadline, "{lines:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// What the guest has printed so far.
    pub(crate) async fn lines(&self, cell: &CellClient, uid: &str) -> Vec<String> {
        let log = cell.log(uid).await.unwrap();
        let lines = log
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty());
        lines
            .map(|line| serde_json::from_slice::<Line>(line).unwrap().text.unwrap())
            .collect()
    }

    /// Everything that the processes have written, and every file of the machine's, by name.
    pub(crate) fn everything_written(&self) -> BTreeMap<PathBuf, String> {
        let mut all = BTreeMap::new();
        let mut left = vec![self.dir.clone()];
        while let Some(dir) = left.pop() {
            for entry in fs::read_dir(dir).unwrap() {
                let entry = entry.unwrap();
                let kind = entry.file_type().unwrap();
                if kind.is_dir() {
                    left.push(entry.path());
                } else if kind.is_file() {
                    let bytes = fs::read(entry.path()).unwrap();
                    let text = String::from_utf8_lossy(&bytes).into_owned();
                    all.insert(entry.path(), text);
                }
            }
        }
        all
    }

    /// The process ids of the cell of `namespace`, and of the warden.
    pub(crate) async fn pids(&self, namespace: &str) -> [u32; 2] {
        let cell = self.warden_client().start_cell(namespace).await.unwrap();
        [cell.pid, u32::try_from(self.warden.pid()).unwrap()]
    }
}

/// A guest of the usual namespace that may make requests.
pub(crate) fn asking(args: &[&str]) -> Given {
    Given {
        namespace: NAMESPACE,
        network: true,
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
    }
}

/// The flag of `nsenter` for the network of this thread.
pub(crate) fn here() -> String {
    let (process, thread) = (std::process::id(), rustix::thread::gettid());
    format!("--net=/proc/{process}/task/{thread}/ns/net")
}

/// Starts a program in the network of this thread.
fn start(
    dir: &Path,
    name: &str,
    program: &str,
    describe: impl FnOnce(&mut std::process::Command) -> &mut std::process::Command,
) -> Process {
    let network = here();
    Process::start(name, dir, "nsenter", |command| {
        command.arg(network).arg("--").arg(binary(program).unwrap());
        describe(command)
    })
    .unwrap()
}

fn spec(module: &str, given: Given) -> VmSpec {
    let Given {
        namespace: _,
        network,
        mut args,
    } = given;
    args.insert(0, "ask".to_owned());
    VmSpec {
        name: "heron".to_owned(),
        epoch: 1,
        attempt: 0,
        fence_deadline_boottime_ms: None,
        module: module.to_owned(),
        kind: ModuleKind::Core,
        args,
        env: BTreeMap::new(),
        grants: Grants {
            limits: Limits {
                memory_bytes: 256 << 20,
                cpu_millicores: 2_000,
                fuel: None,
                timeout_ms: Some(60_000),
                log_rate_bytes_per_second: 1 << 20,
                log_total_bytes: 16 << 20,
                storage_bytes: 0,
                inodes: 0,
                open_files: 128,
                connections: 32,
                egress_bytes: 100 << 20,
                egress_bytes_per_second: 10 << 20,
            },
            network,
            ..Grants::default()
        },
        mounts: Vec::new(),
        keep_files: false,
    }
}

/// Waits until something holds, and not for ever.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let deadline = tokio::time::Instant::now() + WITHIN;
    while !holds().await {
        assert!(
            tokio::time::Instant::now() < deadline,
            "not in time: {what}"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
