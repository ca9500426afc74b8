//! The demo engine's answers in the formats of `OpenAI` (chat completions API reference, 2025) and
//! of Ollama (`docs/api.md`).

use super::{Answer, DESCRIPTION, Frames, MODEL, pieces};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use ringfence_core::digest::hex;
use ringfence_crypto::hash::sha256;
use ringfence_net::body::{self, Body};
use ringfence_net::{ndjson, sse};
use serde_json::{Value, json};
use std::collections::VecDeque;

/// It has no clock: nothing in its answers depends on when they are given.
const CREATED: &str = "2026-01-01T00:00:00Z";
const CREATED_SECONDS: u64 = 1_767_225_600;

/// Which of Ollama's two routes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Chat,
    Generate,
}

pub(crate) fn models() -> Response<Body> {
    whole(&json!({"object": "list", "data": [{
        "id": MODEL, "object": "model", "created": CREATED_SECONDS, "owned_by": "ringfence",
        "description": DESCRIPTION,
    }]}))
}

pub(crate) fn tags() -> Response<Body> {
    whole(&json!({"models": [{
        "name": MODEL, "model": MODEL, "modified_at": CREATED, "size": 0, "digest": "",
        "description": DESCRIPTION,
        "details": {"format": "none", "family": "retrieval", "families": ["retrieval"],
            "parameter_size": "0", "quantization_level": "none", "parent_model": ""},
    }]}))
}

pub(crate) fn refused() -> Response<Body> {
    let mut response = whole(&json!({"error": {"message": "no such route"}}));
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

pub(crate) fn openai_chat(request: &Value, answer: &Answer) -> Response<Body> {
    let id = format!("chatcmpl-{}", &hex(&sha256(answer.text.as_bytes()))[..24]);
    let pieces = pieces(&answer.text);
    let usage = json!({
        "prompt_tokens": answer.prompt_tokens, "completion_tokens": pieces.len(),
        "total_tokens": answer.prompt_tokens + pieces.len(),
    });
    if request.get("stream") != Some(&Value::Bool(true)) {
        return whole(&json!({
            "id": id, "object": "chat.completion", "created": CREATED_SECONDS, "model": MODEL,
            "system_fingerprint": DESCRIPTION, "usage": usage,
            "choices": [{"index": 0, "finish_reason": "stop", "logprobs": null,
                "message": {"role": "assistant", "content": answer.text, "refusal": null}}],
        }));
    }
    let with_usage = request.pointer("/stream_options/include_usage") == Some(&Value::Bool(true));
    let frame = |choices: Value, usage: &Value| {
        let mut frame = json!({
            "id": id, "object": "chat.completion.chunk", "created": CREATED_SECONDS,
            "model": MODEL, "system_fingerprint": DESCRIPTION, "choices": choices,
        });
        if with_usage {
            frame["usage"] = usage.clone();
        }
        sse::encode(None, &frame.to_string())
    };
    let choice = |delta: Value, reason: Value| json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": reason}]);
    let mut frames = VecDeque::new();
    let role = json!({"role": "assistant", "content": ""});
    frames.push_back(frame(choice(role, Value::Null), &Value::Null));
    for piece in pieces {
        frames.push_back(frame(
            choice(json!({"content": piece}), Value::Null),
            &Value::Null,
        ));
    }
    frames.push_back(frame(choice(json!({}), json!("stop")), &Value::Null));
    if with_usage {
        frames.push_back(frame(json!([]), &usage));
    }
    frames.push_back(sse::encode(None, "[DONE]"));
    streamed(frames, "text/event-stream")
}

pub(crate) fn ollama(request: &Value, answer: &Answer, form: Form) -> Response<Body> {
    let pieces = pieces(&answer.text);
    let line = |text: &str, done: bool| {
        let mut line = json!({"model": MODEL, "created_at": CREATED, "done": done});
        match form {
            Form::Chat => line["message"] = json!({"role": "assistant", "content": text}),
            Form::Generate => line["response"] = json!(text),
        }
        if done {
            line["done_reason"] = json!("stop");
            line["prompt_eval_count"] = json!(answer.prompt_tokens);
            line["eval_count"] = json!(pieces.len());
            for name in [
                "total_duration",
                "load_duration",
                "prompt_eval_duration",
                "eval_duration",
            ] {
                line[name] = json!(0);
            }
        }
        line
    };
    // Ollama streams unless told not to.
    if request.get("stream") == Some(&Value::Bool(false)) {
        return whole(&line(&answer.text, true));
    }
    let encode = |line: Value| ndjson::encode(line.to_string().as_bytes());
    let mut frames: VecDeque<Bytes> = pieces.iter().map(|p| encode(line(p, false))).collect();
    frames.push_back(encode(line("", true)));
    streamed(frames, "application/x-ndjson")
}

fn whole(value: &Value) -> Response<Body> {
    typed(body::full(value.to_string()), "application/json")
}

fn streamed(frames: VecDeque<Bytes>, kind: &'static str) -> Response<Body> {
    typed(body::boxed(Frames(frames)), kind)
}

fn typed(content: Body, kind: &'static str) -> Response<Body> {
    let mut response = Response::new(content);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
