//! A JavaScript component: fetch.

use agentvm_runtime::Kind;
use agentvm_tests::{Result, guests};

use crate::upstream::Upstream;
use crate::vm::Module;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_javascript_component_fetches() -> Result<()> {
    let folder = guests::sources().join("js-requests");
    let component = guests::javascript("js-requests", &folder, &["fetch-event"])?;
    let module = Module::load(Kind::Component, &component)?;
    let upstream = Upstream::start().await;
    let ran = module.run(None, Some(upstream.way())).await;
    let printed: Vec<&str> = ran.printed.lines().collect();
    assert_eq!(
        printed,
        [
            "get 200 yes GET /hello",
            "post what was sent",
            "crowd GET /a,GET /b,GET /c",
        ]
    );
    let asked = upstream.asked();
    let ran = module.run(None, None).await;
    assert!(ran.printed.starts_with("get failed "), "{}", ran.printed);
    assert_eq!(upstream.asked(), asked);
    Ok(())
}
