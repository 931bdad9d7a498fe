//! `agentvm run`: the standalone path. It starts a warden, plays the node agent with the very
//! same core, and streams what the guests print.

mod board;
mod child;
mod copy;
mod ending;
mod files;
mod gateway;
mod output;
mod parent;
mod stage;
mod warden;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use agentvm_cell_api::client::{GatewayClient, WardenClient};
use agentvm_cell_api::gateway::Node;
use agentvm_crds::AgentVM;
use agentvm_node_agent::agent::{Agent, Input, Inputs};
use agentvm_node_agent::border::Warning;
use agentvm_node_agent::catalogue::Change;
use agentvm_node_agent::execute::Executor;
use agentvm_node_agent::metrics::Metrics;
use agentvm_node_agent::registry::Registry;
use agentvm_node_agent::{serve, watch_gateway};
use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use self::board::Board;
use self::copy::{Copies, CopyIn, CopyOut, Target};
use self::ending::{End, Ending, Summary};
use self::files::{Files, ModuleFile};
use self::gateway::{Gateway, NetworkArgs};
use self::output::Streams;
use self::stage::Stage;
use self::warden::Warden;
use crate::manifest;
use crate::print::{self, Output};

pub(crate) use self::parent::tie_to_parent;

/// How often it is looked whether everything that was told to stop has ended.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How long the gateway may take to tell what it denied last.
const DENIALS_WITHIN: Duration = Duration::from_secs(1);

/// What the exit code says.
const EXIT_CODES: &str = "\
Exit codes:
  The guest's own where it exits by itself; of several VMs the first that is not 0, in the order
  of the files. What ends otherwise:
  123  it ended with 0, but a --copy-out failed
  124  limits.timeout has passed
  125  the host failed
  126  it was refused or could not start
  130  told to stop by SIGINT
  134  trap
  137  limits.memory
  143  told to stop by SIGTERM
  152  limits.fuel is used up";

/// Flags of `agentvm run`.
///
/// The guest's stdout and stderr are this process's. With several VMs each line carries the
/// name of its VM.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXIT_CODES)]
pub(crate) struct RunArgs {
    /// Manifests: AgentVMs, and the ConfigMaps, Secrets, AgentPolicies and Namespaces that they
    /// need; `-` is stdin.
    #[arg(short = 'f', long = "filename", value_name = "FILE", required = true, num_args = 1..)]
    files: Vec<PathBuf>,
    /// Uses a local file for an image, such as `registry.example.com/team/agent:v1=agent.wasm`;
    /// may be given several times. Other images are pulled.
    #[arg(
        long = "module",
        value_name = "IMAGE=FILE",
        env = "AGENTVM_MODULES",
        value_delimiter = ','
    )]
    modules: Vec<ModuleFile>,
    /// Copies what is in a folder into a writable emptyDir before the start, such as
    /// `./input:/work`; may be given several times. Links are copied as links.
    #[arg(long, value_name = "DIR:/PATH")]
    copy_in: Vec<CopyIn>,
    /// Copies what is in a directory of a writable emptyDir, or one file, into a folder after
    /// the end, such as `/work/out:./results`; may be given several times. The folder must be
    /// empty, or not be there.
    #[arg(long, value_name = "/PATH:DIR")]
    copy_out: Vec<CopyOut>,
    /// The namespace of objects that name none.
    #[arg(short, long, env = "AGENTVM_NAMESPACE", default_value = "default")]
    namespace: String,
    /// Serves /metrics, /healthz and /readyz on this address. Default: not at all.
    #[arg(long, value_name = "ADDR", env = "AGENTVM_METRICS")]
    metrics: Option<SocketAddr>,
    /// Keeps compiled code here, so that the next run starts at once. Default:
    /// `$AGENTVM_CACHE/standalone`, or `~/.cache/agentvm/standalone`.
    #[arg(long, value_name = "DIR", env = "AGENTVM_STATE_DIR")]
    state_dir: Option<PathBuf>,
    /// A registry that is spoken to in plain HTTP; may be given several times. Default: none.
    #[arg(
        long = "insecure-registry",
        value_name = "HOST[:PORT]",
        env = "AGENTVM_INSECURE_REGISTRIES",
        value_delimiter = ','
    )]
    insecure_registries: Vec<String>,
    /// The weakest jail to run guests in: full, partial (no Landlock) or none.
    #[arg(
        long,
        value_name = "LEVEL",
        env = "AGENTVM_REQUIRE_JAIL",
        default_value = "full"
    )]
    require_jail: String,
    #[command(flatten)]
    network: NetworkArgs,
    /// What is said on stderr: for a person, one line when a VM has nearly used up a limit or is
    /// denied a request to a host, and at the end one for each VM that did not end well; as JSON, the final status of every VM.
    #[command(flatten)]
    output: Output,
}

/// Runs the VMs of a manifest and returns the guest's exit code.
pub(crate) fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    let documents = manifest::read(&args.files)?;
    let stage = match Stage::of(&documents, &args.namespace) {
        Ok(stage) => stage,
        Err(error) => return Ok(refuse(&error.into())),
    };
    let copies = match copies(args, &stage) {
        Ok(copies) => Arc::new(copies),
        Err(error) => return Ok(refuse(&error.into())),
    };
    // Another provider than ours may be installed already; then that one holds.
    let _installed = rustls::crypto::ring::default_provider().install_default();
    // The warden is bound to the thread that starts it, so it must be this one, which waits.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let summary = runtime.block_on(play(args, stage, copies));
    runtime.shutdown_background();
    let summary = summary?;
    print::final_answer(args.output, &summary.vms, || summary.lines())?;
    Ok(summary.exit_code())
}

