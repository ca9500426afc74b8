//! What ADMIT decided about a project, newest first.

use crate::error::StoreError;
use crate::row::{Columns, to_json};
use crate::transaction::{Tx, View};
use crate::value::Row;
use ringfence_core::digest::Digest;
use ringfence_core::ids::ProjectId;
use ringfence_core::time::Timestamp;
use ringfence_core::verdict::Verdict;
use serde::{Deserialize, Serialize};

/// LIMIT: admissions kept for one project; the oldest go first. The log keeps a leaf of each.
pub const ADMISSIONS_KEPT: usize = 50;
const TABLE: &str = "admissions";

/// One admission.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Admission {
    /// Whose.
    pub project: ProjectId,
    /// When it was decided.
    pub time: Timestamp,
    /// Digest of what was looked at.
    pub digest: Digest,
    /// What was decided, and how completely it was looked at.
    pub verdict: Verdict,
    /// The whole report, as the scanner wrote it.
    pub report: serde_json::Value,
}

fn admission(row: &Row<'_>) -> Result<Admission, StoreError> {
    let c = Columns::of(TABLE, row);
    Ok(Admission {
        project: c.parsed("project")?,
        time: c.time("time_ms")?,
        digest: c.parsed("digest")?,
        verdict: c.json("verdict")?,
        report: c.json("report")?,
    })
}

/// Adds one and lets go of those beyond [`ADMISSIONS_KEPT`].
pub fn add(tx: &Tx<'_>, new: &Admission) -> Result<(), StoreError> {
    let verdict = to_json(TABLE, &new.verdict)?;
    let report = to_json(TABLE, &new.report)?;
    tx.execute(
        "INSERT INTO admissions (project, time_ms, digest, decision, verdict, report)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        (
            new.project.as_str(),
            new.time.0,
            new.digest.to_string(),
            new.verdict.decision.as_str(),
            verdict,
            report,
        ),
    )?;
    tx.execute(
        "DELETE FROM admissions WHERE project = ?1 AND id NOT IN
         (SELECT id FROM admissions WHERE project = ?1 ORDER BY id DESC LIMIT ?2)",
        (
            new.project.as_str(),
            i64::try_from(ADMISSIONS_KEPT).unwrap_or(i64::MAX),
        ),
    )?;
    Ok(())
}

/// The newest one of a project.
pub fn latest(view: &View<'_>, project: &ProjectId) -> Result<Option<Admission>, StoreError> {
    view.first(
        "SELECT * FROM admissions WHERE project = ?1 ORDER BY id DESC LIMIT 1",
        [project.as_str()],
        admission,
    )
}

/// Those that are kept, newest first.
pub fn list(view: &View<'_>, project: &ProjectId) -> Result<Vec<Admission>, StoreError> {
    view.all(
        "SELECT * FROM admissions WHERE project = ?1 ORDER BY id DESC",
        [project.as_str()],
        admission,
    )
}
