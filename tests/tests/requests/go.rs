//! An ordinary Go program: net/http over the transport of the package for guests.

use agentvm_runtime::Kind;
use agentvm_tests::{Result, guests};

use crate::upstream::{Upstream, nowhere};
use crate::vm::{CONNECTIONS, Module};

const PRINTED: [&str; 14] = [
    "get 200 GET /hello yes ",
    "post 200 what was sent",
    "crowd [true true true true true true] true",
    "redirect 200 GET /hello /hello",
    "trailers 200 body 7",
    "deadline true true",
    "timeout one true",
    "cancel true true",
    "much 10485760",
    "bodies true true",
    "refused error HTTP-request-URI-invalid HTTP-request-URI-invalid HTTP-request-URI-invalid \
     HTTP-request-URI-invalid HTTP-request-header-section-size sent",
    "many 8",
    "reuse 200",
    "library 200 GET /hello",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_go_program_uses_net_http_as_anywhere() -> Result<()> {
    assert_eq!(CONNECTIONS, 8);
    let module = Module::load(Kind::Core, &guests::go_for_vms("go-requests")?)?;
    let upstream = Upstream::start().await;
    let ran = module.run(None, Some(upstream.way())).await;
    let printed: Vec<&str> = ran.printed.lines().collect();
    assert_eq!(printed, PRINTED, "{}", ran.printed);

    // The server saw the end of what the program gave up.
    assert!(upstream.broken() > 0);

    let asked = upstream.asked();
    let ran = module.run(Some("get"), None).await;
    assert!(
        ran.printed.contains("HTTP-request-denied denied=true"),
        "{}",
        ran.printed
    );
    assert_eq!(ran.usage.denials.get("network"), Some(&1));
    assert_eq!(upstream.asked(), asked);

    let ran = module.run(Some("get"), Some(nowhere())).await;
    assert!(
        ran.printed
            .contains("agentvm: connection-refused denied=false"),
        "{}",
        ran.printed
    );
    Ok(())
}