fn refuse(error: &anyhow::Error) -> ExitCode {
    print::error(error);
    ExitCode::from(ending::REFUSED)
}

/// What is copied in is read before anything is started.
fn copies(args: &RunArgs, stage: &Stage) -> Result<Copies, copy::CopyError> {
    let target = |sight: &'_ stage::Sight| Target {
        mounts: sight.mounts.clone(),
        limits: sight.limits,
    };
    let targets: Vec<_> = stage.sights().iter().map(target).collect();
    Copies::prepare(&args.copy_in, &args.copy_out, &targets)
}

/// Runs everything and cleans up, whatever happens.
async fn play(args: &RunArgs, stage: Stage, copies: Arc<Copies>) -> anyhow::Result<Summary> {
    let streams = Streams::new(stage.vms.len());
    let mut gateway = if stage.asks_for_network() {
        Some(Gateway::start(&args.network, &args.require_jail, args.output).await?)
    } else {
        None
    };
    let dir = gateway.as_ref().map(Gateway::dir);
    let state_dir = args.state_dir.as_deref();
    let mut warden = Warden::start(state_dir, &args.require_jail, dir, streams).await?;
    let ending = follow(args, &stage, copies, &mut warden, gateway.as_mut()).await;
    warden.stop().await;
    if let Some(gateway) = gateway {
        gateway.stop().await;
    }
    Ok(Summary::of(&stage, &ending?))
}

/// Plays the agent until every VM has ended for good or somebody says to stop.
async fn follow(
    args: &RunArgs,
    stage: &Stage,
    copies: Arc<Copies>,
    warden: &mut Warden,
    gateway: Option<&mut Gateway>,
) -> anyhow::Result<End> {
    let client = WardenClient::new(warden.socket());
    let objects = Arc::new(stage.objects());
    let registry = Registry::new(args.insecure_registries.clone(), objects.clone());
    let modules = Arc::new(Files::new(&args.modules, registry));
    let board = Arc::new(Board::new(args.output));
    let network = gateway.as_ref().map(|gateway| gateway.client());
    let executor = Executor::new(client.clone(), objects, modules, board.clone())
        .with_gateway(network.clone())
        .with_runs(copies.clone());
    let agent = Agent::new(stage::NODE, executor);
    let inputs = agent.inputs();
    let metrics = Metrics::new(client.clone(), inputs.clone()).with_gateway(network.clone());

    let mut tasks = JoinSet::new();
    let node = Node {
        cluster: Vec::new(),
        own: args.metrics.into_iter().collect(),
    };
    let (_node_tx, node_rx) = watch::channel(Some(node));
    if let Some(network) = network.clone() {
        tasks.spawn(watch_gateway::follow(network, node_rx, inputs.clone()));
    }
    if let Some(address) = args.metrics {
        tasks.spawn(serve::serve(serve::listen(address).await?, metrics.clone()));
    }
    tasks.spawn(agent.run());
    for change in stage.changes() {
        inputs
            .send(Input::Change(Box::new(change)))
            .await
            .context("the agent ended")?;
    }
    let mut signals = Signals::new()?;
    let uids = stage.uids();
    let ending = tokio::select! {
        () = board.all_over(&uids) => Ending::ByThemselves,
        code = signals.next() => {
            stop_all(stage, &inputs, &metrics, &mut signals).await;
            Ending::Told(code)
        }
        () = warden.ended() => Ending::WardenDied,
        () = kept(gateway) => Ending::WardenDied,
    };
    if let Some(network) = network {
        tell_denials(stage, &board, &network).await;
    }
    tasks.shutdown().await;
    let mut not_copied = Vec::new();
    for (uid, namespace) in uids.iter().zip(stage.namespaces()) {
        not_copied.push(copies.finish(&client, uid, namespace).await);
    }
    Ok(End {
        board,
        ending,
        not_copied,
    })
}

/// Keeps the gateway running, where there is one, for ever.
async fn kept(gateway: Option<&mut Gateway>) {
    match gateway {
        Some(gateway) => gateway.keep().await,
        None => std::future::pending().await,
    }
}

/// Tells what was denied so late that nobody has heard of it yet.
async fn tell_denials(stage: &Stage, board: &Board, network: &GatewayClient) {
    let reports = tokio::time::timeout(DENIALS_WITHIN, network.reports(0, Duration::ZERO)).await;
    let denials = reports
        .ok()
        .and_then(Result::ok)
        .unwrap_or_default()
        .denials;
    for denial in denials {
        let of_it = |vm: &&AgentVM| vm.metadata.uid.as_ref() == Some(&denial.uid);
        if let Some(vm) = stage.vms.iter().find(of_it) {
            let namespace = vm.metadata.namespace.as_deref().unwrap_or_default();
            let name = vm.metadata.name.as_deref().unwrap_or_default();
            board.remark(
                (namespace, name),
                &denial.uid.clone(),
                &Warning::EgressDenied(denial),
            );
        }
    }
}

/// Deletes every VM, which gives each its grace; a second signal ends the waiting.
async fn stop_all(stage: &Stage, inputs: &Inputs, metrics: &Metrics, signals: &mut Signals) {
    for uid in stage.uids() {
        let left = Input::Change(Box::new(Change::VmLeft { uid }));
        if inputs.send(left).await.is_err() {
            return;
        }
    }
    let all_gone = async {
        loop {
            let snapshot = metrics.snapshot().await.unwrap_or_default();
            if !snapshot.rows.iter().any(|row| row.is_there) {
                return;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::select! {
        () = all_gone => {}
        _code = signals.next() => {}
    }
}

/// The two signals that end the run, and their exit codes.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => ending::INTERRUPTED,
            _ = self.terminate.recv() => ending::TERMINATED,
        }
    }
}
