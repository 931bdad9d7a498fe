//! What a scrape says, and that the document lists it.

use std::collections::{BTreeMap, BTreeSet};

use agentvm_cell_api::cell::Stats;
use agentvm_cell_api::warden::{Cell, Compiles, Info, JailLevel};
use agentvm_crds::agentvm::Phase;
use agentvm_policy::LimitField;

use agentvm_cell_api::cell::FilesystemOperations;

use super::*;
use crate::ledger::{Snapshot, StorageLimit};

fn row(name: &str, storage_limit: Option<StorageLimit>) -> Row {
    Row {
        uid: format!("uid-of-{name}"),
        namespace: "tenant-ns".to_owned(),
        name: name.to_owned(),
        is_there: true,
        is_live: true,
        phase: Phase::Running,
        restarts: 0,
        exits: BTreeMap::from([(agentvm_policy::EndReason::Error, 1)]),
        past: Usage {
            storage_peak_bytes: 9,
            filesystem: FilesystemOperations {
                quota: 2,
                ..FilesystemOperations::default()
            },
            denials: BTreeMap::from([("sockets".to_owned(), 1)]),
            ..Usage::default()
        },
        past_network: gateway::Usage::default(),
        has_network: false,
        memory_limit_bytes: Some(1),
        storage_limit,
        limits_pressure: [LimitField::Cpu].into(),
        audited: 1,
    }
}

fn scrape(rows: Vec<Row>) -> String {
    scrape_with(rows, BTreeMap::new())
}

fn scrape_with(rows: Vec<Row>, network: BTreeMap<String, gateway::Usage>) -> String {
    let info = gateway::Info {
        version: String::new(),
        instance: "process-a".to_owned(),
        pid: 1,
        jail_message: String::new(),
        channels: 2,
        host_panics: 0,
        resident_bytes: 3,
        cpu_ns: 4_000_000_000,
        access_log_dropped: 5,
    };
    let vms = gateway::Vms {
        instance: "process-a".to_owned(),
        vms: network,
    };
    let stats = rows.iter().map(|row| {
        let usage = Usage {
            storage_bytes: 5,
            storage_peak_bytes: 7,
            start_latency_ns: 1,
            inodes: 3,
            filesystem: FilesystemOperations {
                ok: 1,
                quota: 1,
                host: 4,
                other: 6,
            },
            ..Usage::default()
        };
        (row.uid.clone(), usage)
    });
    let cell = Cell {
        namespace: "tenant-ns".to_owned(),
        socket: String::new(),
        pid: 1,
        instance: String::new(),
        started_unix_ms: 0,
    };
    let stats = Stats {
        vms: stats.collect(),
        host_panics: 3,
        ..Stats::default()
    };
    let gathered = Gathered {
        snapshot: Snapshot {
            rows,
            surveyed: true,
            ..Snapshot::default()
        },
        cells: vec![(cell, stats)],
        running_cells: 2,
        warden: Some(Info {
            version: String::new(),
            engine: String::new(),
            jail: JailLevel::Full,
            jail_message: String::new(),
            max_vms_per_cell: 7,
            max_cells: 8,
            max_map_count: 1,
            shortage: String::new(),
            stopping: false,
            pid: 1,
            resident_bytes: 1,
            compiles: Compiles {
                running: 2,
                waiting: 5,
                ..Compiles::default()
            },
        }),
        has_gateway: true,
        gateway: Some((info, vms)),
    };
    let mut counted = Counted::default();
    counted.observe(&gathered);
    render(&gathered, &counted)
}

const LIMIT: StorageLimit = StorageLimit {
    bytes: 64,
    inodes: 16,
};

#[test]
fn files_are_measured_over_all_runs_and_held_by_the_current_one() {
    let text = scrape(vec![row("heron", Some(LIMIT))]);
    for (family, label, value) in [
        ("storage_bytes", "", 5),
        ("storage_peak_bytes", "", 9),
        ("storage_limit_bytes", "", 64),
        ("inodes", "", 3),
        ("inodes_limit", "", 16),
        ("filesystem_operations_total", ",result=\"ok\"", 1),
        ("filesystem_operations_total", ",result=\"quota\"", 3),
        ("filesystem_operations_total", ",result=\"host\"", 4),
        ("filesystem_operations_total", ",result=\"other\"", 6),
    ] {
        let line =
            format!("agentvm_vm_{family}{{namespace=\"tenant-ns\",vm=\"heron\"{label}}} {value}\n");
        assert!(text.contains(&line), "{line}{text}");
    }
}

