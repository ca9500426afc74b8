//! One function for each operation; the work is done in [`crate::service`].

use super::answer::Failure;
use crate::app::{App, broken};
use crate::service::{cases, exports, keys, leaves, status, subjects, waivers};
use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use ringfence_core::error::{ErrorCode, Explained};
use ringfence_core::ids::{CaseId, KeyId};
use ringfence_core::json::parse_strict;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::sync::Arc;

/// Who acts through the Unix socket.
const ACTOR: &str = "user:operator";

type Shared = State<Arc<App>>;
type Answer<T> = Result<Json<T>, Failure>;
/// What was sent, or why it was not read: a refusal answers with an error body like any other.
type Sent = Result<Bytes, BytesRejection>;
type Asked<T> = Result<Query<T>, QueryRejection>;
type Named<T> = Result<Path<T>, PathRejection>;

/// Reads a body strictly: duplicate and unknown keys are refused.
fn body<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Explained> {
    let refuse = |why: String| {
        Explained::new(
            ErrorCode("run/control-body"),
            "the request body was not understood",
            "the shapes are at GET /v1/openapi.json",
        )
        .because(why)
    };
    let value = parse_strict(bytes).map_err(|e| refuse(e.to_string()))?;
    serde_json::from_value(value).map_err(|e| refuse(e.to_string()))
}

fn id<T: std::str::FromStr>(text: &str, what: &str) -> Result<T, Explained> {
    text.parse().map_err(|_| {
        Explained::new(
            ErrorCode("run/id-not-found"),
            format!("there is no {what} {text:?}"),
            "list what there is",
        )
    })
}

pub(super) async fn status(State(app): Shared) -> Answer<status::Status> {
    Ok(Json(status::status(&app).await?))
}

pub(super) async fn stop(State(app): Shared) -> Answer<Value> {
    app.tasks.stop();
    Ok(Json(json!({"stopping": true})))
}

pub(super) async fn new_token(State(app): Shared) -> Answer<Value> {
    let token = app.door.issue(app.entropy.as_ref())?;
    Ok(Json(json!({"token": token.danger_expose()})))
}

pub(super) async fn sandboxes(State(app): Shared) -> Answer<Vec<status::ShownSandbox>> {
    Ok(Json(status::sandboxes(&app).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LogsQuery {
    from: Option<u64>,
    tail: Option<usize>,
}

pub(super) async fn logs(State(app): Shared, query: Asked<LogsQuery>) -> Answer<status::LogPiece> {
    let Query(query) = query?;
    Ok(Json(status::logs(&app, query.from, query.tail).await?))
}

pub(super) async fn keys(State(app): Shared) -> Answer<Vec<keys::ShownKey>> {
    Ok(Json(keys::list(&app).await?))
}

pub(super) async fn create_key(State(app): Shared, bytes: Sent) -> Answer<keys::CreatedKey> {
    Ok(Json(keys::create(&app, ACTOR, body(&bytes?)?).await?))
}

pub(super) async fn revoke_key(State(app): Shared, key: Named<String>) -> Answer<Value> {
    let key: KeyId = id(&key?.0, "key")?;
    keys::revoke(&app, ACTOR, key.clone()).await?;
    Ok(Json(json!({"revoked": key})))
}

pub(super) async fn cases(State(app): Shared) -> Answer<Vec<cases::ShownCase>> {
    Ok(Json(cases::list(&app).await?))
}

pub(super) async fn case(State(app): Shared, case: Named<String>) -> Answer<cases::CaseFile> {
    let case: CaseId = id(&case?.0, "case")?;
    Ok(Json(cases::show(&app, case).await?))
}

pub(super) async fn waivers(State(app): Shared) -> Answer<Vec<waivers::ShownWaiver>> {
    Ok(Json(waivers::list(&app).await?))
}

pub(super) async fn waive(State(app): Shared, bytes: Sent) -> Answer<waivers::ShownWaiver> {
    Ok(Json(waivers::create(&app, ACTOR, body(&bytes?)?).await?))
}

pub(super) async fn alerts(State(app): Shared) -> Answer<Vec<cases::ShownAlert>> {
    Ok(Json(cases::alerts(&app).await?))
}

pub(super) async fn webhook_key(State(app): Shared) -> Answer<Value> {
    Ok(Json(json!({"key": cases::webhook_key(&app).await?})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LeavesQuery {
    from: Option<u64>,
    #[serde(default = "twenty")]
    count: u64,
}

fn twenty() -> u64 {
    20
}

pub(super) async fn leaves(State(app): Shared, query: Asked<LeavesQuery>) -> Answer<leaves::Page> {
    let Query(query) = query?;
    Ok(Json(leaves::page(&app, query.from, query.count).await?))
}

pub(super) async fn proof(State(app): Shared, index: Named<u64>) -> Result<String, Failure> {
    Ok(leaves::proof(&app, index?.0).await?)
}

pub(super) async fn erase(State(app): Shared, bytes: Sent) -> Answer<subjects::ShownErasure> {
    Ok(Json(subjects::erase(&app, ACTOR, body(&bytes?)?).await?))
}

pub(super) async fn note_export(State(app): Shared, bytes: Sent) -> Answer<Value> {
    Ok(Json(exports::note(&app, ACTOR, body(&bytes?)?).await?))
}

pub(super) async fn verdict(State(app): Shared) -> Answer<Value> {
    let report = status::last_report(&app).await?;
    report.map(Json).ok_or_else(|| {
        Failure(Explained::new(
            ErrorCode("admit/verdict-not-found"),
            "no verdict was reached yet",
            "ringfence up, or ringfence check",
        ))
    })
}

pub(super) async fn metrics(State(app): Shared) -> String {
    status::metrics(&app).await
}

pub(super) async fn description() -> Answer<Value> {
    let description = super::openapi();
    if description.is_object() {
        Ok(Json(description))
    } else {
        Err(Failure(broken("the description is not an object")))
    }
}
