//! What an export of the log to write-once storage did, put on record.

use crate::app::App;
use ringfence_core::error::{ErrorCode, Explained};
use ringfence_core::event::{Occurrence, Target};
use ringfence_core::leaf::{Leaf, LeafAction, Outcome};
use ringfence_record::worm::Report;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// LIMIT: octets of a vault's name: an endpoint, a bucket and a prefix.
pub const VAULT_BYTES_MAX: usize = 1024;
/// The event of an export that failed.
pub const UNEXPORTED: &str = "record.log.unexported";

/// One export, as the exporter tells it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Export {
    /// Where it went.
    pub vault: String,
    /// What it did, if it ended well.
    #[serde(default)]
    pub report: Option<Report>,
    /// Why it stopped, if it did.
    #[serde(default)]
    pub failure: Option<Explained>,
    /// Whether that says something about the log or the vault, and not only that it did not work.
    #[serde(default)]
    pub finding: bool,
}

/// Appends the leaf of an export; a failed one is an alert too. Returns the leaf's index.
pub async fn note(app: &App, actor: &str, export: Export) -> Result<Value, Explained> {
    if export.vault.len() > VAULT_BYTES_MAX || export.report.is_some() == export.failure.is_some() {
        return Err(Explained::new(
            ErrorCode("run/control-body"),
            "an export ended well or it did not, and its vault has a name",
            "let `ringfence log worm` say what it did",
        ));
    }
    let leaf = app.leaf(
        actor,
        LeafAction::LogExport,
        format!("vault:{}", export.vault),
    );
    let receipt = app.record(told(leaf, &export)).await?;
    if let Some(failure) = &export.failure {
        tracing::error!(code = %failure.code, "the log was not exported");
        (app.terminal)(&[format!(
            "alert: the log was not exported to {}: {}",
            export.vault, failure.what
        )]);
        let occurrence = Occurrence::new(app.now(), app.project.clone(), Target::Host, UNEXPORTED);
        app.events.emit(occurrence.denied(None));
    }
    Ok(json!({"index": receipt.index}))
}

fn told(leaf: Leaf, export: &Export) -> Leaf {
    let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let leaf = match &export.report {
        Some(report) => leaf
            .with("size", count(report.size))
            .with("checkpoint", count(report.checkpoint))
            .with("stored", count(report.stored))
            .with("lag", count(report.lag())),
        None => leaf,
    };
    match &export.failure {
        Some(failure) => leaf
            .outcome(Outcome::Failed)
            .with("error", failure.code.clone())
            .with("finding", export.finding),
        None => leaf,
    }
}
