//! Talking to the service: over its Unix socket when it runs, else with its parts started for the
//! length of one command.

use ringfence_core::error::{ErrorCode, Explained};
use ringfence_net::body::{collect, empty, full};
use ringfence_net::client::{ClientLimits, send_over_unix};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// LIMIT: octets of an answer.
const ANSWER_BYTES_MAX: usize = 128 * 1024 * 1024;

/// One question to the control API.
#[derive(Debug)]
pub(crate) struct Question {
    /// The method.
    pub method: &'static str,
    /// Path and query.
    pub path: String,
    /// The body, if there is one.
    pub body: Option<Value>,
}

impl Question {
    /// A GET.
    pub(crate) fn of(path: impl Into<String>) -> Self {
        Self {
            method: "GET",
            path: path.into(),
            body: None,
        }
    }

    /// A POST with a body.
    pub(crate) fn post(path: impl Into<String>, body: &impl Serialize) -> Self {
        Self {
            method: "POST",
            path: path.into(),
            body: serde_json::to_value(body).ok(),
        }
    }

    /// A DELETE.
    pub(crate) fn delete(path: impl Into<String>) -> Self {
        Self {
            method: "DELETE",
            path: path.into(),
            body: None,
        }
    }
}

/// The socket of a running service.
pub(crate) fn socket(state: &Path) -> PathBuf {
    state.join("server").join("control.sock")
}

/// Asks, and reads the answer as a value.
pub(crate) fn ask<T: DeserializeOwned>(state: &Path, question: Question) -> Result<T, Explained> {
    let bytes = ask_bytes(state, question)?;
    serde_json::from_slice(&bytes).map_err(|e| not_understood().because(e))
}

/// Asks, and returns the answer as it came.
pub(crate) fn ask_bytes(state: &Path, question: Question) -> Result<Vec<u8>, Explained> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| not_understood().because(e))?;
    runtime.block_on(exchange(state, question))
}

async fn exchange(state: &Path, question: Question) -> Result<Vec<u8>, Explained> {
    let body = match &question.body {
        Some(value) => full(value.to_string()),
        None => empty(),
    };
    let request = http::Request::builder()
        .method(question.method)
        .uri(&question.path)
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(body)
        .map_err(|e| not_understood().because(e))?;
    let socket = socket(state);
    let response = send_over_unix(&socket, request, ClientLimits::default())
        .await
        .map_err(|e| not_running(state).because(e))?;
    let status = response.status();
    let bytes = collect(response.into_body(), ANSWER_BYTES_MAX)
        .await
        .map_err(|e| Explained::of(&e))?;
    if status.is_success() {
        return Ok(bytes.to_vec());
    }
    let error = serde_json::from_slice::<Value>(&bytes)
        .ok()
        .and_then(|v| serde_json::from_value(v.get("error")?.clone()).ok());
    Err(error.unwrap_or_else(not_understood))
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
