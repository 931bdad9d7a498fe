//! One row a measurement, as a table for people and as JSON for programs.

use std::fmt::Write as _;

use serde::Serialize;

use crate::samples::Samples;

/// One measurement of ours beside its peers of the same run.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Row {
    /// What is measured.
    pub(crate) name: &'static str,
    /// Unit of every figure in the row.
    pub(crate) unit: &'static str,
    /// Median of ours.
    pub(crate) p50: f64,
    /// 99th percentile of ours; absent where there is one sample.
    pub(crate) p99: Option<f64>,
    /// Samples of ours.
    pub(crate) samples: usize,
    /// What the project promised, as a sentence; empty where this row is for context.
    pub(crate) target: &'static str,
    /// Whether the promise held in this run; `None` where there is none.
    pub(crate) met: Option<bool>,
    /// Peers measured in the same run.
    pub(crate) peers: Vec<Peer>,
}

/// The same work done by something else.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Peer {
    /// What did it.
    pub(crate) name: &'static str,
    /// Its median, in the row's unit.
    pub(crate) p50: f64,
    /// Its median divided by ours: above 1 where ours is smaller.
    pub(crate) ratio: f64,
}

impl Row {
    /// A row of `samples`, given in the row's unit.
    pub(crate) fn of(name: &'static str, unit: &'static str, samples: &Samples) -> Self {
        Self {
            name,
            unit,
            p50: samples.percentile(50.0),
            p99: (samples.len() > 1).then(|| samples.percentile(99.0)),
            samples: samples.len(),
            target: "",
            met: None,
            peers: Vec::new(),
        }
    }

    /// The same row with a promise and whether it held.
    pub(crate) fn promise(mut self, target: &'static str, met: bool) -> Self {
        self.target = target;
        self.met = Some(met);
        self
    }

    /// The same row with one more peer.
    pub(crate) fn against(mut self, name: &'static str, samples: &Samples) -> Self {
        let p50 = samples.percentile(50.0);
        self.peers.push(Peer {
            name,
            p50,
            ratio: p50 / self.p50,
        });
        self
    }
}

/// The rows as a Markdown table.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut out = String::from(
        "| what | p50 | p99 | unit | n | promised | held | peers (p50, times ours) |\n| --- | ---: | ---: | --- | ---: | --- | --- | --- |\n",
    );
    for row in rows {
        let p99 = row.p99.map_or_else(|| "-".to_owned(), figure);
        let held = match row.met {
            None => "-",
            Some(true) => "yes",
            Some(false) => "NO",
        };
        let peers: Vec<String> = row
            .peers
            .iter()
            .map(|p| format!("{}: {} ({:.1}x)", p.name, figure(p.p50), p.ratio))
            .collect();
        // Writing to a String can't fail.
        let _ = writeln!(
            out,
            "| {} | {} | {p99} | {} | {} | {} | {held} | {} |",
            row.name,
            figure(row.p50),
            row.unit,
            row.samples,
            row.target,
            peers.join("; ")
        );
    }
    out
}

/// Three significant figures or so, without an exponent.
fn figure(value: f64) -> String {
    match value {
        v if v >= 100.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}
