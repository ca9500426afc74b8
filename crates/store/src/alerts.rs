//! Alerts: what somebody has to hear about. How they leave the house stands in
//! [`crate::outbox`].

use crate::error::StoreError;
use crate::row::{Columns, to_json};
use crate::transaction::{Tx, View};
use crate::value::Row;
use ringfence_core::ids::{CaseId, ProjectId};
use ringfence_core::time::Timestamp;
use serde_json::Value;

/// LIMIT: alerts one listing returns.
pub const ALERTS_LISTED_MAX: usize = 500;

/// One alert.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertRow {
    /// Its id.
    pub id: String,
    /// Whose.
    pub project: ProjectId,
    /// What it is about; the same thing again is counted, not repeated.
    pub fingerprint: String,
    /// The case behind it.
    pub case: Option<CaseId>,
    /// How urgent.
    pub tier: String,
    /// When.
    pub created: Timestamp,
    /// How often the same was kept quiet since.
    pub repeats: u64,
    /// Its text, field by field.
    pub body: Value,
}

pub(crate) fn alert(row: &Row<'_>) -> Result<AlertRow, StoreError> {
    let c = Columns::of("alerts", row);
    Ok(AlertRow {
        id: c.value("id")?,
        project: c.parsed("project")?,
        fingerprint: c.value("fingerprint")?,
        case: c.parsed_optional("case_id")?,
        tier: c.value("tier")?,
        created: c.time("created_ms")?,
        repeats: c.count("repeats")?,
        body: c.json("body")?,
    })
}

/// Adds an alert.
pub fn add(tx: &Tx<'_>, new: &AlertRow) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO alerts (id, project, fingerprint, case_id, tier, created_ms, repeats, body)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        (
            &new.id,
            new.project.as_str(),
            &new.fingerprint,
            new.case.as_ref().map(CaseId::as_str),
            &new.tier,
            new.created.0,
            i64::try_from(new.repeats).unwrap_or(i64::MAX),
            to_json("alerts", &new.body)?,
        ),
    )?;
    Ok(())
}

/// The newest alert about a fingerprint that is younger than `since`.
pub fn recent_about(
    view: &View<'_>,
    project: &ProjectId,
    fingerprint: &str,
    since: Timestamp,
) -> Result<Option<AlertRow>, StoreError> {
    view.first(
        "SELECT * FROM alerts WHERE project = ?1 AND fingerprint = ?2 AND created_ms > ?3
         ORDER BY created_ms DESC LIMIT 1",
        (project.as_str(), fingerprint, since.0),
        alert,
    )
}

/// Counts a repetition that was kept quiet.
pub fn count_repeat(tx: &Tx<'_>, project: &ProjectId, id: &str) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE alerts SET repeats = repeats + 1 WHERE project = ?1 AND id = ?2",
        (project.as_str(), id),
    )?;
    Ok(())
}

/// The alerts of a project, newest first, at most [`ALERTS_LISTED_MAX`].
pub fn list(view: &View<'_>, project: &ProjectId) -> Result<Vec<AlertRow>, StoreError> {
    view.all(
        "SELECT * FROM alerts WHERE project = ?1 ORDER BY created_ms DESC, id DESC LIMIT ?2",
        (
            project.as_str(),
            i64::try_from(ALERTS_LISTED_MAX).unwrap_or(i64::MAX),
        ),
        alert,
    )
}

/// The alerts of a project that a session has not seen, oldest first, at most
/// [`ALERTS_LISTED_MAX`].
pub fn unseen(
    view: &View<'_>,
    project: &ProjectId,
    session_hash: &[u8; 32],
) -> Result<Vec<AlertRow>, StoreError> {
    view.all(
        "SELECT * FROM alerts WHERE project = ?1 AND id NOT IN
           (SELECT alert_id FROM alert_views WHERE session_hash = ?2)
         ORDER BY created_ms, id LIMIT ?3",
        (
            project.as_str(),
            session_hash.as_slice(),
            i64::try_from(ALERTS_LISTED_MAX).unwrap_or(i64::MAX),
        ),
        alert,
    )
}

/// Notes that a session has seen an alert of this project.
pub fn mark_seen(
    tx: &Tx<'_>,
    project: &ProjectId,
    session_hash: &[u8; 32],
    id: &str,
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO alert_views (project, session_hash, alert_id)
         SELECT project, ?2, id FROM alerts WHERE project = ?1 AND id = ?3
         ON CONFLICT DO NOTHING",
        (project.as_str(), session_hash.as_slice(), id),
    )?;
    Ok(())
}
