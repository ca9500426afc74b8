//! API keys: their public part and a keyed hash, never the secret.

use crate::error::StoreError;
use crate::row::Columns;
use crate::transaction::{Tx, View};
use crate::value::Row;
use ringfence_core::ids::{KeyId, ProjectId};
use ringfence_core::time::Timestamp;
use std::fmt;

/// LIMIT: keys of one project, revoked ones included.
pub const KEYS_MAX: usize = 1_000;
const TABLE: &str = "api_keys";

/// One key.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Its public part.
    pub id: KeyId,
    /// Whose.
    pub project: ProjectId,
    /// Keyed hash of its secret part.
    pub mac: [u8; 32],
    /// What a person calls it.
    pub name: String,
    /// How many requests a minute it may make.
    pub requests_per_minute: u32,
    /// When it was made.
    pub created: Timestamp,
    /// When it ends by itself.
    pub expires: Option<Timestamp>,
    /// When it was ended.
    pub revoked: Option<Timestamp>,
    /// When it last opened something, to the minute or so.
    pub last_used: Option<Timestamp>,
}

impl fmt::Debug for ApiKey {
    /// Without the hash: a log is no place for what keys are compared with.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKey")
            .field("id", &self.id)
            .field("project", &self.project)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

fn key(row: &Row<'_>) -> Result<ApiKey, StoreError> {
    let c = Columns::of(TABLE, row);
    Ok(ApiKey {
        id: c.parsed("id")?,
        project: c.parsed("project")?,
        mac: c.octets32("mac")?,
        name: c.value("name")?,
        requests_per_minute: c.count("requests_per_minute")?,
        created: c.time("created_ms")?,
        expires: c.time_optional("expires_ms")?,
        revoked: c.time_optional("revoked_ms")?,
        last_used: c.time_optional("last_used_ms")?,
    })
}

/// Adds a key. An id that exists, in whatever project, is refused.
pub fn add(tx: &Tx<'_>, new: &ApiKey) -> Result<(), StoreError> {
    let count = tx.number(
        "SELECT count(*) AS n FROM api_keys WHERE project = ?1",
        [new.project.as_str()],
    )?;
    if count >= KEYS_MAX as u64 {
        return Err(StoreError::Limit {
            what: "keys of one project",
            limit: KEYS_MAX,
        });
    }
    tx.execute(
        "INSERT INTO api_keys (id, project, mac, name, requests_per_minute, created_ms,
                               expires_ms, revoked_ms, last_used_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        (
            new.id.as_str(),
            new.project.as_str(),
            new.mac.as_slice(),
            &new.name,
            new.requests_per_minute,
            new.created.0,
            new.expires.map(|t| t.0),
            new.revoked.map(|t| t.0),
            new.last_used.map(|t| t.0),
        ),
    )?;
    Ok(())
}

/// Ends a key; the first revocation is the one that counts.
pub fn revoke(
    tx: &Tx<'_>,
    project: &ProjectId,
    id: &KeyId,
    now: Timestamp,
) -> Result<(), StoreError> {
    let changed = tx.execute(
        "UPDATE api_keys SET revoked_ms = coalesce(revoked_ms, ?3)
         WHERE project = ?1 AND id = ?2",
        (project.as_str(), id.as_str(), now.0),
    )?;
    if changed == 0 {
        return Err(StoreError::Missing {
            what: "key",
            id: id.to_string(),
        });
    }
    Ok(())
}

/// Notes that keys were used; unknown ones are passed over.
pub fn touch(tx: &Tx<'_>, uses: &[(KeyId, Timestamp)]) -> Result<(), StoreError> {
    for (id, time) in uses {
        tx.execute(
            "UPDATE api_keys SET last_used_ms = ?2
             WHERE id = ?1 AND (last_used_ms IS NULL OR last_used_ms < ?2)",
            (id.as_str(), time.0),
        )?;
    }
    Ok(())
}

/// The keys of a project, oldest first.
pub fn list(view: &View<'_>, project: &ProjectId) -> Result<Vec<ApiKey>, StoreError> {
    view.all(
        "SELECT * FROM api_keys WHERE project = ?1 ORDER BY created_ms, id",
        [project.as_str()],
        key,
    )
}

/// One key of a project.
pub fn find(
    view: &View<'_>,
    project: &ProjectId,
    id: &KeyId,
) -> Result<Option<ApiKey>, StoreError> {
    view.first(
        "SELECT * FROM api_keys WHERE project = ?1 AND id = ?2",
        (project.as_str(), id.as_str()),
        key,
    )
}

/// The key of this id in whatever project: authentication learns the project from the key.
pub fn find_in_any_project(view: &View<'_>, id: &KeyId) -> Result<Option<ApiKey>, StoreError> {
    view.first("SELECT * FROM api_keys WHERE id = ?1", [id.as_str()], key)
}

/// All keys of all projects, for the directory the gateway keeps in memory.
pub fn of_all_projects(view: &View<'_>) -> Result<Vec<ApiKey>, StoreError> {
    view.all("SELECT * FROM api_keys ORDER BY created_ms, id", (), key)
}
