//! Cases as a history that only grows. The state of a case is the fold of its events; the table
//! has triggers that refuse to change or remove one.
//!
//! What the states mean and which may follow which is not decided here but by RESPOND.

use crate::error::StoreError;
use crate::row::{Columns, to_json};
use crate::transaction::{Tx, View};
use crate::value::Row;
use ringfence_core::ids::{CaseId, ProjectId};
use ringfence_core::time::Timestamp;
use serde_json::Value;

/// LIMIT: events of one case.
pub const CASE_EVENTS_MAX: usize = 1_000;
/// LIMIT: cases one listing returns.
pub const CASES_LISTED_MAX: usize = 5_000;
const TABLE: &str = "case_events";

/// One step of a case.
#[derive(Clone, Debug, PartialEq)]
pub struct CaseEvent {
    /// Whose.
    pub project: ProjectId,
    /// Of which case.
    pub case: CaseId,
    /// 1 for the first.
    pub sequence: u32,
    /// When.
    pub time: Timestamp,
    /// Who did it.
    pub actor: String,
    /// What was done.
    pub kind: String,
    /// The state the case is in after it.
    pub state: String,
    /// What the case is about; on the first event and only there.
    pub fingerprint: Option<String>,
    /// Further facts.
    pub body: Value,
}

/// A case as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct CaseRow {
    /// Whose.
    pub project: ProjectId,
    /// Its id.
    pub case: CaseId,
    /// What it is about.
    pub fingerprint: String,
    /// When it was opened.
    pub opened: Timestamp,
    /// Facts of the first event.
    pub body: Value,
    /// The state after the last event.
    pub state: String,
    /// When that was reached.
    pub changed: Timestamp,
    /// Facts of the last event.
    pub last_body: Value,
    /// How many events it has.
    pub events: u32,
    /// How often the same thing was seen, the first time included.
    pub sightings: u64,
    /// When it was last seen.
    pub seen: Timestamp,
}

fn event(row: &Row<'_>) -> Result<CaseEvent, StoreError> {
    let c = Columns::of(TABLE, row);
    Ok(CaseEvent {
        project: c.parsed("project")?,
        case: c.parsed("case_id")?,
        sequence: c.count("sequence")?,
        time: c.time("time_ms")?,
        actor: c.value("actor")?,
        kind: c.value("kind")?,
        state: c.value("state")?,
        fingerprint: c.value("fingerprint")?,
        body: c.json("body")?,
    })
}

fn case(row: &Row<'_>) -> Result<CaseRow, StoreError> {
    let c = Columns::of("cases", row);
    Ok(CaseRow {
        project: c.parsed("project")?,
        case: c.parsed("case_id")?,
        fingerprint: c.value("fingerprint")?,
        opened: c.time("opened_ms")?,
        body: c.json("body")?,
        state: c.value("state")?,
        changed: c.time("changed_ms")?,
        last_body: c.json("last_body")?,
        events: c.count("events")?,
        sightings: c.count("sightings")?,
        seen: c.time("seen_ms")?,
    })
}

/// Appends an event. Its sequence number must be the next one of its case: a writer that decided
/// on an older state is refused.
pub fn append(tx: &Tx<'_>, new: &CaseEvent) -> Result<(), StoreError> {
    let last = tx.number(
        "SELECT coalesce(max(sequence), 0) AS n FROM case_events
         WHERE project = ?1 AND case_id = ?2",
        (new.project.as_str(), new.case.as_str()),
    )?;
    if last >= CASE_EVENTS_MAX as u64 {
        return Err(StoreError::Limit {
            what: "events of one case",
            limit: CASE_EVENTS_MAX,
        });
    }
    if u64::from(new.sequence) != last + 1 {
        let cause = format!("event {} of a case that has {last}", new.sequence);
        return Err(StoreError::Constraint { cause });
    }
    tx.execute(
        "INSERT INTO case_events
           (project, case_id, sequence, time_ms, actor, kind, state, fingerprint, body)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        (
            new.project.as_str(),
            new.case.as_str(),
            new.sequence,
            new.time.0,
            &new.actor,
            &new.kind,
            &new.state,
            &new.fingerprint,
            to_json(TABLE, &new.body)?,
        ),
    )?;
    Ok(())
}

/// Counts one more sighting of what a case is about.
pub fn count_sighting(
    tx: &Tx<'_>,
    project: &ProjectId,
    case: &CaseId,
    now: Timestamp,
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO case_sightings (project, case_id, count, last_ms) VALUES (?1, ?2, 2, ?3)
         ON CONFLICT (project, case_id)
         DO UPDATE SET count = case_sightings.count + 1,
           last_ms = CASE WHEN case_sightings.last_ms < excluded.last_ms
                          THEN excluded.last_ms ELSE case_sightings.last_ms END",
        (project.as_str(), case.as_str(), now.0),
    )?;
    Ok(())
}

/// The events of a case, oldest first; empty when the project has no such case.
pub fn events(
    view: &View<'_>,
    project: &ProjectId,
    case: &CaseId,
) -> Result<Vec<CaseEvent>, StoreError> {
    view.all(
        "SELECT * FROM case_events WHERE project = ?1 AND case_id = ?2 ORDER BY sequence",
        (project.as_str(), case.as_str()),
        event,
    )
}

/// One case as it stands.
pub fn find(
    view: &View<'_>,
    project: &ProjectId,
    id: &CaseId,
) -> Result<Option<CaseRow>, StoreError> {
    view.first(
        "SELECT * FROM cases WHERE project = ?1 AND case_id = ?2",
        (project.as_str(), id.as_str()),
        case,
    )
}

/// The youngest case about this fingerprint.
pub fn latest_about(
    view: &View<'_>,
    project: &ProjectId,
    fingerprint: &str,
) -> Result<Option<CaseRow>, StoreError> {
    view.first(
        "SELECT * FROM cases WHERE project = ?1 AND fingerprint = ?2
         ORDER BY opened_ms DESC, length(case_id) DESC, case_id DESC LIMIT 1",
        (project.as_str(), fingerprint),
        case,
    )
}

/// The cases of a project, youngest first, at most [`CASES_LISTED_MAX`].
pub fn list(view: &View<'_>, project: &ProjectId) -> Result<Vec<CaseRow>, StoreError> {
    view.all(
        "SELECT * FROM cases WHERE project = ?1
         ORDER BY opened_ms DESC, length(case_id) DESC, case_id DESC LIMIT ?2",
        (
            project.as_str(),
            i64::try_from(CASES_LISTED_MAX).unwrap_or(i64::MAX),
        ),
        case,
    )
}

/// The cases of a project in one state, oldest first, at most [`CASES_LISTED_MAX`].
pub fn in_state(
    view: &View<'_>,
    project: &ProjectId,
    state: &str,
) -> Result<Vec<CaseRow>, StoreError> {
    view.all(
        "SELECT * FROM cases WHERE project = ?1 AND state = ?2
         ORDER BY opened_ms, length(case_id), case_id LIMIT ?3",
        (
            project.as_str(),
            state,
            i64::try_from(CASES_LISTED_MAX).unwrap_or(i64::MAX),
        ),
        case,
    )
}