#[test]
fn a_vm_without_mounts_has_no_series_of_files() {
    let text = scrape(vec![row("heron", None)]);
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let of_files = |line: &&str| line.contains("storage") || line.contains("inodes");
    assert_eq!(samples.filter(of_files).count(), 0, "{text}");
}

#[test]
fn the_document_names_every_family_and_no_other() {
    let document = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    let document = std::fs::read_to_string(document).unwrap();
    let documented: BTreeSet<&str> = document
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|line| line.split('`').next())
        .collect();
    let text = scrape(vec![Row {
        has_network: true,
        ..row("heron", Some(LIMIT))
    }]);
    let families: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert_eq!(documented, families);
}

#[test]
fn limits_that_press_a_run_are_1_and_the_others_0() {
    let line = |limit: &str, value: u8| {
        format!(
            "agentvm_vm_limits_pressure{{namespace=\"tenant-ns\",vm=\"heron\",limit=\"{limit}\"}} {value}\n"
        )
    };
    let text = scrape(vec![row("heron", Some(LIMIT))]);
    for (limit, value) in [
        ("cpu", 1),
        ("memory", 0),
        ("fuel", 0),
        ("logTotal", 0),
        ("storage", 0),
    ] {
        assert!(text.contains(&line(limit, value)), "{limit}: {text}");
    }
    assert!(!text.contains("limit=\"timeout\""), "{text}");
    let over = Row {
        is_live: false,
        ..row("heron", None)
    };
    assert!(!scrape(vec![over]).contains("agentvm_vm_limits_pressure{"));
}

#[test]
fn requests_are_counted_over_all_runs_and_gateways_by_a_closed_set_of_codes() {
    let usage = |answered, refused: &[(&str, u64)]| gateway::Usage {
        answered,
        refused: refused
            .iter()
            .map(|(code, count)| ((*code).to_owned(), *count))
            .collect(),
        in_flight: 1,
        sent_bytes: 10,
        received_bytes: 20,
        throttled_ns: 500_000_000,
    };
    let heron = Row {
        past_network: usage(3, &[("HTTP-request-denied", 1)]),
        ..row("heron", None)
    };
    let now = usage(4, &[("HTTP-request-denied", 2), ("evil.example", 7)]);
    let network = BTreeMap::from([(heron.uid.clone(), now)]);
    let text = scrape_with(vec![heron, row("egret", None)], network);
    for (family, label, value) in [
        ("requests_total", ",code=\"answered\"", "7"),
        ("requests_total", ",code=\"HTTP-request-denied\"", "3"),
        ("requests_total", ",code=\"internal-error\"", "7"),
        ("requests_in_flight", "", "1"),
        ("sent_bytes_total", "", "20"),
        ("received_bytes_total", "", "40"),
        ("throttled_seconds_total", "", "1.0"),
    ] {
        let line = format!(
            "agentvm_vm_network_{family}{{namespace=\"tenant-ns\",vm=\"heron\"{label}}} {value}\n"
        );
        assert!(text.contains(&line), "{line}{text}");
    }
    assert!(!text.contains("evil.example"), "{text}");
    let of_egret = |line: &&str| line.contains("network") && line.contains("egret");
    assert_eq!(text.lines().filter(of_egret).count(), 0, "{text}");
    for line in ["up 1", "restarts_total 0", "channels 2", "resident_bytes 3"] {
        assert!(
            text.contains(&format!("\nagentvm_gateway_{line}\n")),
            "{text}"
        );
    }
}

#[test]
fn l11_panics_in_host_code_are_counted() {
    assert!(scrape(Vec::new()).contains("\nagentvm_host_panics_total 3\n"));
}

#[test]
fn compilers_are_counted_by_what_they_do() {
    let text = scrape(Vec::new());
    for line in ["{state=\"running\"} 2\n", "{state=\"waiting\"} 5\n"] {
        assert!(text.contains(&format!("agentvm_compilers{line}")), "{text}");
    }
}

#[test]
fn cells_and_their_vms_stand_beside_how_many_there_may_be() {
    let text = scrape(vec![row("heron", None)]);
    for line in [
        "agentvm_cells 2",
        "agentvm_cells_limit 8",
        "agentvm_cell_vms{namespace=\"tenant-ns\"} 1",
        "agentvm_cell_vms_limit 7",
    ] {
        assert!(text.contains(&format!("\n{line}\n")), "{line} in {text}");
    }
}
