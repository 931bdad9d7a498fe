//! A release on a real node: its image, its start, what it costs while it does nothing, and a
//! hundred VMs beside a hundred Pods.

mod crowd;
mod idle;

use std::time::{Duration, Instant};

use agentvm_tests::image::Written;
use agentvm_tests::real_node::stage::Stage;
use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::report::Row;
use crate::samples::Samples;

/// How long anything may take here.
const PATIENCE: Duration = Duration::from_mins(3);
/// How often is looked whether something has come about.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Every row of this suite.
pub(crate) fn rows() -> Result<Vec<Row>> {
    let stage = Stage::set()?;
    let mut rows = Vec::new();
    if let Some(image) = &stage.image {
        rows.extend(image_rows(image)?);
    }
    rows.push(first_output(&stage)?);
    rows.extend(idle::rows(&stage)?);
    rows.extend(crowd::rows(&stage)?);
    Ok(rows)
}

fn image_rows(image: &Written) -> Result<[Row; 2]> {
    let megabytes = |bytes: usize| -> Result<Samples> {
        let kilobytes = u32::try_from(bytes / 1_000)?;
        Ok(Samples::one(f64::from(kilobytes) / 1e3))
    };
    let row = Row::of("image, compressed", "MB", &megabytes(image.layer_bytes)?);
    let held = row.p50 < 60.0;
    let unpacked = megabytes(image.unpacked_bytes)?;
    Ok([
        row.promise("under 60", held),
        Row::of("image, unpacked", "MB", &unpacked),
    ])
}

/// From `helm install`, with the image on the node, to the first line of a guest in the log.
fn first_output(stage: &Stage) -> Result<Row> {
    let start = Instant::now();
    stage.install(&[])?;
    let guests = stage.namespace("first")?;
    guests.run_probe("first", "hello", &json!({}))?;
    wait_until("the guest's line", || {
        Ok(stage.cells_log()?.contains("hello from a probe"))
    })?;
    let took = Samples::one(start.elapsed().as_secs_f64());
    let row = Row::of("helm install to the first VM's output", "s", &took);
    let held = row.p50 < 60.0;
    Ok(row.promise("under 60", held))
}

fn wait_until(what: &str, mut look: impl FnMut() -> Result<bool>) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    while !look().with_context(|| format!("waiting for {what}"))? {
        ensure!(Instant::now() < end, "{what} did not come about");
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(())
}
