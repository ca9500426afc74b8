//! Alerts and the outbox that carries them out of the house.
//!
//! An alert and the messages that deliver it are written in the transaction of the case that
//! caused them: there is no moment in which one exists without the other. A message has an
//! idempotency key that stays the same however often it is sent. A digest is one message with
//! many alerts; it takes new ones only until its first attempt.

use crate::error::StoreError;
use crate::row::{Columns, to_json};
use crate::transaction::{Tx, View};
use ringfence_core::ids::{CaseId, ProjectId};
use ringfence_core::time::Timestamp;
use serde_json::Value;
use std::str::FromStr;

/// LIMIT: messages one look at the outbox returns.
pub const MESSAGES_DUE_MAX: usize = 100;
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

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageState {
    /// Waits for its moment.
    Pending,
    /// The channel took it.
    Sent,
    /// Given up after the last attempt: shown to the operator.
    Dead,
}

impl MessageState {
    /// The word, as in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Sent => "sent",
            Self::Dead => "dead",
        }
    }
}

impl FromStr for MessageState {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, &'static str> {
        [Self::Pending, Self::Sent, Self::Dead]
            .into_iter()
            .find(|s| s.as_str() == text)
            .ok_or("not a state of a message")
    }
}

/// One message of the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Stays the same however often it is sent.
    pub idempotency_key: String,
    /// Whose.
    pub project: ProjectId,
    /// Where it goes.
    pub channel: String,
    /// How urgent.
    pub tier: String,
    /// When it was meant to go out.
    pub due: Timestamp,
    /// When it is tried next.
    pub next: Timestamp,
    /// How often it was tried.
    pub attempts: u32,
    /// What became of it.
    pub state: MessageState,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
}

fn alert(row: &rusqlite::Row<'_>) -> Result<AlertRow, StoreError> {
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

fn message(row: &rusqlite::Row<'_>) -> Result<Message, StoreError> {
    let c = Columns::of("messages", row);
    Ok(Message {
        idempotency_key: c.value("idempotency_key")?,
        project: c.parsed("project")?,
        channel: c.value("channel")?,
        tier: c.value("tier")?,
        due: c.time("due_ms")?,
        next: c.time("next_ms")?,
        attempts: c.count("attempts")?,
        state: c.parsed("state")?,
        last_error: c.value("last_error")?,
    })
}

/// Adds an alert.
pub fn add(tx: &Tx<'_>, new: &AlertRow) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO alerts (id, project, fingerprint, case_id, tier, created_ms, repeats, body)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        rusqlite::params![
            new.id,
            new.project.as_str(),
            new.fingerprint,
            new.case.as_ref().map(CaseId::as_str),
            new.tier,
            new.created.0,
            i64::try_from(new.repeats).unwrap_or(i64::MAX),
            to_json("alerts", &new.body)?,
        ],
    )?;
    Ok(())
}

/// Puts an alert into a message, making the message if it does not exist. Returns false, and
/// changes nothing, if the message was already tried: its content is then settled.
pub fn enqueue(tx: &Tx<'_>, alert: &AlertRow, new: &Message) -> Result<bool, StoreError> {
    tx.execute(
        "INSERT INTO messages (idempotency_key, project, channel, tier, due_ms, next_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (idempotency_key) DO NOTHING",
        (
            &new.idempotency_key,
            new.project.as_str(),
            &new.channel,
            &new.tier,
            new.due.0,
            new.next.0,
        ),
    )?;
    let added = tx.execute(
        "INSERT INTO message_alerts (idempotency_key, alert_id)
         SELECT idempotency_key, ?2 FROM messages
         WHERE idempotency_key = ?1 AND project = ?3 AND attempts = 0 AND state = 'pending'
           AND EXISTS (SELECT 1 FROM alerts WHERE id = ?2 AND project = ?3)",
        (&new.idempotency_key, &alert.id, new.project.as_str()),
    )?;
    Ok(added == 1)
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

/// Messages of all projects whose moment has come, the longest waiting first, at most
/// [`MESSAGES_DUE_MAX`]: for the dispatcher.
pub fn due_in_any_project(view: &View<'_>, now: Timestamp) -> Result<Vec<Message>, StoreError> {
    view.all(
        "SELECT * FROM messages WHERE state = 'pending' AND next_ms <= ?1
         ORDER BY next_ms, idempotency_key LIMIT ?2",
        (now.0, i64::try_from(MESSAGES_DUE_MAX).unwrap_or(i64::MAX)),
        message,
    )
}

/// The alerts a message carries, oldest first.
pub fn carried_by(view: &View<'_>, message: &Message) -> Result<Vec<AlertRow>, StoreError> {
    view.all(
        "SELECT alerts.* FROM alerts JOIN message_alerts ON message_alerts.alert_id = alerts.id
         WHERE message_alerts.idempotency_key = ?1 AND alerts.project = ?2
         ORDER BY alerts.created_ms, alerts.id",
        (&message.idempotency_key, message.project.as_str()),
        alert,
    )
}

/// Notes that a message is about to leave. From here on a digest takes no further alerts.
pub fn begin_attempt(tx: &Tx<'_>, key: &str) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE messages SET attempts = attempts + 1
         WHERE idempotency_key = ?1 AND state = 'pending'",
        [key],
    )?;
    Ok(())
}

/// What an attempt came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// The channel took it.
    Sent,
    /// It did not; try again then.
    Retry {
        /// When.
        next: Timestamp,
        /// Why it failed.
        error: String,
    },
    /// It did not, and that was the last attempt.
    GiveUp {
        /// Why it failed.
        error: String,
    },
}

/// Notes what an attempt came to.
pub fn finish_attempt(
    tx: &Tx<'_>,
    key: &str,
    attempt: &Attempt,
    now: Timestamp,
) -> Result<(), StoreError> {
    let (state, next, error) = match attempt {
        Attempt::Sent => (MessageState::Sent, now, None),
        Attempt::Retry { next, error } => (MessageState::Pending, *next, Some(error)),
        Attempt::GiveUp { error } => (MessageState::Dead, now, Some(error)),
    };
    let finished = (state != MessageState::Pending).then_some(now.0);
    tx.execute(
        "UPDATE messages SET state = ?2, next_ms = ?3, last_error = ?4, finished_ms = ?5
         WHERE idempotency_key = ?1 AND state = 'pending'",
        (key, state.as_str(), next.0, error, finished),
    )?;
    Ok(())
}

/// The messages of a project in one state, youngest first, at most [`ALERTS_LISTED_MAX`].
pub fn messages(
    view: &View<'_>,
    project: &ProjectId,
    state: MessageState,
) -> Result<Vec<Message>, StoreError> {
    view.all(
        "SELECT * FROM messages WHERE project = ?1 AND state = ?2
         ORDER BY due_ms DESC, idempotency_key LIMIT ?3",
        (
            project.as_str(),
            state.as_str(),
            i64::try_from(ALERTS_LISTED_MAX).unwrap_or(i64::MAX),
        ),
        message,
    )
}
