//! What is measured, as Prometheus reads it.
//!
//! Everything is gathered when it is asked for: how VMs are from the agent's loop, what they
//! use from the cells. Labels are object names and closed sets, never a guest's text.

mod exposition;
mod gateways;
mod latency;
mod panics;
mod render;

use std::sync::Arc;
use std::time::Duration;

use agentvm_cell_api::cell::Stats;
use agentvm_cell_api::client::{CellClient, GatewayClient, WardenClient};
use agentvm_cell_api::gateway::{self, Vms};
use agentvm_cell_api::warden::{Cell, Info};
use tokio::sync::Mutex;

use self::gateways::Gateways;
use self::latency::Latencies;
use self::panics::HostPanics;
use crate::agent::{self, Inputs};
use crate::ledger::Snapshot;

pub use self::exposition::CONTENT_TYPE;

/// How long a cell may take to tell its numbers.
const STATS_WITHIN: Duration = Duration::from_secs(2);

/// Gathers numbers.
#[derive(Clone, Debug)]
pub struct Metrics {
    warden: WardenClient,
    gateway: Option<GatewayClient>,
    inputs: Inputs,
    counted: Arc<Mutex<Counted>>,
}

/// What is counted from scrape to scrape, since whoever knows it may end in between.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    latencies: Latencies,
    panics: HostPanics,
    gateways: Gateways,
}

impl Counted {
    /// Takes in what one scrape has found.
    fn observe(&mut self, gathered: &Gathered) {
        self.latencies.observe(gathered);
        self.panics.observe(&gathered.cells);
        self.gateways.observe(gathered.gateway.as_ref());
    }
}

/// Everything that was gathered for one scrape.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    pub(crate) snapshot: Snapshot,
    /// Those that told their numbers.
    pub(crate) cells: Vec<(Cell, Stats)>,
    /// How many run.
    pub(crate) running_cells: usize,
    pub(crate) warden: Option<Info>,
    /// Whether the node should have a gateway.
    pub(crate) has_gateway: bool,
    pub(crate) gateway: Option<(gateway::Info, Vms)>,
}

impl Metrics {
    /// Gathers from the agent behind `inputs` and from the cells of `warden`.
    pub fn new(warden: WardenClient, inputs: Inputs) -> Self {
        Self {
            warden,
            gateway: None,
            inputs,
            counted: Arc::default(),
        }
    }

    /// The same, on a node with a gateway.
    #[must_use]
    pub fn with_gateway(self, gateway: Option<GatewayClient>) -> Self {
        Self { gateway, ..self }
    }

    /// The exposition, in Prometheus' text format.
    pub async fn render(&self) -> String {
        let gathered = self.gather().await;
        let mut counted = self.counted.lock().await;
        counted.observe(&gathered);
        render::render(&gathered, &counted)
    }

    /// True where the agent knows every VM of the node.
    pub async fn is_surveyed(&self) -> bool {
        self.snapshot()
            .await
            .is_some_and(|snapshot| snapshot.surveyed)
    }

    /// True where the agent's loop answers.
    pub async fn is_alive(&self) -> bool {
        self.snapshot().await.is_some()
    }

    /// How every VM is; `None` where the loop does not answer.
    pub async fn snapshot(&self) -> Option<Snapshot> {
        agent::look(&self.inputs).await
    }

    async fn gather(&self) -> Gathered {
        // What a run has used is here or there: of one that ends in between nothing counts twice.
        let snapshot = self.snapshot().await.unwrap_or_default();
        let gateway = self.ask_gateway().await;
        let asked = futures::future::join(self.warden.info(), self.warden.cells());
        let (info, cells) = tokio::time::timeout(STATS_WITHIN, asked).await.ok().unzip();
        let cells = cells.and_then(Result::ok).unwrap_or_default().cells;
        let running_cells = cells.len();
        let stats = futures::future::join_all(cells.into_iter().map(|cell| async move {
            let client = CellClient::new(&cell.socket);
            let stats = tokio::time::timeout(STATS_WITHIN, client.stats()).await;
            Some((cell, stats.ok()?.ok()?))
        }));
        Gathered {
            snapshot,
            cells: stats.await.into_iter().flatten().collect(),
            running_cells,
            warden: info.and_then(Result::ok),
            has_gateway: self.gateway.is_some(),
            gateway,
        }
    }

    async fn ask_gateway(&self) -> Option<(gateway::Info, Vms)> {
        let gateway = self.gateway.as_ref()?;
        let asked = futures::future::try_join(gateway.info(), gateway.vms());
        let answered = tokio::time::timeout(STATS_WITHIN, asked).await;
        answered.ok()?.ok()
    }
}
