//! Every probe in a cell of its own, all at once for ten seconds: what each makes its cell spend.

use std::fmt;
use std::time::{Duration, Instant};

use agentvm_cell_api::cell::{VmSpec, VmState};
use agentvm_policy::EndReason;
use futures::future::join_all;
use tokio::sync::OnceCell;

use crate::harness::{Node, TestCell};
use crate::probes::{self, Probe};
use crate::proc::{Holds, peak_resident};

/// What the probes' cells get together: less than this machine has, so that no limit but each VM's
/// own holds any of them back.
const MILLICORES: u64 = 1_200;
/// For how long they run, and then at full speed, so that each is stopped in what it does.
const WINDOW: Duration = Duration::from_secs(10);
const FULL_SPEED: Duration = Duration::from_secs(2);
const MIB: u64 = 1 << 20;

/// What one probe came to.
#[derive(Clone, Debug)]
struct Row {
    name: &'static str,
    /// CPU time of its cell beyond that of one whose VM waits, and what the VM may use.
    cpu: Duration,
    allowed: Duration,
    /// CPU time that the VM's own meter shows.
    metered: Duration,
    /// The most that its cell grew by, and what the VM may hold.
    grown: u64,
    limit: u64,
    /// The most its cell held, beyond what that of the waiting VM did.
    threads: i64,
    descriptors: i64,
    maps: i64,
    /// From the order to stop to the end.
    stopped: Duration,
    ended: EndReason,
}

impl Row {
    /// Thousandths of the CPU time that is allowed.
    fn permille(&self) -> u128 {
        self.cpu.as_micros() * 1_000 / self.allowed.as_micros()
    }
}

struct Table(Vec<Row>);

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n{:<18}{:>8}{:>8}{:>7}{:>9}{:>9}{:>9}{:>5}{:>5}{:>6}{:>9}  end",
            "probe",
            "cpu ms",
            "may",
            "%",
            "metered",
            "grown M",
            "may M",
            "thr",
            "fds",
            "maps",
            "stop ms"
        )?;
        for row in &self.0 {
            writeln!(
                f,
                "{:<18}{:>8}{:>8}{:>7}{:>9}{:>9}{:>9}{:>5}{:>5}{:>6}{:>9}  {}",
                row.name,
                row.cpu.as_millis(),
                row.allowed.as_millis(),
                row.permille() / 10,
                row.metered.as_millis(),
                row.grown / MIB,
                row.limit / MIB,
                row.threads,
                row.descriptors,
                row.maps,
                row.stopped.as_millis(),
                row.ended.as_str()
            )?;
        }
        Ok(())
    }
}

/// CPU time up to a moment.
struct Reading {
    at: Instant,
    cpu: Duration,
    metered: Duration,
}

/// One cell under observation.
struct Watched {
    cell: TestCell,
    probe: Probe,
    spec: VmSpec,
    before: Holds,
    most: Holds,
}

impl Watched {
    async fn new(node: &Node, number: usize, probe: Probe) -> Self {
        let module = node.compile(&probe.wasm).await;
        let cell = node.cell(&format!("n-{number}")).await;
        let spec = probe.spec(&module, MILLICORES / 40);
        let before = Holds::of(cell.facts.pid);
        Self {
            cell,
            probe,
            spec,
            before,
            most: before,
        }
    }

    /// The CPU time of the cell and of its VM.
    async fn cpu(&self) -> Reading {
        let stats = self.cell.client.stats().await.unwrap();
        let metered = stats.vms.get("u-1").map_or(0, |usage| usage.cpu_ns);
        Reading {
            at: Instant::now(),
            cpu: Duration::from_nanos(stats.cpu_ns),
            metered: Duration::from_nanos(metered),
        }
    }

    /// Stops the VM without grace; tells how long that takes.
    async fn stop(&self) -> (Duration, EndReason) {
        let asked = Instant::now();
        let stop = self
            .cell
            .client
            .delete_vm("u-1", Duration::ZERO, EndReason::Stopped);
        let answer = stop.await.unwrap().unwrap();
        let end = match answer.end {
            Some(end) => end,
            None => self.cell.reaches("u-1", VmState::Ended).await.end.unwrap(),
        };
        (asked.elapsed(), end.reason)
    }
}

/// Runs them, once for all tests.
async fn table() -> &'static Table {
    static TABLE: OnceCell<Table> = OnceCell::const_new();
    crate::measured_once(&TABLE, measure).await
}

