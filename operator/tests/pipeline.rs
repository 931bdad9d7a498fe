//! The pipeline against an API server that answers what a test tells it and writes down what
//! it was asked.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use agentvm_crds::AgentVM;
use agentvm_crds::agentnode::JailLevel;
use agentvm_operator::context::Context;
use agentvm_operator::decoded::Decoded;
use agentvm_operator::error::Class;
use agentvm_operator::leader::lease::Candidate;
use agentvm_operator::leader::{Election, Timings};
use agentvm_operator::metrics::Metrics;
use agentvm_operator::reconcile::{reconcile, retry};
use agentvm_operator::world::Key;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::response::IntoResponse;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::{Client, Config};
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tokio::sync::mpsc;

const VM: &str = "/apis/agentvm.dev/v1alpha1/namespaces/lab/agentvms/crawler";
const LEASE: &str =
    "/apis/coordination.k8s.io/v1/namespaces/agentvm-system/leases/agentvm-operator";

/// Answers by method and path; 404 where nothing was said.
#[derive(Clone, Default)]
struct Fake {
    answers: Arc<Mutex<BTreeMap<String, (u16, Value)>>>,
    asked: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Fake {
    fn answer(&self, what: &str, code: u16, body: Value) {
        self.answers
            .lock()
            .unwrap()
            .insert(what.to_owned(), (code, body));
    }

    fn asked(&self) -> Vec<String> {
        self.asked
            .lock()
            .unwrap()
            .iter()
            .map(|(what, _)| what.clone())
            .collect()
    }

    fn body(&self, what: &str) -> Value {
        let asked = self.asked.lock().unwrap();
        asked
            .iter()
            .find(|(one, _)| one == what)
            .map(|(_, body)| body.clone())
            .unwrap()
    }

    async fn client(&self) -> Client {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri: Uri = format!("http://{}", listener.local_addr().unwrap())
            .parse()
            .unwrap();
        let routes = Router::new().fallback(handle).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let _ = rustls::crypto::ring::default_provider().install_default();
        Client::try_from(Config::new(uri)).unwrap()
    }
}

async fn handle(
    State(fake): State<Fake>,
    method: Method,
    uri: Uri,
    body: Bytes,
) -> impl IntoResponse {
    let what = format!("{method} {}", uri.path());
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    fake.asked.lock().unwrap().push((what.clone(), body));
    let answer = fake.answers.lock().unwrap().get(&what).cloned();
    let (code, body) = answer.unwrap_or((404, failure(404)));
    (StatusCode::from_u16(code).unwrap(), axum::Json(body))
}

fn failure(code: u16) -> Value {
    let reason = if code == 404 { "NotFound" } else { "Other" };
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "no", "reason": reason, "code": code})
}

fn vm(spec: &Value, status: &Value) -> Value {
    json!({
        "apiVersion": "agentvm.dev/v1alpha1", "kind": "AgentVM",
        "metadata": {"name": "crawler", "namespace": "lab", "uid": "u1", "resourceVersion": "41", "generation": 1},
        "spec": spec, "status": status,
    })
}

fn ended(finished_at: &str) -> Value {
    json!({
        "phase": "Complete", "assignment": {"nodeName": "n1", "epoch": 1},
        "exit": {"reason": "Completed", "finishedAt": finished_at},
    })
}

fn key() -> Key {
    Key {
        namespace: "lab".into(),
        name: "crawler".into(),
    }
}

