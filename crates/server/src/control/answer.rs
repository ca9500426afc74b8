//! How the control API answers, errors included.

use crate::service;
use axum::Json;
use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
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

impl From<BytesRejection> for Failure {
    fn from(rejection: BytesRejection) -> Self {
        let code = if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            "run/control-body-too-long"
        } else {
            "run/control-body"
        };
        refused(code, "the request body was not read", &rejection)
    }
}

impl From<QueryRejection> for Failure {
    fn from(rejection: QueryRejection) -> Self {
        refused(
            "run/control-query",
            "the query was not understood",
            &rejection,
        )
    }
}

impl From<PathRejection> for Failure {
    fn from(rejection: PathRejection) -> Self {
        refused(
            "run/control-path",
            "the path was not understood",
            &rejection,
        )
    }
}

fn refused(code: &'static str, what: &str, why: &dyn std::error::Error) -> Failure {
    let help = "the shapes are at GET /v1/openapi.json";
    Failure(Explained::new(ErrorCode(code), what, help).because(why))
}

fn status(code: &str) -> StatusCode {
    if service::is_missing(code) {
        StatusCode::NOT_FOUND
    } else if code == "run/route-method" {
        StatusCode::METHOD_NOT_ALLOWED
    } else if code == "run/control-body-too-long" {
        StatusCode::PAYLOAD_TOO_LARGE
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

/// For a path of the table under a method that is not.
pub(super) async fn wrong_method() -> Failure {
    Failure(Explained::new(
        ErrorCode("run/route-method"),
        "this route does not take this method",
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
