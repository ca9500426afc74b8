//! API keys from their making to their end.

use crate::bench::{Bench, START, control};
use ringfence_core::leaf::{LeafAction, Outcome};
use ringfence_server::app::App;
use ringfence_store::StoreError;
use ringfence_store::keys::{ApiKey, KEYS_MAX};
use serde_json::{Value, json};
use std::sync::Arc;

async fn make(app: &Arc<App>, body: &Value) -> Value {
    let reply = control(app, "POST", "/v1/keys", &body.to_string()).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    reply.json()
}

#[tokio::test]
async fn a_new_key_is_a_leaf_a_row_and_usable_at_once() {
    let bench = Bench::new();
    let app = bench.running().await.app;
    let made = make(
        &app,
        &json!({"name": "ci", "reason": "nightly", "requests_per_minute": 9}),
    )
    .await;
    let (id, key) = (made["id"].as_str().unwrap(), made["key"].as_str().unwrap());
    assert_eq!(
        bench.gateway(key, "GET", "/v1/models", "").await.status,
        200
    );

    let leaf = bench.leaves_of(LeafAction::KeyCreate).await.remove(0);
    assert_eq!(
        (leaf.object.as_str(), leaf.actor.as_str()),
        (format!("key:{id}").as_str(), "user:operator")
    );
    assert_eq!(leaf.outcome, Outcome::Ok);
    let listed = control(&app, "GET", "/v1/keys", "").await;
    assert_eq!(listed.json()[0]["id"], id);
    assert_eq!(listed.json()[0]["requests_per_minute"], 9);
    assert!(!listed.body.contains(key), "the list shows the secret");
}

#[tokio::test]
async fn a_revoked_key_is_refused_by_the_next_request() {
    let bench = Bench::new();
    let app = bench.running().await.app;
    let made = make(&app, &json!({"name": "a"})).await;
    let key = made["key"].as_str().unwrap();
    assert_eq!(
        bench.gateway(key, "GET", "/v1/models", "").await.status,
        200
    );
    let path = format!("/v1/keys/{}", made["id"].as_str().unwrap());
    assert_eq!(control(&app, "DELETE", &path, "").await.status, 200);
    let refused = bench.gateway(key, "GET", "/v1/models", "").await;
    assert_eq!(refused.status, 401, "{refused:?}");
    assert_eq!(bench.leaves_of(LeafAction::KeyRevoke).await.len(), 1);
    let listed = control(&app, "GET", "/v1/keys", "").await.json();
    assert_eq!(listed[0]["revoked"], START.0);
}

#[tokio::test]
async fn a_key_ends_with_its_time() {
    let bench = Bench::new();
    let app = bench.running().await.app;
    let made = make(&app, &json!({"name": "a", "expires_in_ms": 1000})).await;
    let key = made["key"].as_str().unwrap();
    bench.clock.advance(999);
    assert_eq!(
        bench.gateway(key, "GET", "/v1/models", "").await.status,
        200
    );
    bench.clock.advance(1);
    assert_eq!(
        bench.gateway(key, "GET", "/v1/models", "").await.status,
        401
    );
}

#[tokio::test]
async fn terms_that_make_no_key_are_refused_before_the_log() {
    let bench = Bench::new();
    let app = bench.running().await.app;
    let long = "x".repeat(ringfence_server::service::keys::TEXT_CHARS_MAX);
    make(&app, &json!({"name": long, "reason": long})).await;
    for body in [
        json!({"name": format!("{long}x")}),
        json!({"name": "a", "reason": format!("{long}x")}),
        json!({"name": "a", "expires_in_ms": 0}),
        json!({"name": "a", "expires_in_ms": -1}),
        json!({"name": "a", "requests_per_minute": 0}),
    ] {
        let reply = control(&app, "POST", "/v1/keys", &body.to_string()).await;
        assert_eq!(reply.status, 400, "{body}: {}", reply.body);
        reply.error();
    }
    assert_eq!(bench.leaves_of(LeafAction::KeyCreate).await.len(), 1);
}

#[tokio::test]
async fn a_key_that_cannot_be_kept_leaves_a_failed_leaf_and_opens_nothing() {
    let bench = Bench::new();
    let app = bench.running().await.app;
    let row = |n: usize| ApiKey {
        id: format!("filler{n}").parse().unwrap(),
        project: "bench".parse().unwrap(),
        mac: [0; 32],
        name: String::new(),
        requests_per_minute: 1,
        created: START,
        expires: None,
        revoked: None,
        last_used: None,
    };
    app.store
        .write(move |tx| {
            for n in 0..KEYS_MAX {
                ringfence_store::keys::add(tx, &row(n))?;
            }
            Ok::<(), StoreError>(())
        })
        .unwrap();
    let reply = control(&app, "POST", "/v1/keys", "{\"name\":\"one too many\"}").await;
    assert_ne!(reply.status, 200);
    reply.error();
    let leaves = bench.leaves_of(LeafAction::KeyCreate).await;
    let outcomes: Vec<Outcome> = leaves.iter().map(|l| l.outcome).collect();
    assert_eq!(outcomes, [Outcome::Ok, Outcome::Failed]);
    assert_eq!(leaves[0].object, leaves[1].object);
}

#[tokio::test]
async fn a_use_is_written_down_when_the_service_stops() {
    let bench = Bench::new();
    let app = bench.running().await.app;
    let made = make(&app, &json!({"name": "a"})).await;
    bench.clock.advance(5_000);
    bench
        .gateway(made["key"].as_str().unwrap(), "GET", "/v1/models", "")
        .await;
    ringfence_server::startup::stop(&app).await.unwrap();
    let rows = app.store.read(ringfence_store::keys::of_all_projects);
    assert_eq!(
        rows.map_err(|e: StoreError| e).unwrap()[0].last_used,
        Some(START.plus_ms(5_000))
    );
}
