//! The harness itself: a control plane starts, takes our CRDs, and leaves nothing behind.

use agentvm_tests::control_plane::ControlPlane;
use agentvm_tests::{Result, process, scratch};

#[test]
fn a_control_plane_starts_and_its_processes_end_with_it() -> Result<()> {
    let plane = ControlPlane::start(&scratch::dir("alone")?)?;
    plane.must_run()?;
    let api_server = u32::try_from(plane.api_server().pid())?;
    let said = plane
        .kubectl
        .run(&["get", "namespaces", "-o", "name"])?
        .done()?;
    assert!(said.contains("namespace/default"), "{said}");
    assert!(process::is_alive(api_server));
    drop(plane);
    assert!(!process::is_alive(api_server));
    Ok(())
}
