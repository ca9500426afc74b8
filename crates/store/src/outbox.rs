//! The outbox: everything that leaves the house, written in the transaction that made it necessary.
//!
//! A message and the alerts it carries are written together with the case that caused them: there
//! is no moment in which one exists without the other. A message has an idempotency key that stays
//! the same however often it is sent. A digest is one message with many alerts; it takes new ones
//! only until its first attempt.
//!
//! A dispatcher holds a message with a [`Lease`] while it sends it, so that of several servers one
//! sends; if it dies, the message is due again when the lease ends.

use crate::alerts::{ALERTS_LISTED_MAX, AlertRow, alert};
use crate::error::StoreError;
use crate::lease::{LEASE_MS_MAX, Lease, shortened};
use crate::row::Columns;
use crate::transaction::{Tx, View};
use crate::value::Row;
use ringfence_core::ids::ProjectId;
use ringfence_core::time::Timestamp;
use std::str::FromStr;

/// LIMIT: messages one look at the outbox returns.
pub const MESSAGES_DUE_MAX: usize = 100;

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
    /// When it is tried next; while it is being sent, when its lease ends.
    pub next: Timestamp,
    /// How often it was tried.
    pub attempts: u32,
    /// What became of it.
    pub state: MessageState,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
}

fn message(row: &Row<'_>) -> Result<Message, StoreError> {
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

/// Messages of all projects whose moment has come and that nobody holds, the longest waiting first, at most
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

/// Takes a message that is due in order to send it; none if another dispatcher has it, or it is
/// finished. From here on a digest takes no further alerts.
pub fn begin_attempt(
    tx: &Tx<'_>,
    key: &str,
    now: Timestamp,
    lease_ms: i64,
) -> Result<Option<Lease>, StoreError> {
    let lease = Lease::next(tx, key)?;
    let taken = tx.execute(
        "UPDATE messages SET attempts = attempts + 1, token = ?2, next_ms = ?4
         WHERE idempotency_key = ?1 AND state = 'pending' AND next_ms <= ?3",
        (
            key,
            lease.column(),
            now.0,
            now.plus_ms(lease_ms.clamp(0, LEASE_MS_MAX)).0,
        ),
    )?;
    Ok((taken == 1).then_some(lease))
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

/// Notes what an attempt came to. Refused if the message was given to another dispatcher since.
pub fn finish_attempt(
    tx: &Tx<'_>,
    lease: &Lease,
    attempt: &Attempt,
    now: Timestamp,
) -> Result<(), StoreError> {
    let (state, next, error) = match attempt {
        Attempt::Sent => (MessageState::Sent, now, None),
        Attempt::Retry { next, error } => (MessageState::Pending, *next, Some(shortened(error))),
        Attempt::GiveUp { error } => (MessageState::Dead, now, Some(shortened(error))),
    };
    let finished = (state != MessageState::Pending).then_some(now.0);
    let changed = tx.execute(
        "UPDATE messages SET state = ?3, next_ms = ?4, last_error = ?5, finished_ms = ?6, token = 0
         WHERE idempotency_key = ?1 AND token = ?2 AND state = 'pending'",
        (
            &lease.id,
            lease.column(),
            state.as_str(),
            next.0,
            error,
            finished,
        ),
    )?;
    lease.held("message", changed)
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
