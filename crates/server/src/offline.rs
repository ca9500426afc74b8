//! One question to the control API while no service runs: the same state, the same log, the same
//! handlers, for the length of one answer.

use crate::startup::{self, Options};
use axum::body::Body;
use ringfence_core::error::Explained;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;
use tower_service::Service as _;

/// LIMIT: octets of a question; it is handed over through one pipe, which holds as much.
pub const QUESTION_BYTES_MAX: usize = 48 * 1024;
/// LIMIT: octets of an answer.
const ANSWER_BYTES_MAX: usize = 128 * 1024 * 1024;

/// A question.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// The method, in capitals.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// The body, if there is one.
    pub body: Option<Value>,
}

/// An answer.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body as text.
    pub body: String,
}

/// Asks and ends. Nothing is hosted, nothing listens.
pub async fn ask(options: Options, question: Question) -> Result<Answer, Explained> {
    let app = startup::prepare(&options).await?;
    let mut router = crate::control::router(Arc::clone(&app));
    let body = question
        .body
        .map_or_else(Body::empty, |b| Body::from(b.to_string()));
    let request = http::Request::builder()
        .method(question.method.as_str())
        .uri(&question.path)
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(body)
        .map_err(|e| crate::app::broken("a question was not a request").because(e))?;
    let response = match router.call(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    let status = response.status().as_u16();
    let bytes = axum::body::to_bytes(response.into_body(), ANSWER_BYTES_MAX)
        .await
        .map_err(|e| crate::app::broken("an answer was not read").because(e))?;
    startup::close(&app).await?;
    Ok(Answer {
        status,
        body: String::from_utf8_lossy(&bytes).into_owned(),
    })
}
