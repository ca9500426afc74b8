//! Waivers: a rule that does not count for a project, for a reason and until a moment.

use crate::error::StoreError;
use crate::row::Columns;
use crate::transaction::{Tx, View};
use crate::value::Row;
use ringfence_core::ids::{ProjectId, RuleId};
use ringfence_core::time::Timestamp;
use serde::{Deserialize, Serialize};

/// LIMIT: waivers of one project, ended ones included.
pub const WAIVERS_MAX: usize = 10_000;
const TABLE: &str = "waivers";

/// One waiver. The table refuses one without end, reason or owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaiverRow {
    /// Its id.
    pub id: String,
    /// Whose.
    pub project: ProjectId,
    /// Which rule.
    pub rule: RuleId,
    /// Only this finding; none means every finding of the rule.
    pub fingerprint: Option<String>,
    /// When it ends.
    pub until: Timestamp,
    /// Why.
    pub reason: String,
    /// Who answers for it.
    pub owner: String,
    /// When it was made.
    pub created: Timestamp,
}

fn waiver(row: &Row<'_>) -> Result<WaiverRow, StoreError> {
    let c = Columns::of(TABLE, row);
    Ok(WaiverRow {
        id: c.value("id")?,
        project: c.parsed("project")?,
        rule: c.parsed("rule")?,
        fingerprint: c.value("fingerprint")?,
        until: c.time("until_ms")?,
        reason: c.value("reason")?,
        owner: c.value("owner")?,
        created: c.time("created_ms")?,
    })
}

/// Adds one.
pub fn add(tx: &Tx<'_>, new: &WaiverRow) -> Result<(), StoreError> {
    let count = tx.number(
        "SELECT count(*) AS n FROM waivers WHERE project = ?1",
        [new.project.as_str()],
    )?;
    if count >= WAIVERS_MAX as u64 {
        return Err(StoreError::Limit {
            what: "waivers of one project",
            limit: WAIVERS_MAX,
        });
    }
    tx.execute(
        "INSERT INTO waivers (id, project, rule, fingerprint, until_ms, reason, owner, created_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        (
            &new.id,
            new.project.as_str(),
            new.rule.as_str(),
            &new.fingerprint,
            new.until.0,
            &new.reason,
            &new.owner,
            new.created.0,
        ),
    )?;
    Ok(())
}

/// Every waiver of a project, the next to end last.
pub fn list(view: &View<'_>, project: &ProjectId) -> Result<Vec<WaiverRow>, StoreError> {
    view.all(
        "SELECT * FROM waivers WHERE project = ?1 ORDER BY until_ms DESC, id",
        [project.as_str()],
        waiver,
    )
}

/// The waivers that hold at a moment: made before it, ending after it. A clock that was set back
/// before a waiver was made finds it not yet in force, so that the finding counts.
pub fn in_force(
    view: &View<'_>,
    project: &ProjectId,
    now: Timestamp,
) -> Result<Vec<WaiverRow>, StoreError> {
    view.all(
        "SELECT * FROM waivers WHERE project = ?1 AND created_ms <= ?2 AND ?2 < until_ms
         ORDER BY until_ms, id",
        (project.as_str(), now.0),
        waiver,
    )
}
