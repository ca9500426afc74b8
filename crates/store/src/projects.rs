//! The projects this service hosts.

use crate::error::StoreError;
use crate::row::Columns;
use crate::transaction::{Tx, View};
use crate::value::Row;
use ringfence_core::digest::Digest;
use ringfence_core::ids::{OwnerId, ProjectId};
use ringfence_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// LIMIT: projects of one service.
pub const PROJECTS_MAX: usize = 1_000;
const TABLE: &str = "projects";

/// How far a project has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Known, not looked at.
    Registered,
    /// Looked at and refused.
    Denied,
    /// Looked at and let in.
    Admitted,
    /// Its sandbox runs.
    Running,
    /// It ran and was ended.
    Stopped,
}

impl Stage {
    /// The word, as in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Denied => "denied",
            Self::Admitted => "admitted",
            Self::Running => "running",
            Self::Stopped => "stopped",
        }
    }
}

/// The text names no stage.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a stage of a project")]
pub struct StageError;

impl FromStr for Stage {
    type Err = StageError;
    fn from_str(text: &str) -> Result<Self, StageError> {
        [
            Self::Registered,
            Self::Denied,
            Self::Admitted,
            Self::Running,
            Self::Stopped,
        ]
        .into_iter()
        .find(|s| s.as_str() == text)
        .ok_or(StageError)
    }
}

/// One hosted project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Project {
    /// Its id.
    pub id: ProjectId,
    /// Who owns it.
    pub owner: OwnerId,
    /// Its directory on the host.
    pub dir: String,
    /// How far it has come.
    pub stage: Stage,
    /// Digest of the content that was let in.
    pub admitted: Option<Digest>,
    /// When it was first known.
    pub created: Timestamp,
}

fn project(row: &Row<'_>) -> Result<Project, StoreError> {
    let c = Columns::of(TABLE, row);
    Ok(Project {
        id: c.parsed("id")?,
        owner: c.parsed("owner")?,
        dir: c.value("dir")?,
        stage: c.parsed("stage")?,
        admitted: c.parsed_optional("admitted_digest")?,
        created: c.time("created_ms")?,
    })
}

/// Adds a project, or brings owner and directory of a known one up to date; stage and admission
/// of a known one stay.
pub fn register(tx: &Tx<'_>, new: &Project) -> Result<(), StoreError> {
    let others = tx.number(
        "SELECT count(*) AS n FROM projects WHERE id <> ?1",
        [new.id.as_str()],
    )?;
    if others >= PROJECTS_MAX as u64 {
        return Err(StoreError::Limit {
            what: "projects",
            limit: PROJECTS_MAX,
        });
    }
    tx.execute(
        "INSERT INTO projects (id, owner, dir, stage, admitted_digest, created_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (id) DO UPDATE SET owner = excluded.owner, dir = excluded.dir",
        (
            new.id.as_str(),
            new.owner.as_str(),
            &new.dir,
            new.stage.as_str(),
            new.admitted.map(|d| d.to_string()),
            new.created.0,
        ),
    )?;
    Ok(())
}

/// Notes how far a project has come; an admission brings the digest of what was let in.
pub fn advance(
    tx: &Tx<'_>,
    id: &ProjectId,
    stage: Stage,
    admitted: Option<Digest>,
) -> Result<(), StoreError> {
    let changed = tx.execute(
        "UPDATE projects SET stage = ?2, admitted_digest = coalesce(?3, admitted_digest)
         WHERE id = ?1",
        (id.as_str(), stage.as_str(), admitted.map(|d| d.to_string())),
    )?;
    if changed == 0 {
        return Err(StoreError::Missing {
            what: "project",
            id: id.to_string(),
        });
    }
    Ok(())
}

/// The project of this id.
pub fn find(view: &View<'_>, id: &ProjectId) -> Result<Option<Project>, StoreError> {
    view.first(
        "SELECT * FROM projects WHERE id = ?1",
        [id.as_str()],
        project,
    )
}

/// The projects of one owner, by id.
pub fn owned_by(view: &View<'_>, owner: &OwnerId) -> Result<Vec<Project>, StoreError> {
    view.all(
        "SELECT * FROM projects WHERE owner = ?1 ORDER BY id",
        [owner.as_str()],
        project,
    )
}

/// Every project of the service, by id: for the operator of the host.
pub fn of_all_owners(view: &View<'_>) -> Result<Vec<Project>, StoreError> {
    view.all("SELECT * FROM projects ORDER BY id", (), project)
}
