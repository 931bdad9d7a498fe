//! The gateway beside ordinary forward proxies: what it adds to a request, what a request costs, how
//! fast bodies pass, and what a thousand VMs with an open stream each take.
//!
//! All of it runs in a network of its own, in which every address is this machine's: the gateway
//! connects to no address of a machine's own otherwise.

mod client;
mod gateway;
mod proxy;
mod upstream;

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use agentvm_tests::real_node::sandbox::Sandbox;
use agentvm_tests::scratch;
use anyhow::{Context as _, Result, ensure};
use tokio::runtime::Runtime;

use self::client::Client;
use self::gateway::Gateway;
use self::proxy::Proxy;
use crate::effort::Effort;
use crate::peers::done;
use crate::report::Row;
use crate::resident::resident_mib;
use crate::samples::Samples;

/// Small requests, one after another, by each way in each round.
const ONE_BY_ONE: usize = 1_000;
/// Rounds, in which the ways take turns.
const ROUNDS: usize = 5;
/// Small requests in a round that are made at once, so many at a time.
const MANY: usize = 10_000;
const AT_ONCE: usize = 16;
/// Bytes of a large answer.
const LARGE_BYTES: usize = 200 << 20;
/// VMs with one open stream each.
const VMS: usize = 1_000;

/// Every row of this suite.
pub(crate) fn rows(effort: Effort) -> Result<Vec<Row>> {
    let dir = scratch::dir("bench-network")?;
    let sandbox = Sandbox::start(&dir)?;
    sandbox.enter_network()?;
    open_every_address()?;
    let squid = Proxy::squid(&dir)?;
    let tinyproxy = Proxy::tinyproxy(&dir)?;
    Runtime::new()?.block_on(async {
        upstream::listen(LARGE_BYTES).await?;
        let gateway = Gateway::start(&dir).await?;
        let ways = [
            Way::new("direct", None, Client::direct()),
            Way::new("gateway", Some(gateway.pid()), gateway.client(0).await?),
            Way::new("squid", Some(squid.pid()), squid.client().await?),
            Way::new(
                "tinyproxy",
                Some(tinyproxy.pid()),
                tinyproxy.client().await?,
            ),
        ];
        let mut rows = latency(&ways, effort).await?;
        rows.push(per_cpu_second(&ways, effort).await?);
        rows.push(throughput(&ways, effort).await?);
        rows.push(crowd(&gateway).await?);
        Ok(rows)
    })
}

/// One way to the host.
struct Way {
    name: &'static str,
    /// The process on the way.
    pid: Option<u32>,
    client: Client,
}

impl Way {
    const fn new(name: &'static str, pid: Option<u32>, client: Client) -> Self {
        Self { name, pid, client }
    }
}

fn open_every_address() -> Result<()> {
    for line in ["link set lo up", "route add local 0.0.0.0/0 dev lo"] {
        done(Command::new("ip").args(line.split(' ')))?;
    }
    // A peer that opens a connection for each request is out of ports before the suite ends.
    for (setting, value) in [("ip_local_port_range", "1024 65535"), ("tcp_tw_reuse", "1")] {
        fs::write(format!("/proc/sys/net/ipv4/{setting}"), value)
            .with_context(|| format!("net.ipv4.{setting} can't be set"))?;
    }
    Ok(())
}

/// What each way adds to the direct one.
async fn latency(ways: &[Way; 4], effort: Effort) -> Result<Vec<Row>> {
    let mut took: [Samples; 4] = std::array::from_fn(|_| Samples::new());
    for _ in 0..ROUNDS {
        for (way, samples) in ways.iter().zip(&mut took) {
            way.client.small().await?;
            for _ in 0..effort.of(ONE_BY_ONE) {
                let start = Instant::now();
                way.client.small().await?;
                samples.push_us(start.elapsed());
            }
        }
    }
    let [direct, ours, squid, tinyproxy] = took;
    let at = |percent: f64| {
        let base = direct.percentile(percent);
        let added = |samples: &Samples| Samples::one(samples.percentile(percent) - base);
        (added(&ours), added(&squid), added(&tinyproxy))
    };
    let row = |name, percent| {
        let (ours, squid, tinyproxy) = at(percent);
        let row = Row::of(name, "us", &ours);
        let most = 1.5 * squid.percentile(50.0).min(tinyproxy.percentile(50.0));
        let held = row.p50 <= most;
        row.promise("at most 1.5 times what each proxy adds", held)
            .against("squid", &squid)
            .against("tinyproxy", &tinyproxy)
    };
    let direct = Row::of(
        "network: a small request to a host, without a proxy",
        "us",
        &direct,
    );
    Ok(vec![
        direct,
        row("network: what the gateway adds to it, p50", 50.0),
        row("network: what the gateway adds to it, p99", 99.0),
    ])
}

