//! How the control API answers, errors included.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use ringfence_core::error::{ErrorCode, Explained};
use serde_json::json;

/// An error as an answer: `{"error": {code, what, place, why, help}}`.
#[derive(Debug)]
pub(super) struct Failure(pub Explained);

impl From<Explained> for Failure {
    fn from(error: Explained) -> Self {
        Self(error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (status(&self.0.code), Json(json!({ "error": self.0 }))).into_response()
    }
}

fn status(code: &str) -> StatusCode {
    if code.ends_with("-not-found") {
        StatusCode::NOT_FOUND
    } else if code == "run/internal" || code.starts_with("record/") {
        StatusCode::INTERNAL_SERVER_ERROR
    } else {
        StatusCode::BAD_REQUEST
    }
}

/// For every path that is not in the table.
pub(super) async fn unknown() -> Failure {
    Failure(Explained::new(
        ErrorCode("run/route-not-found"),
        "there is no such route",
        "the list is at GET /v1/openapi.json",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_404_and_what_broke_is_500() {
        assert_eq!(status("run/key-not-found"), StatusCode::NOT_FOUND);
        assert_eq!(status("run/internal"), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(status("respond/waiver-end"), StatusCode::BAD_REQUEST);
    }
}
