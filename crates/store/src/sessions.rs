//! Who is signed in to the console. The token itself is never stored, only its hash.

use crate::error::StoreError;
use crate::row::Columns;
use crate::transaction::{Tx, View};
use crate::value::Row;
use ringfence_core::ids::ProjectId;
use ringfence_core::time::Timestamp;

/// LIMIT: sessions of one project at a time; the one that ends first makes room.
pub const SESSIONS_MAX: usize = 1_000;
const TABLE: &str = "sessions";

/// One signed-in browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Hash of its token.
    pub token_hash: [u8; 32],
    /// What it may see; the host's project sees all.
    pub project: ProjectId,
    /// Who.
    pub user: String,
    /// What they may do.
    pub role: String,
    /// Since when.
    pub created: Timestamp,
    /// Until when.
    pub expires: Timestamp,
}

fn session(row: &Row<'_>) -> Result<Session, StoreError> {
    let c = Columns::of(TABLE, row);
    Ok(Session {
        token_hash: c.octets32("token_hash")?,
        project: c.parsed("project")?,
        user: c.value("user")?,
        role: c.value("role")?,
        created: c.time("created_ms")?,
        expires: c.time("expires_ms")?,
    })
}

/// Adds a session and removes those that ended.
pub fn add(tx: &Tx<'_>, new: &Session) -> Result<(), StoreError> {
    tx.execute(
        "DELETE FROM sessions WHERE expires_ms <= ?1",
        [new.created.0],
    )?;
    tx.execute(
        "DELETE FROM sessions WHERE project = ?1 AND token_hash NOT IN
         (SELECT token_hash FROM sessions WHERE project = ?1
          ORDER BY expires_ms DESC, token_hash LIMIT ?2)",
        (
            new.project.as_str(),
            i64::try_from(SESSIONS_MAX - 1).unwrap_or(i64::MAX),
        ),
    )?;
    tx.execute(
        "INSERT INTO sessions (token_hash, project, \"user\", role, created_ms, expires_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        (
            new.token_hash.as_slice(),
            new.project.as_str(),
            &new.user,
            &new.role,
            new.created.0,
            new.expires.0,
        ),
    )?;
    Ok(())
}

/// The session of a token, if it has not ended. The token says which project it belongs to.
pub fn of_token(
    view: &View<'_>,
    token_hash: &[u8; 32],
    now: Timestamp,
) -> Result<Option<Session>, StoreError> {
    view.first(
        "SELECT * FROM sessions WHERE token_hash = ?1 AND created_ms <= ?2 AND ?2 < expires_ms",
        (token_hash.as_slice(), now.0),
        session,
    )
}

/// Ends a session; ending one that is gone is no error.
pub fn end(tx: &Tx<'_>, token_hash: &[u8; 32]) -> Result<(), StoreError> {
    tx.execute(
        "DELETE FROM alert_views WHERE session_hash = ?1",
        [token_hash.as_slice()],
    )?;
    tx.execute(
        "DELETE FROM sessions WHERE token_hash = ?1",
        [token_hash.as_slice()],
    )?;
    Ok(())
}
