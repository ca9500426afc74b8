//! Errors in the shape that the client's protocol expects.

use crate::error::GatewayError;
use crate::routes::Protocol;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use ringfence_core::error::Explain;
use ringfence_core::ids::RequestId;
use ringfence_net::body::{self, Body};
use serde_json::{Value, json};

/// The header that names a request in leaves and events.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-ringfence-request-id");

/// The error as JSON.
pub fn error_json(error: &GatewayError, protocol: Protocol, id: &RequestId) -> Value {
    let code = error.code().0;
    let help = error.help().unwrap_or_default();
    match protocol {
        Protocol::Ollama => json!({
            "error": format!("{error} ({code}); {help}"),
            "code": code,
            "rule": error.rule(),
            "request_id": id,
        }),
        Protocol::OpenAi | Protocol::App => json!({"error": {
            "message": error.to_string(),
            "type": error.kind(),
            "param": null,
            "code": code,
            "rule": error.rule(),
            "help": help,
            "request_id": id,
        }}),
    }
}

/// The error as a response.
pub fn error(error: &GatewayError, protocol: Protocol, id: &RequestId) -> Response<Body> {
    let mut response = json_response(error.status(), &error_json(error, protocol, id), id);
    if let Some(retry_ms) = error.retry_ms() {
        let seconds = retry_ms.div_ceil(1_000).max(1);
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn json_response(status: u16, value: &Value, id: &RequestId) -> Response<Body> {
    let mut response = Response::new(body::full(value.to_string()));
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    name(&mut response, id);
    response
}

/// Writes the request's id into a response.
pub fn name(response: &mut Response<Body>, id: &RequestId) {
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
}
