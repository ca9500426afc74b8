//! What stands and what runs.

use super::{cases, leaves};
use crate::app::App;
use ringfence_admit::ScanReport;
use ringfence_core::error::{ErrorCode, Explained};
use ringfence_core::isolation::{SandboxStats, WallState};
use ringfence_core::time::Timestamp;
use ringfence_store::admissions::{self, Admission};
use ringfence_watch::metrics::Outside;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;

/// The service at a glance.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Status {
    /// Version of the program.
    pub version: String,
    /// The hosted project.
    pub project: String,
    /// When the service started.
    pub started: Option<Timestamp>,
    /// Whether everything runs and the operator has been told so.
    pub ready: bool,
    /// Where the gateway listens.
    pub gateway: String,
    /// Where the console listens.
    pub console: String,
    /// The certificate that clients trust, when the gateway speaks TLS.
    pub authority: Option<String>,
    /// What answers prompts.
    pub upstream: String,
    /// Whether the assistant runs, in words.
    pub assistant: String,
    /// The last verdict.
    pub verdict: Option<String>,
    /// What the sandbox found when it attacked itself.
    pub walls: Vec<WallState>,
    /// Leaves in the log.
    pub leaves: u64,
    /// Request numbers that a crash left unaccounted for.
    pub unaccounted: u64,
    /// Cases that are not closed.
    pub cases_open: usize,
    /// What a reader of the log must know.
    pub anchor: String,
}

/// One sandbox.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ShownSandbox {
    /// Its id.
    pub id: String,
    /// Whose project.
    pub project: String,
    /// What it is for.
    pub role: String,
    /// Its counters.
    pub stats: SandboxStats,
}

/// A piece of the assistant's output.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct LogPiece {
    /// The text.
    pub text: String,
    /// Where the next piece begins.
    pub next: u64,
}

/// The service at a glance.
pub async fn status(app: &App) -> Result<Status, Explained> {
    let facts = app.facts();
    let log = leaves::state(app).await?;
    let verdict = last(app)
        .await?
        .map(|a| a.verdict.decision.as_str().to_owned());
    let assistant = match (&app.config.assistant, app.sandbox()) {
        (None, _) => "none is configured".to_owned(),
        (Some(_), Some(sandbox)) => format!("runs in {}", sandbox.id()),
        (Some(_), None) if app.pool.get().is_some() => {
            "answers each request from an instance of its own".to_owned()
        }
        (Some(_), None) => "is down; ringfence logs says why".to_owned(),
    };
    let open = cases::list(app).await?.iter().filter(|c| c.open).count();
    Ok(Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        project: app.project.to_string(),
        started: facts.started,
        ready: facts.ready,
        gateway: facts.gateway_url,
        console: facts.console_url,
        authority: facts.authority.map(|p| p.to_string_lossy().into_owned()),
        upstream: facts.upstream,
        assistant,
        verdict,
        walls: facts.walls,
        leaves: log.size,
        unaccounted: log.unaccounted,
        cases_open: open,
        anchor: leaves::anchor(app),
    })
}

/// Every sandbox that the server holds.
pub async fn sandboxes(app: &App) -> Result<Vec<ShownSandbox>, Explained> {
    let Some(sandbox) = app.sandbox() else {
        return Ok(Vec::new());
    };
    Ok(vec![ShownSandbox {
        id: sandbox.id().to_string(),
        project: sandbox.project().to_string(),
        role: "assistant".to_owned(),
        stats: sandbox.stats().await?,
    }])
}

/// A piece of the assistant's output: from an offset on, or the last lines.
pub async fn logs(
    app: &Arc<App>,
    from: Option<u64>,
    tail: Option<usize>,
) -> Result<LogPiece, Explained> {
    let output = Arc::clone(&app.output);
    let piece = tokio::task::spawn_blocking(move || match (from, tail) {
        (Some(from), _) => output.piece(from),
        (None, lines) => output.tail(lines.unwrap_or(100)),
    })
    .await
    .map_err(|e| crate::app::broken("reading output ended early").because(e))??;
    Ok(LogPiece {
        text: piece.text,
        next: piece.next,
    })
}

/// Metrics in the Prometheus text format, with what the other stages know.
pub async fn metrics(app: &App) -> String {
    let leaves = leaves::state(app).await.ok().map(|state| state.size);
    let mut outside = Outside {
        leaves,
        ..Outside::default()
    };
    if let Ok(cases) = cases::list(app).await {
        let open = cases.iter().filter(|c| c.open).count() as u64;
        outside.cases_open = vec![(app.project.clone(), open)];
    }
    ringfence_watch::metrics::text(&app.watch, &outside)
}

async fn last(app: &App) -> Result<Option<Admission>, Explained> {
    let project = app.project.clone();
    app.state(move |store| store.read(|view| admissions::latest(view, &project)))
        .await
}

/// The last report as it was stored.
pub async fn last_report(app: &App) -> Result<Option<Value>, Explained> {
    Ok(last(app).await?.map(|a| a.report))
}

/// The last report, read.
pub async fn last_scan(app: &App) -> Result<Option<ScanReport>, Explained> {
    let Some(report) = last_report(app).await? else {
        return Ok(None);
    };
    serde_json::from_value(report).map(Some).map_err(|e| {
        Explained::new(
            ErrorCode("admit/report-unreadable"),
            "the stored report was written by another version",
            "scan again: ringfence up",
        )
        .because(e)
    })
}
