//! WASI 0.2 for command components: wasmtime's streams, clocks and random numbers over the
//! same outputs, stdin, clocks, files and budget as a core module; requests handed
//! to whoever carries them; sockets closed.

mod denied;
mod environment;
mod files;
mod handles;
mod http;
mod io;
mod random;
mod stdio;
mod streams;

use std::sync::Arc;

use rand::RngCore as _;
use wasmtime::component::{HasSelf, Linker, ResourceTable};
use wasmtime::{Engine, Store};
use wasmtime_wasi::cli::WasiCliView as _;
use wasmtime_wasi::cli::{WasiCli, WasiCliCtxView};
use wasmtime_wasi::clocks::{WasiClocks, WasiClocksView as _};
use wasmtime_wasi::p2::bindings::{CommandPre, cli, clocks};
use wasmtime_wasi::{I32Exit, WasiCtx, WasiCtxView, WasiView};

use crate::guards::{Guard, is_on};
use crate::host::Host;

/// The interfaces that components find linked, in any release of WASI 0.2.
pub(crate) const INTERFACES: &[&str] = &[
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stderr",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stderr",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:http/outgoing-handler",
    "wasi:http/types",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
    "wasi:sockets/instance-network",
    "wasi:sockets/ip-name-lookup",
    "wasi:sockets/network",
    "wasi:sockets/tcp",
    "wasi:sockets/tcp-create-socket",
    "wasi:sockets/udp",
    "wasi:sockets/udp-create-socket",
];

/// Handles that one component can hold at once.
const MAX_HANDLES: usize = agentvm_policy::budget::HANDLES.usize();

/// What a component's imports need besides [`Host`].
pub(crate) struct Preview2 {
    wasi: WasiCtx,
    table: ResourceTable,
    /// Files and directories that the component has opened.
    open_files: usize,
    hash_key: files::HashKey,
    http: http::Http,
}

impl Preview2 {
    pub(crate) fn new(host: &mut Host) -> Self {
        let mut hash_key = files::HashKey::default();
        host.random.fill_bytes(&mut hash_key);
        let mut table = ResourceTable::new();
        if is_on(Guard::HandleBound) {
            table.set_max_capacity(MAX_HANDLES);
        }
        let shared = &host.shared;
        let out = |to| stdio::Out {
            to,
            budget: Arc::clone(&shared.budget),
        };
        let wasi = WasiCtx::builder()
            .stdin(stdio::In(Arc::clone(shared)))
            .stdout(out(Arc::clone(&host.outputs.stdout)))
            .stderr(out(Arc::clone(&host.outputs.stderr)))
            .wall_clock(host.clocks)
            .monotonic_clock(host.clocks)
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .build();
        Self {
            wasi,
            table,
            open_files: 0,
            hash_key,
            http: http::Http::new(),
        }
    }
}

impl Host {
    fn preview2(&mut self) -> &mut Preview2 {
        let preview2 = match self.preview2.take() {
            Some(preview2) => preview2,
            None => Box::new(Preview2::new(self)),
        };
        self.preview2.insert(preview2)
    }
}

impl WasiView for Host {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let preview2 = self.preview2();
        WasiCtxView {
            ctx: &mut preview2.wasi,
            table: &mut preview2.table,
        }
    }
}

/// Links every interface of [`INTERFACES`] and nothing else.
///
/// It also draws what every [`WasiCtx`] draws: a static program reads `/dev/urandom`, which has to
/// be opened before the jail closes it, and wasmtime-wasi's generator opens one of its own.
pub(crate) fn linker(engine: &Engine) -> wasmtime::Result<Linker<Host>> {
    drop(WasiCtx::builder());
    let mut linker = Linker::new(engine);
    link_command(&mut linker)?;
    environment::link(&mut linker)?;
    io::link(&mut linker)?;
    random::link(&mut linker)?;
    files::link(&mut linker)?;
    http::link(&mut linker)?;
    denied::link(&mut linker)?;
    clocks::wall_clock::add_to_linker::<Host, WasiClocks>(&mut linker, Host::clocks)?;
    clocks::monotonic_clock::add_to_linker::<Host, HasSelf<Host>>(&mut linker, |host| host)?;
    Ok(linker)
}

fn link_command(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    let cli: fn(&mut Host) -> WasiCliCtxView<'_> = Host::cli;
    cli::exit::add_to_linker::<Host, WasiCli>(linker, cli)?;
    cli::stdin::add_to_linker::<Host, HasSelf<Host>>(linker, |host| host)?;
    cli::stdout::add_to_linker::<Host, HasSelf<Host>>(linker, |host| host)?;
    cli::stderr::add_to_linker::<Host, HasSelf<Host>>(linker, |host| host)?;
    cli::terminal_input::add_to_linker::<Host, WasiCli>(linker, cli)?;
    cli::terminal_output::add_to_linker::<Host, WasiCli>(linker, cli)?;
    cli::terminal_stdin::add_to_linker::<Host, WasiCli>(linker, cli)?;
    cli::terminal_stdout::add_to_linker::<Host, WasiCli>(linker, cli)?;
    cli::terminal_stderr::add_to_linker::<Host, WasiCli>(linker, cli)
}

/// Instantiates a component and calls its `wasi:cli/run`; a run that reports failure
/// exits with code 1.
pub(crate) async fn run(pre: &CommandPre<Host>, store: &mut Store<Host>) -> wasmtime::Result<()> {
    let command = pre.instantiate_async(&mut *store).await?;
    match command.wasi_cli_run().call_run(store).await? {
        Ok(()) => Ok(()),
        Err(()) => Err(I32Exit(1).into()),
    }
}
