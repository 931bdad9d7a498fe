//! Keys: read where the namespace has opted in, rotated, and told to nobody.

use std::time::{Duration, Instant};

use agentvm_tests::Result;
use agentvm_tests::vm::{condition, number};
use agentvm_tests::wait;
use anyhow::{Context, ensure};

use crate::outside::API;
use crate::site::{Site, with_key};

/// How soon another key is used.
const ROTATION: Duration = Duration::from_secs(30);

/// A key that is nowhere else.
fn canary(name: &str) -> String {
    format!("CANARY-{name}-9d2b71")
}

#[test]
fn h12_a_rotated_key_is_used_and_a_deleted_one_no_longer_within_30_seconds() -> Result<()> {
    let site = Site::new("re-keys")?;
    site.allow_secrets()?;
    let (first, second) = (canary("first"), canary("second"));
    site.key_is(&first)?;
    let url = format!("https://{API}/v1/x");
    let uid = site.poll("holder", "get", &url, &[with_key(API)])?;
    site.says(&uid, "200 api")?;
    let sent = |key: &str| {
        let bytes = site.outside.api.requests().concat();
        bytes.matches(&format!("Bearer {key}")).count()
    };
    assert!(sent(&first) > 0);

    site.key_is(&second)?;
    let began = Instant::now();
    wait::until_within(ROTATION, "the other key to be sent", || {
        Ok(wait::yes_if(sent(&second) > 0, || "not yet".to_owned()))
    })?;
    println!("the other key was sent after {:?}", began.elapsed());
    let of_first = sent(&first);

    let path = format!("/api/v1/namespaces/{}/secrets/keys", site.namespace.name);
    site.cluster.plane.api.delete(&path)?;
    let took = site.says(&uid, "HTTP-request-denied")?;
    ensure!(took <= ROTATION, "a deleted key was used for {took:?}");
    assert_eq!(sent(&first), of_first, "the first key was sent again");
    let told = site.event("holder", &["KeysNotUpdated: ", "there is no Secret keys"])?;
    let vm = site.namespace.vm("holder")?;
    assert_eq!(number(&vm, "/status/restarts"), 0);

    let events = site.namespace.events("holder")?;
    let agent = site
        .node
        .agent(|agent| Ok(agent.stderr()? + &agent.stdout()?))?;
    for (who, said) in [
        ("the event", told),
        ("events", format!("{events:?}")),
        ("the object", vm.to_string()),
        ("the agent's log", agent),
        ("metrics", site.node.metrics()?),
    ] {
        for key in [&first, &second] {
            ensure!(!said.contains(key.as_str()), "{who} tells a key: {said}");
        }
    }
    Ok(())
}

#[test]
fn h11_a_namespace_that_has_not_opted_in_is_told_the_command_and_then_the_vm_starts() -> Result<()>
{
    let site = Site::new("re-optin")?;
    site.key_is(&canary("early"))?;
    let url = format!("https://{API}/v1/x");
    let uid = site.poll("early", "get", &url, &[with_key(API)])?;
    let vm = site.namespace.wait_for("early", "SecretForbidden", |vm| {
        condition(vm, "ImageReady").is_some_and(|one| one.reason == "SecretForbidden")
    })?;
    let told = condition(&vm, "ImageReady").context("it was waited for")?;
    let command = format!(
        "run `kubectl create rolebinding agentvm-secrets -n {} --clusterrole=agentvm-secret-reader",
        site.namespace.name
    );
    for part in [
        "spec.capabilities.network.egress[0].inject[0].secretKeyRef",
        &command,
    ] {
        ensure!(told.message.contains(part), "{}", told.message);
    }
    assert!(site.printed(&uid)?.is_empty());
    site.allow_secrets()?;
    site.says(&uid, "200 api")?;
    Ok(())
}