/// A context whose world has one node with room for one VM.
async fn context(fake: &Fake) -> Arc<Context> {
    let metrics = Arc::new(Metrics::register(&mut Registry::default()));
    let (notice_tx, _) = mpsc::channel(8);
    let context = Context::new(fake.client().await, metrics, JailLevel::Full, notice_tx);
    let agent = serde_json::from_value(json!({
        "apiVersion": "agentvm.dev/v1alpha1", "kind": "AgentNode", "metadata": {"name": "n1"}, "spec": {},
        "status": {
            "allocatable": {"memory": "64Mi", "cpu": "1", "vms": 1}, "jail": {"level": "Full"},
            "conditions": [{
                "type": "Ready", "status": "True", "reason": "Ready", "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }],
        },
    }));
    let lease = Lease {
        spec: Some(LeaseSpec {
            holder_identity: Some("boot-1".into()),
            renew_time: Some(MicroTime(Timestamp::now())),
            ..LeaseSpec::default()
        }),
        ..Lease::default()
    };
    context
        .world()
        .node("n1", Some(&Node::default()), Instant::now());
    context.world().agent_node("n1", Some(&agent.unwrap()));
    context
        .world()
        .lease("node-n1", Some(&lease), Instant::now(), Timestamp::now());
    Arc::new(context)
}

async fn run(context: &Arc<Context>, object: Value) -> Result<(), Class> {
    let object: Arc<Decoded<AgentVM>> = Arc::new(serde_json::from_value(object).unwrap());
    context.world().vm(&key(), &object, Instant::now());
    let outcome = reconcile(Arc::clone(&object), Arc::clone(context)).await;
    outcome.map(drop).map_err(|error| {
        retry(&object, &error, context);
        error.class()
    })
}

#[tokio::test]
async fn a_new_vm_is_assigned_in_one_write_that_names_its_uid_and_version() {
    let fake = Fake::default();
    let status = format!("PATCH {VM}/status");
    let object = vm(&json!({"image": "r/a"}), &Value::Null);
    fake.answer(&status, 200, object.clone());
    let context = context(&fake).await;
    run(&context, object).await.unwrap();
    assert_eq!(fake.asked(), std::slice::from_ref(&status));
    let body = fake.body(&status);
    assert_eq!(body["metadata"]["uid"], "u1");
    assert_eq!(body["metadata"]["resourceVersion"], "41");
    assert_eq!(
        body["status"]["assignment"],
        json!({"nodeName": "n1", "epoch": 1, "claimed": {"cpu": "250m", "memory": "64Mi"}})
    );
    assert_eq!(body["status"]["phase"], "Starting");
}

#[tokio::test]
async fn a_refused_assignment_gives_its_room_back_and_one_without_answer_keeps_it() {
    for (code, class, second) in [
        (409, Class::Conflict, "assigned"),
        (422, Class::Rejected, "assigned"),
        (500, Class::Unavailable, "waits"),
    ] {
        let fake = Fake::default();
        fake.answer(&format!("PATCH {VM}/status"), code, failure(code));
        let context = context(&fake).await;
        assert_eq!(
            run(&context, vm(&json!({"image": "r/a"}), &Value::Null)).await,
            Err(class)
        );
        let mut other = vm(&json!({"image": "r/a"}), &Value::Null);
        other["metadata"]["name"] = "other".into();
        other["metadata"]["uid"] = "u2".into();
        let others = VM.replace("crawler", "other");
        fake.answer(&format!("PATCH {others}/status"), 200, other.clone());
        let object: Arc<Decoded<AgentVM>> = Arc::new(serde_json::from_value(other).unwrap());
        reconcile(object, Arc::clone(&context)).await.unwrap();
        let body = fake.body(&format!("PATCH {others}/status"));
        let outcome = if body["status"]["assignment"].is_null() {
            "waits"
        } else {
            "assigned"
        };
        assert_eq!(outcome, second, "{code}");
    }
}

#[tokio::test]
async fn a_node_that_only_the_cache_misses_takes_no_vm_away() {
    let fake = Fake::default();
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n9"}});
    let status = format!("PATCH {VM}/status");
    let running = json!({"phase": "Running", "assignment": {"nodeName": "n9", "epoch": 1}});
    let object = vm(
        &json!({"image": "r/a", "restartPolicy": "Always"}),
        &running,
    );
    fake.answer("GET /api/v1/nodes/n9", 200, node);
    fake.answer(&status, 200, object.clone());
    let context = context(&fake).await;
    run(&context, object.clone()).await.unwrap();
    assert_eq!(
        fake.body(&status)["status"]["assignment"],
        json!({"nodeName": "n9", "epoch": 1, "claimed": {"cpu": "250m", "memory": "64Mi"}})
    );

    // The API server that says so, too, is believed.
    let fake = Fake::default();
    fake.answer(&status, 200, object.clone());
    let context = self::context(&fake).await;
    run(&context, object).await.unwrap();
    assert_eq!(
        fake.asked(),
        ["GET /api/v1/nodes/n9".to_owned(), status.clone()]
    );
    assert_eq!(
        fake.body(&status)["status"]["assignment"],
        json!({"nodeName": "n1", "epoch": 2, "claimed": {"cpu": "250m", "memory": "64Mi"}})
    );
}

#[tokio::test]
async fn an_api_server_that_does_not_answer_about_a_node_takes_no_vm_away() {
    let fake = Fake::default();
    fake.answer("GET /api/v1/nodes/n9", 500, failure(500));
    let running = json!({"phase": "Running", "assignment": {"nodeName": "n9", "epoch": 1}});
    let context = context(&fake).await;
    let outcome = run(
        &context,
        vm(
            &json!({"image": "r/a", "restartPolicy": "Always"}),
            &running,
        ),
    )
    .await;
    assert_eq!(outcome, Err(Class::Unavailable));
    assert_eq!(fake.asked(), ["GET /api/v1/nodes/n9"]);
}

#[tokio::test]
async fn a_ttl_deletes_only_what_a_live_read_still_shows_as_ended() {
    let spec = json!({"image": "r/a", "ttlAfterFinished": "1s"});
    let cached = vm(&spec, &ended("2026-01-01T00:00:00Z"));
    let mut same_name = cached.clone();
    same_name["metadata"]["uid"] = "u2".into();
    let mut kept = cached.clone();
    kept["spec"]["ttlAfterFinished"] = "720h".into();
    kept["status"]["exit"]["finishedAt"] = Timestamp::now().to_string().into();
    let (get, delete) = (format!("GET {VM}"), format!("DELETE {VM}"));
    for (live, deleted) in [(cached.clone(), true), (same_name, false), (kept, false)] {
        let fake = Fake::default();
        fake.answer(&get, 200, live);
        fake.answer(&delete, 200, cached.clone());
        let context = context(&fake).await;
        run(&context, cached.clone()).await.unwrap();
        if deleted {
            let preconditions = json!({"uid": "u1", "resourceVersion": "41"});
            assert_eq!(fake.body(&delete)["preconditions"], preconditions);
        } else {
            assert_eq!(fake.asked(), std::slice::from_ref(&get));
        }
    }
}

#[tokio::test]
async fn an_undecodable_vm_is_told_so_and_one_that_is_assigned_is_not_touched() {
    let fake = Fake::default();
    let status = format!("PATCH {VM}/status");
    let broken = vm(&json!({"image": 7}), &Value::Null);
    fake.answer(&status, 200, broken.clone());
    let context = context(&fake).await;
    run(&context, broken.clone()).await.unwrap();
    run(&context, broken).await.unwrap();
    assert_eq!(fake.asked(), std::slice::from_ref(&status));
    let conditions = fake.body(&status)["status"]["conditions"].clone();
    let accepted = conditions
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["type"] == "Accepted")
        .unwrap()
        .clone();
    assert_eq!(
        (accepted["status"].as_str(), accepted["reason"].as_str()),
        (Some("False"), Some("InvalidSpec"))
    );
    assert!(
        accepted["message"].as_str().unwrap().contains("spec.image"),
        "{accepted}"
    );

    let fake = Fake::default();
    let context = self::context(&fake).await;
    let running = json!({"phase": "Running", "assignment": {"nodeName": "n1", "epoch": 1}});
    run(&context, vm(&json!({"image": 7}), &running))
        .await
        .unwrap();
    assert!(fake.asked().is_empty());
}

#[tokio::test]
async fn a_free_lease_is_taken_and_given_back() {
    let fake = Fake::default();
    let create = "POST /apis/coordination.k8s.io/v1/namespaces/agentvm-system/leases";
    fake.answer(
        create,
        201,
        json!({"metadata": {"name": "agentvm-operator"}}),
    );
    let election = Election::new("alpha".into(), Timings::default());
    let mut candidate = Candidate::new(fake.client().await, "agentvm-system", election);
    tokio::time::timeout(Duration::from_secs(5), candidate.acquire(|| {}))
        .await
        .unwrap();
    let created = fake.body(create);
    assert_eq!(created["spec"]["holderIdentity"], "alpha");
    assert_eq!(created["spec"]["leaseDurationSeconds"], 15);

    let mut held = created;
    held["metadata"]["resourceVersion"] = "7".into();
    fake.answer(&format!("GET {LEASE}"), 200, held.clone());
    fake.answer(&format!("PUT {LEASE}"), 200, held);
    candidate.release().await;
    let released = fake.body(&format!("PUT {LEASE}"));
    assert!(released["spec"]["holderIdentity"].is_null());
    assert_eq!(released["metadata"]["resourceVersion"], "7");
}
