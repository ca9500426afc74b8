//! The last events of each project, for the console after a restart. A ring, not an archive.

use crate::error::StoreError;
use crate::row::{Columns, to_json};
use crate::transaction::{Tx, View};
use ringfence_core::event::Event;
use ringfence_core::ids::ProjectId;
use std::collections::BTreeSet;

/// LIMIT: events kept for one project; the oldest go first.
pub const EVENTS_KEPT: usize = 1_000;
const TABLE: &str = "events";

/// Adds events and lets go of those beyond [`EVENTS_KEPT`] of their projects.
pub fn add(tx: &Tx<'_>, new: &[Event]) -> Result<(), StoreError> {
    let mut projects = BTreeSet::new();
    for event in new {
        projects.insert(&event.project);
        tx.execute(
            "INSERT INTO events (project, event) VALUES (?1, ?2)",
            (event.project.as_str(), to_json(TABLE, event)?),
        )?;
    }
    for project in projects {
        tx.execute(
            "DELETE FROM events WHERE project = ?1 AND position <=
             (SELECT position FROM events WHERE project = ?1
              ORDER BY position DESC LIMIT 1 OFFSET ?2)",
            (
                project.as_str(),
                i64::try_from(EVENTS_KEPT).unwrap_or(i64::MAX),
            ),
        )?;
    }
    Ok(())
}

/// The last events of a project, newest first.
pub fn recent(
    view: &View<'_>,
    project: &ProjectId,
    count: usize,
) -> Result<Vec<Event>, StoreError> {
    view.all(
        "SELECT event FROM events WHERE project = ?1 ORDER BY position DESC LIMIT ?2",
        (
            project.as_str(),
            i64::try_from(count.min(EVENTS_KEPT)).unwrap_or(i64::MAX),
        ),
        |row| Columns::of(TABLE, row).json("event"),
    )
}
