//! Talking to the service: over its Unix socket when it runs, else with its parts started for the
//! length of one command.

use crate::commands::offline;
use crate::house;
use ringfence_core::error::{ErrorCode, Explained};
use ringfence_net::NetError;
use ringfence_net::body::{collect, empty, full};
use ringfence_net::client::{ClientLimits, send_over_unix};
use ringfence_server::offline::{Answer, Question};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// LIMIT: octets of an answer.
const ANSWER_BYTES_MAX: usize = 128 * 1024 * 1024;

/// A question without a body.
pub(crate) fn get(path: impl Into<String>) -> Question {
    Question {
        method: "GET".to_owned(),
        path: path.into(),
        body: None,
    }
}

/// A question that changes something.
pub(crate) fn post(path: impl Into<String>, body: &impl Serialize) -> Question {
    let body = serde_json::to_value(body).ok();
    Question {
        method: "POST".to_owned(),
        path: path.into(),
        body,
    }
}

/// A question that ends something.
pub(crate) fn delete(path: impl Into<String>) -> Question {
    Question {
        method: "DELETE".to_owned(),
        path: path.into(),
        body: None,
    }
}

/// The socket of a running service.
pub(crate) fn socket(state: &Path) -> PathBuf {
    state.join("server").join("control.sock")
}

/// Asks the running service, and reads the answer as a value.
pub(crate) fn ask_running<T: DeserializeOwned>(
    state: &Path,
    question: &Question,
) -> Result<T, Explained> {
    let answer = exchange_now(state, question)?.ok_or_else(|| not_running(state))?;
    read(&understood(answer)?)
}

/// Asks the running service, or the state directory where none runs.
pub(crate) fn ask<T: DeserializeOwned>(state: &Path, question: &Question) -> Result<T, Explained> {
    read(&ask_text(state, question)?)
}

/// The same, as the text of the answer.
pub(crate) fn ask_text(state: &Path, question: &Question) -> Result<String, Explained> {
    let answer = match exchange_now(state, question)? {
        Some(answer) => answer,
        None if house::noted(state).is_some() => offline::ask(state, question)?,
        None => return Err(not_running(state)),
    };
    understood(answer)
}

fn read<T: DeserializeOwned>(text: &str) -> Result<T, Explained> {
    serde_json::from_str(text).map_err(|e| not_understood().because(e))
}

/// The body of a success; the error of anything else.
fn understood(answer: Answer) -> Result<String, Explained> {
    if (200..300).contains(&answer.status) {
        return Ok(answer.body);
    }
    let error = serde_json::from_str::<Value>(&answer.body)
        .ok()
        .and_then(|v| serde_json::from_value(v.get("error")?.clone()).ok());
    Err(error.unwrap_or_else(not_understood))
}

fn exchange_now(state: &Path, question: &Question) -> Result<Option<Answer>, Explained> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| not_understood().because(e))?;
    runtime.block_on(exchange(state, question))
}

/// One request over the socket; none where nobody listens.
async fn exchange(state: &Path, question: &Question) -> Result<Option<Answer>, Explained> {
    let body = match &question.body {
        Some(value) => full(value.to_string()),
        None => empty(),
    };
    let request = http::Request::builder()
        .method(question.method.as_str())
        .uri(&question.path)
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(body)
        .map_err(|e| not_understood().because(e))?;
    let sent = send_over_unix(&socket(state), request, ClientLimits::default()).await;
    let response = match sent {
        Ok(response) => response,
        Err(NetError::Connect { .. }) => return Ok(None),
        Err(error) => return Err(Explained::of(&error)),
    };
    let status = response.status().as_u16();
    let bytes = collect(response.into_body(), ANSWER_BYTES_MAX)
        .await
        .map_err(|e| Explained::of(&e))?;
    Ok(Some(Answer {
        status,
        body: String::from_utf8_lossy(&bytes).into_owned(),
    }))
}

fn not_running(state: &Path) -> Explained {
    Explained::new(
        ErrorCode("cli/not-running"),
        format!("no service answers in {}", state.display()),
        "start one: ringfence up -d; or name its state directory: --state DIR",
    )
}

fn not_understood() -> Explained {
    Explained::new(
        ErrorCode("cli/answer"),
        "the service's answer was not understood",
        "check that command and service are of the same version: ringfence --version",
    )
}
