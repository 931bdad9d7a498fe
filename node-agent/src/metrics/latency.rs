//! How long starts took: each run is counted once, whenever it is first seen with its number.

use std::collections::BTreeMap;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;

use super::Gathered;
use crate::desired::Uid;

/// Bounds in seconds: from a start out of the cache to one that waits for a slot.
const BUCKETS: [f64; 12] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0,
];

/// Start latency by namespace.
pub(super) type StartLatency = Family<InNamespace, Histogram, fn() -> Histogram>;

/// The label of what is counted for a whole namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct InNamespace {
    pub(super) namespace: String,
}

/// Histograms of start latency by namespace.
#[derive(Debug)]
pub(super) struct Latencies {
    pub(super) family: StartLatency,
    /// The number that was last counted for a VM: two runs never take equally many nanoseconds.
    counted: BTreeMap<Uid, u64>,
}

impl Default for Latencies {
    fn default() -> Self {
        Self {
            family: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            counted: BTreeMap::new(),
        }
    }
}

impl Latencies {
    /// Counts the runs that are new.
    pub(super) fn observe(&mut self, gathered: &Gathered) {
        let mut seen = BTreeMap::new();
        for row in &gathered.snapshot.rows {
            let running = gathered
                .cells
                .iter()
                .find_map(|(_, stats)| stats.vms.get(&row.uid));
            let latest = running
                .map(|usage| usage.start_latency_ns)
                .filter(|ns| *ns > 0);
            for ns in [Some(row.past.start_latency_ns).filter(|ns| *ns > 0), latest]
                .into_iter()
                .flatten()
            {
                let last = seen.get(&row.uid).or_else(|| self.counted.get(&row.uid));
                if last.is_none_or(|last| *last != ns) && self.counted.get(&row.uid) != Some(&ns) {
                    let labels = InNamespace {
                        namespace: row.namespace.clone(),
                    };
                    self.family.get_or_create(&labels).observe(seconds(ns));
                }
                seen.insert(row.uid.clone(), ns);
            }
        }
        self.counted = seen;
    }
}

/// Nanoseconds as seconds.
pub(super) fn seconds(ns: u64) -> f64 {
    std::time::Duration::from_nanos(ns).as_secs_f64()
}
