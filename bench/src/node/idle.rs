//! What operator and node pod cost while no VM runs.

use std::time::{Duration, Instant};

use agentvm_tests::real_node::stage::Stage;
use anyhow::Result;

use crate::group::Group;
use crate::report::Row;
use crate::samples::Samples;

/// Time for what a start left behind to settle.
const SETTLE: Duration = Duration::from_secs(15);
/// How long is measured.
const MEASURE: Duration = Duration::from_mins(1);

/// Memory and processor time of the operator's pods and of the node pod.
pub(super) fn rows(stage: &Stage) -> Result<Vec<Row>> {
    let operators: Vec<Group> = stage
        .operators()?
        .into_iter()
        .map(Group::of_pod)
        .collect::<Result<_>>()?;
    let node = [Group::of_pod(stage.agent()?)?];
    std::thread::sleep(SETTLE);
    let before = (cpu(&operators)?, cpu(&node)?);
    let start = Instant::now();
    std::thread::sleep(MEASURE);
    let (operator_cpu, node_cpu) = (
        millicores(&before.0, &cpu(&operators)?, start.elapsed()),
        millicores(&before.1, &cpu(&node)?, start.elapsed()),
    );
    let memory = |name, groups: &[Group], target, bound| -> Result<Row> {
        let resident = each(groups, Group::resident_mib)?;
        let counted = each(groups, Group::memory_mib)?;
        let row = promised(name, "MiB", &resident, target, bound);
        Ok(row.against("as the kubelet counts", &counted))
    };
    Ok(vec![
        memory(
            "idle operator, each replica: resident memory",
            &operators,
            "under 30",
            30.0,
        )?,
        promised(
            "idle operator, each replica: CPU",
            "millicores",
            &operator_cpu,
            "under 5",
            5.0,
        ),
        memory("idle node pod: resident memory", &node, "under 60", 60.0)?,
        promised(
            "idle node pod: CPU",
            "millicores",
            &node_cpu,
            "under 10",
            10.0,
        ),
    ])
}

/// The promise is about the larger of them.
fn promised(
    name: &'static str,
    unit: &'static str,
    samples: &Samples,
    target: &'static str,
    bound: f64,
) -> Row {
    Row::of(name, unit, samples).promise(target, samples.percentile(100.0) < bound)
}

fn each(groups: &[Group], measure: fn(&Group) -> Result<f64>) -> Result<Samples> {
    let mut samples = Samples::new();
    for group in groups {
        samples.push(measure(group)?);
    }
    Ok(samples)
}

fn cpu(groups: &[Group]) -> Result<Vec<Duration>> {
    groups.iter().map(Group::cpu).collect()
}

fn millicores(before: &[Duration], after: &[Duration], during: Duration) -> Samples {
    let mut samples = Samples::new();
    for (before, after) in before.iter().zip(after) {
        let used = after.saturating_sub(*before);
        samples.push(used.as_secs_f64() / during.as_secs_f64() * 1e3);
    }
    samples
}