/// Small requests for each second of the proxy's processor time.
async fn per_cpu_second(ways: &[Way; 4], effort: Effort) -> Result<Row> {
    let [_direct, ours, squid, tinyproxy] = ways;
    let mut all: [Samples; 3] = std::array::from_fn(|_| Samples::new());
    for _ in 0..ROUNDS {
        for (way, samples) in [ours, squid, tinyproxy].into_iter().zip(&mut all) {
            let pid = way.pid.context("a proxy is a process")?;
            let requests = effort.of(MANY);
            let before = cpu_time(pid)?;
            way.client.many(requests, AT_ONCE).await?;
            let spent = cpu_time(pid)?.saturating_sub(before);
            let requests = f64::from(u32::try_from(requests)?);
            ensure!(!spent.is_zero(), "{} took no time at all", way.name);
            samples.push(requests / spent.as_secs_f64());
        }
    }
    let [ours, squid, tinyproxy] = all;
    let row = Row::of(
        "network: small requests a second of its processor time",
        "1/s",
        &ours,
    );
    let held = row.p50 >= squid.percentile(50.0).max(tinyproxy.percentile(50.0));
    Ok(row
        .promise("at least as many as each proxy", held)
        .against("squid", &squid)
        .against("tinyproxy", &tinyproxy))
}

/// How fast a large answer passes.
async fn throughput(ways: &[Way; 4], effort: Effort) -> Result<Row> {
    let mut all: [Samples; 4] = std::array::from_fn(|_| Samples::new());
    for _ in 0..effort.of(ROUNDS) {
        for (way, samples) in ways.iter().zip(&mut all) {
            let start = Instant::now();
            let bytes = way.client.large().await?;
            ensure!(bytes == LARGE_BYTES, "{}: {bytes} bytes came", way.name);
            let mib = f64::from(u32::try_from(bytes >> 20)?);
            samples.push(mib / start.elapsed().as_secs_f64());
        }
    }
    let [direct, ours, squid, tinyproxy] = all;
    let row = Row::of("network: an answer of 200 MiB", "MiB/s", &ours);
    let held = row.p50 >= squid.percentile(50.0).max(tinyproxy.percentile(50.0));
    Ok(row
        .promise("at least as fast as each proxy", held)
        .against("squid", &squid)
        .against("tinyproxy", &tinyproxy)
        .against("without a proxy", &direct))
}

/// What the gateway takes with many VMs, each of which has one answer on its way.
async fn crowd(gateway: &Gateway) -> Result<Row> {
    let streams = gateway.open_streams(VMS).await?;
    let resident = Samples::one(resident_mib(gateway.pid())?);
    drop(streams);
    let row = Row::of(
        "network: the gateway's memory, 1,000 VMs with a stream each",
        "MiB",
        &resident,
    );
    let held = row.p50 < 64.0;
    Ok(row.promise("under 64", held))
}

/// Processor time that a process has used, with all its threads.
fn cpu_time(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name before may have spaces; these are fields 14 and 15.
    let (_, rest) = stat.rsplit_once(") ").context("stat has a name")?;
    let ticks = rest.split(' ').skip(11).take(2);
    let ticks: u64 = ticks.map(str::parse::<u64>).sum::<Result<u64, _>>()?;
    let per_second = rustix::param::clock_ticks_per_second();
    Ok(Duration::from_secs(ticks) / u32::try_from(per_second)?)
}