async fn measure() -> Table {
    let node = Node::start().await;
    let mut probes = probes::all();
    probes.insert(0, Probe::quiet());
    let mut watched = Vec::new();
    for (number, probe) in probes.into_iter().enumerate() {
        watched.push(Watched::new(&node, number, probe).await);
    }
    let before = join_all(watched.iter().map(Watched::cpu)).await;
    join_all(watched.iter().map(|one| one.cell.put("u-1", &one.spec))).await;
    watch(&mut watched, WINDOW).await;
    let after = join_all(watched.iter().map(Watched::cpu)).await;
    let faster = watched.iter().map(|one| {
        let mut spec = one.spec.clone();
        spec.grants.limits.cpu_millicores = 1_000;
        async move { one.cell.put("u-1", &spec).await }
    });
    join_all(faster).await;
    watch(&mut watched, FULL_SPEED).await;
    let stopped = join_all(watched.iter().map(Watched::stop)).await;

    let spent: Vec<Duration> = before
        .iter()
        .zip(&after)
        .map(|(before, after)| after.cpu.saturating_sub(before.cpu))
        .collect();
    let (quiet, still) = (spent[0], watched[0].most);
    let rows = (1..watched.len()).map(|at| {
        let one = &watched[at];
        let (stopped, ended) = stopped[at];
        let window = after[at].at - before[at].at;
        let millicores = u32::try_from(one.spec.grants.limits.cpu_millicores).unwrap();
        let more = |most: u64, still: u64| most.cast_signed() - still.cast_signed();
        Row {
            name: one.probe.name,
            cpu: spent[at].saturating_sub(quiet),
            allowed: window * millicores / 1_000,
            metered: after[at].metered,
            grown: peak_resident(one.cell.facts.pid) - one.before.resident,
            limit: one.probe.bytes(),
            threads: more(one.most.threads, still.threads),
            descriptors: more(one.most.descriptors, still.descriptors),
            maps: more(one.most.maps, still.maps),
            stopped,
            ended,
        }
    });
    Table(rows.collect())
}

/// Looks at what the cells hold for a while.
async fn watch(watched: &mut [Watched], window: Duration) {
    let end = Instant::now() + window;
    while Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(500)).await;
        for one in &mut *watched {
            one.most = one.most.max(Holds::of(one.cell.facts.pid));
        }
    }
}

/// The rows that do not fit, in a message with all of them.
fn check(table: &Table, what: &str, fits: impl Fn(&Row) -> bool) {
    let over: Vec<&str> = table
        .0
        .iter()
        .filter(|row| !fits(row))
        .map(|row| row.name)
        .collect();
    assert!(over.is_empty(), "{what}: {over:?}{table}");
}

#[tokio::test]
async fn b11_c01_c02_c03_c04_c05_c07_no_probe_spends_more_than_1_2_of_its_cpu_on_the_host() {
    let table = table().await;
    check(table, "more than 1.2 of limits.cpu", |row| {
        row.permille() <= 1_200
    });
    // Those that never rest get what they may, or the bound above is no merit.
    for name in ["spin", "rnd", "flood", "readdir", "poll 0"] {
        let row = table.0.iter().find(|row| row.name == name).unwrap();
        assert!(row.permille() >= 500, "{name} was not busy{table}");
    }
}

#[tokio::test]
async fn b01_d01_d02_d04_d06_no_probe_makes_its_cell_grow_by_16_mib_more_than_its_limits() {
    check(table().await, "more than its limits and 16 MiB", |row| {
        row.grown <= row.limit + 16 * MIB
    });
}

#[tokio::test]
async fn d12_d13_no_probe_takes_threads_descriptors_or_maps_of_the_host() {
    let maps = i64::try_from(agentvm_policy::budget::MAPS_PER_VM.value).unwrap();
    check(table().await, "more of the host than a waiting VM", |row| {
        row.threads <= 4 && row.descriptors <= 8 && row.maps <= maps
    });
}

#[tokio::test]
async fn c08_whatever_a_guest_is_in_a_stop_without_grace_ends_it_within_two_seconds() {
    let within = Duration::from_secs(2);
    check(table().await, "not stopped in time", |row| {
        row.stopped <= within
    });
    check(table().await, "ended otherwise", |row| match row.name {
        "rec" | "hoard" => row.ended == EndReason::Trap,
        _ => row.ended == EndReason::Stopped,
    });
}
