//! The control API: what the commands do to a running server, over its Unix socket.
//!
//! Whoever can open the socket is the operator: it lies in a folder that only the server's own user
//! and root can enter. There is no other way to this API, so it carries no keys.
//! INVARIANT: the router is built from [`ROUTES`]; an operation without a row does not exist, and
//! the `OpenAPI` description is made of the same rows.

mod answer;
mod handlers;
mod openapi;

pub use openapi::openapi;

use crate::app::App;
use axum::Router;
use axum::routing::{MethodRouter, delete, get, post};
use std::sync::Arc;

/// LIMIT: octets of a request body.
pub const BODY_BYTES_MAX: usize = 256 * 1024;

/// What can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// What stands and what runs.
    Status,
    /// End everything.
    Stop,
    /// A new one-time token for the console.
    NewToken,
    /// List sandboxes.
    Sandboxes,
    /// A piece of the assistant's output.
    Logs,
    /// List keys.
    Keys,
    /// Make a key.
    CreateKey,
    /// End a key.
    RevokeKey,
    /// List cases.
    Cases,
    /// One case.
    Case,
    /// List waivers.
    Waivers,
    /// Accept a finding until a date.
    Waive,
    /// List alerts.
    Alerts,
    /// The key that signs webhooks.
    WebhookKey,
    /// A page of the log.
    Leaves,
    /// An inclusion proof.
    Proof,
    /// Forget a subject.
    Erase,
    /// Put an export of the log on record.
    NoteExport,
    /// The last verdict with its findings.
    Verdict,
    /// Metrics in the Prometheus text format.
    Metrics,
    /// This description.
    OpenApi,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// The method, in capitals.
    pub method: &'static str,
    /// The path; `{name}` is a parameter.
    pub path: &'static str,
    /// What it does.
    pub operation: Operation,
    /// One line for the description.
    pub summary: &'static str,
}

const fn row(
    method: &'static str,
    path: &'static str,
    operation: Operation,
    summary: &'static str,
) -> Route {
    Route {
        method,
        path,
        operation,
        summary,
    }
}

/// Every route.
pub const ROUTES: &[Route] = &[
    row(
        "GET",
        "/v1/status",
        Operation::Status,
        "What stands and what runs",
    ),
    row(
        "POST",
        "/v1/stop",
        Operation::Stop,
        "End the service and every sandbox",
    ),
    row(
        "POST",
        "/v1/console/token",
        Operation::NewToken,
        "A new one-time token for the console",
    ),
    row(
        "GET",
        "/v1/sandboxes",
        Operation::Sandboxes,
        "Sandboxes with their counters",
    ),
    row(
        "GET",
        "/v1/logs",
        Operation::Logs,
        "Output of the assistant from an offset on",
    ),
    row(
        "GET",
        "/v1/keys",
        Operation::Keys,
        "API keys without their secrets",
    ),
    row(
        "POST",
        "/v1/keys",
        Operation::CreateKey,
        "Make an API key; its text is shown once",
    ),
    row(
        "DELETE",
        "/v1/keys/{id}",
        Operation::RevokeKey,
        "End an API key now",
    ),
    row(
        "GET",
        "/v1/cases",
        Operation::Cases,
        "Weaknesses and incidents",
    ),
    row(
        "GET",
        "/v1/cases/{id}",
        Operation::Case,
        "One case with its history",
    ),
    row(
        "GET",
        "/v1/waivers",
        Operation::Waivers,
        "Waivers with their ends",
    ),
    row(
        "POST",
        "/v1/waivers",
        Operation::Waive,
        "Accept a finding until a date",
    ),
    row(
        "GET",
        "/v1/alerts",
        Operation::Alerts,
        "Alerts, the newest first",
    ),
    row(
        "GET",
        "/v1/alerts/key",
        Operation::WebhookKey,
        "The key that signs what webhooks receive, in hex",
    ),
    row("GET", "/v1/leaves", Operation::Leaves, "A page of the log"),
    row(
        "GET",
        "/v1/leaves/{index}/proof",
        Operation::Proof,
        "An inclusion proof as text",
    ),
    row(
        "POST",
        "/v1/subjects/erase",
        Operation::Erase,
        "Destroy the key of what was kept for a subject",
    ),
    row(
        "POST",
        "/v1/exports",
        Operation::NoteExport,
        "Put an export of the log on record",
    ),
    row(
        "GET",
        "/v1/verdict",
        Operation::Verdict,
        "The last verdict with its findings",
    ),
    row(
        "GET",
        "/metrics",
        Operation::Metrics,
        "Metrics in the Prometheus text format 0.0.4",
    ),
    row(
        "GET",
        "/v1/openapi.json",
        Operation::OpenApi,
        "This description",
    ),
];

/// The router of every row.
pub fn router(app: Arc<App>) -> Router {
    ROUTES
        .iter()
        .fold(Router::new(), |router, r| {
            router.route(r.path, handler(r.operation))
        })
        .fallback(answer::unknown)
        .method_not_allowed_fallback(answer::wrong_method)
        .layer(axum::extract::DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(app)
}

fn handler(operation: Operation) -> MethodRouter<Arc<App>> {
    match operation {
        Operation::Status => get(handlers::status),
        Operation::Stop => post(handlers::stop),
        Operation::NewToken => post(handlers::new_token),
        Operation::Sandboxes => get(handlers::sandboxes),
        Operation::Logs => get(handlers::logs),
        Operation::Keys => get(handlers::keys),
        Operation::CreateKey => post(handlers::create_key),
        Operation::RevokeKey => delete(handlers::revoke_key),
        Operation::Cases => get(handlers::cases),
        Operation::Case => get(handlers::case),
        Operation::Waivers => get(handlers::waivers),
        Operation::Waive => post(handlers::waive),
        Operation::Alerts => get(handlers::alerts),
        Operation::WebhookKey => get(handlers::webhook_key),
        Operation::Leaves => get(handlers::leaves),
        Operation::Proof => get(handlers::proof),
        Operation::Erase => post(handlers::erase),
        Operation::NoteExport => post(handlers::note_export),
        Operation::Verdict => get(handlers::verdict),
        Operation::Metrics => get(handlers::metrics),
        Operation::OpenApi => get(handlers::description),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_rows_are_the_same_and_every_path_is_versioned() {
        for (i, a) in ROUTES.iter().enumerate() {
            assert!(
                a.path.starts_with("/v1/") || a.path == "/metrics",
                "{}",
                a.path
            );
            let same = |b: &Route| a.method == b.method && a.path == b.path;
            assert!(!ROUTES[i + 1..].iter().any(same), "{} {}", a.method, a.path);
        }
    }
}
