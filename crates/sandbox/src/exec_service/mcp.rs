//! The exec service as a tool of the Model Context Protocol (revision 2025-06-18, Streamable HTTP).
//!
//! `POST /mcp` takes one JSON-RPC message and answers with one; there is no session and no stream of
//! its own, so nothing is kept between two messages. The one tool, `run_code`, runs in a sandbox
//! that is made for the call and closed after it.

use super::ExecService;
use super::capture::{Capture, Said, Stream};
use super::handlers::{Refused, error_body, exec_request, in_driver, read_json};
use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use ringfence_core::isolation::Ended;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// The revisions that are spoken, the newest first.
const REVISIONS: [&str; 3] = ["2025-06-18", "2025-03-26", "2024-11-05"];
/// Error codes of JSON-RPC 2.0, section 5.1.
const INVALID_REQUEST: i32 = -32600;
const METHOD_NOT_FOUND: i32 = -32601;
const INVALID_PARAMS: i32 = -32602;

/// A message of a client: a request, or without `id` a notification.
#[derive(Deserialize)]
struct Message {
    jsonrpc: String,
    #[serde(default)]
    id: Option<Value>,
    #[serde(default)]
    method: Option<String>,
    #[serde(default)]
    params: Value,
}

/// What `run_code` takes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RunCode {
    code: String,
    #[serde(default)]
    language: Language,
    #[serde(default)]
    stdin: String,
    #[serde(default)]
    timeout_ms: Option<u64>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Language {
    #[default]
    Python,
    Shell,
}

/// How a call fails within the protocol.
struct Fault(i32, String);

pub(super) async fn post(
    State(service): State<Arc<ExecService>>,
    body: Body,
) -> Result<Response, Refused> {
    let message: Message = read_json(body, None).await?;
    let Some(id) = message.id else {
        // A notification has no answer.
        return Ok(StatusCode::ACCEPTED.into_response());
    };
    let method = message.method.filter(|_| message.jsonrpc == "2.0");
    let outcome = match method.as_deref() {
        None => Err(Fault(
            INVALID_REQUEST,
            "not a JSON-RPC 2.0 request".to_owned(),
        )),
        Some("initialize") => Ok(welcome(&message.params)),
        Some("ping") => Ok(json!({})),
        Some("tools/list") => Ok(json!({ "tools": [tool(&service)] })),
        Some("tools/call") => call(&service, message.params).await,
        Some(other) => Err(Fault(METHOD_NOT_FOUND, format!("there is no {other}"))),
    };
    let answer = match outcome {
        Ok(result) => json!({"jsonrpc": "2.0", "id": id, "result": result}),
        Err(Fault(code, message)) => {
            json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}})
        }
    };
    let kind = [(header::CONTENT_TYPE, "application/json")];
    Ok((StatusCode::OK, kind, answer.to_string()).into_response())
}

/// There is no stream from here to the client, as the specification lets a server say.
pub(super) async fn no_stream() -> StatusCode {
    StatusCode::METHOD_NOT_ALLOWED
}

fn welcome(params: &Value) -> Value {
    let asked = params.get("protocolVersion").and_then(Value::as_str);
    let known = REVISIONS
        .into_iter()
        .find(|revision| Some(*revision) == asked);
    json!({
        "protocolVersion": known.unwrap_or(REVISIONS[0]),
        "capabilities": {"tools": {"listChanged": false}},
        "serverInfo": {"name": "ringfence", "version": env!("CARGO_PKG_VERSION")},
    })
}

fn tool(service: &ExecService) -> Value {
    json!({
        "name": "run_code",
        "title": "Run code",
        "description": "Runs code in a fresh sandbox without network and without files, and returns \
                        what it printed. Nothing is kept between two calls.",
        "inputSchema": {
            "type": "object",
            "properties": {
                "code": {"type": "string"},
                "language": {"type": "string", "enum": ["python", "shell"], "default": "python"},
                "stdin": {"type": "string", "default": ""},
                "timeout_ms": {
                    "type": "integer", "minimum": 1, "maximum": service.policy.timeout_ms_max
                },
            },
            "required": ["code"],
            "additionalProperties": false,
        },
    })
}

async fn call(service: &Arc<ExecService>, params: Value) -> Result<Value, Fault> {
    let invalid = |what: String| Fault(INVALID_PARAMS, what);
    let name = params.get("name").and_then(Value::as_str);
    if name != Some("run_code") {
        return Err(invalid("there is one tool, run_code".to_owned()));
    }
    let arguments = params.get("arguments").cloned().unwrap_or_default();
    let code: RunCode = serde_json::from_value(arguments).map_err(|e| invalid(e.to_string()))?;
    let most = service.policy.timeout_ms_max;
    let timeout_ms = code
        .timeout_ms
        .unwrap_or(service.policy.timeout_ms_default.min(most));
    if !(1..=most).contains(&timeout_ms) || code.code.contains('\0') {
        return Err(invalid(format!(
            "code holds no NUL, and timeout_ms is 1 to {most}"
        )));
    }
    let running = Arc::clone(service);
    let work = async move { running.run_code(code, timeout_ms).await };
    // A tool that could not run says so as its result, so that the model reads why.
    Ok(match in_driver(service, work).await.and_then(|said| said) {
        Ok(said) => result(&said),
        Err(Refused(_, error)) => json!({
            "content": [{"type": "text", "text": error_body(&error).to_string()}],
            "isError": true,
        }),
    })
}

impl ExecService {
    /// One program in a sandbox of its own.
    async fn run_code(self: Arc<Self>, code: RunCode, timeout_ms: u64) -> Result<Said, Refused> {
        let command = match code.language {
            Language::Python => ["python3", "-c", &code.code],
            Language::Shell => ["sh", "-c", &code.code],
        };
        let command = command.map(str::to_owned).to_vec();
        let id = Arc::clone(&self).start_sandbox(None).await?;
        let capture = Capture {
            purpose: "run_code",
            request: exec_request(command, timeout_ms),
            stdin: code.stdin.into_bytes(),
            bytes_max: self.policy.output_bytes_max,
        };
        let said = self.run_captured(&id, capture).await;
        if let Some(closing) = self.table.take(&id) {
            // A failure stands in the log as the outcome of the end.
            let _logged = Arc::clone(&self).finish_close(closing, "asked").await;
        }
        said
    }
}

fn result(said: &Said) -> Value {
    let text = |stream: &Stream| String::from_utf8_lossy(&stream.bytes).into_owned();
    let (out, err) = (text(&said.stdout), text(&said.stderr));
    let (exit, failed) = match said.ended {
        Ended::Exited(code) => (json!({ "code": code }), code != 0),
        Ended::Signaled(signal) => (json!({ "signal": signal }), true),
        Ended::TimedOut => (json!({"timed_out": true}), true),
        Ended::OutOfMemory => (json!({"out_of_memory": true}), true),
        Ended::Lost => (json!({"lost": true}), true),
    };
    let mut shown = out.clone();
    if !err.is_empty() {
        shown.push_str("\n[stderr]\n");
        shown.push_str(&err);
    }
    if failed {
        shown = format!("{shown}\n[exit] {exit}");
    }
    json!({
        "content": [{"type": "text", "text": shown}],
        "structuredContent": {
            "stdout": out,
            "stderr": err,
            "exit": exit,
            "truncated": said.stdout.cut || said.stderr.cut,
        },
        "isError": failed,
    })
}
