//! Alerts: what a person needs to act, with no field left out, and the outbox entries that carry
//! it to each channel. The console shows alerts itself, to each session until it has seen them.

use crate::Respond;
use crate::cases::Case;
use crate::dispatch::MESSAGE_PREFIX;
use crate::error::RespondError;
use crate::tier::Tier;
use ringfence_core::ids::{CaseId, OwnerId, ProjectId};
use ringfence_core::time::{HOUR_MS, Timestamp};
use ringfence_store::alerts::AlertRow;
use ringfence_store::outbox::{self, Message, MessageState};
use ringfence_store::{Tx, alerts as rows, counters};
use serde::{Deserialize, Serialize};

/// The same thing again within this time is counted on the first alert instead of told again.
pub const QUIET_MS: i64 = HOUR_MS;
/// LIMIT: links of one alert.
pub const LINKS_MAX: usize = 20;

/// One alert. [`Alert::checked`] refuses one that leaves its reader without an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// Its id, `A-1` and so on; empty until it is raised.
    pub id: String,
    /// Whose.
    pub project: ProjectId,
    /// The case behind it.
    pub case: CaseId,
    /// What it is about, for telling repetitions.
    pub fingerprint: String,
    /// What happened.
    pub what: String,
    /// What it touches: project, place, what an attacker gains.
    pub scope: String,
    /// What was seen.
    pub evidence: String,
    /// CVSS base score in tenths, when known.
    pub score_tenths: Option<u8>,
    /// How soon.
    pub tier: Tier,
    /// Why that soon.
    pub tier_reason: String,
    /// What to do until the fix.
    pub mitigation: String,
    /// The fix.
    pub fix: String,
    /// Who answers for it.
    pub owner: OwnerId,
    /// By when.
    pub due: Timestamp,
    /// Where to go on: the case first.
    pub links: Vec<String>,
}

impl Alert {
    /// The alert of a case.
    pub fn of_case(case: &Case) -> Self {
        let facts = &case.facts;
        let mut links = vec![format!("/cases/{}", case.id)];
        links.extend(facts.references.iter().take(LINKS_MAX - 1).cloned());
        Self {
            id: String::new(),
            project: case.project.clone(),
            case: case.id.clone(),
            fingerprint: case.fingerprint.clone(),
            what: facts.title.clone(),
            scope: format!(
                "project {}, {}: {}",
                case.project, facts.place, facts.impact
            ),
            evidence: facts.evidence.clone(),
            score_tenths: facts.score_tenths,
            tier: facts.tier,
            tier_reason: facts.tier_reason.clone(),
            mitigation: facts.mitigation.clone(),
            fix: facts.fix.clone(),
            owner: facts.owner.clone(),
            due: facts.due,
            links,
        }
    }

    /// Refuses an alert with an empty field.
    pub fn checked(self) -> Result<Self, RespondError> {
        let fields = [
            ("what happened", &self.what),
            ("the scope of impact", &self.scope),
            ("evidence", &self.evidence),
            ("why this tier", &self.tier_reason),
            ("a temporary mitigation", &self.mitigation),
            ("fix advice", &self.fix),
            ("a fingerprint", &self.fingerprint),
        ];
        let blank = fields
            .iter()
            .find(|(_, text)| text.trim().is_empty())
            .map(|(field, _)| *field);
        let field = match blank {
            Some(field) => field,
            None if self.links.iter().all(|l| l.trim().is_empty()) => "a link",
            None => return Ok(self),
        };
        Err(RespondError::Missing {
            what: "an alert",
            field,
        })
    }

    pub(crate) fn of_row(row: AlertRow) -> Result<Self, RespondError> {
        serde_json::from_value(row.body).map_err(|e| RespondError::Stored {
            what: "alert",
            cause: e.to_string(),
        })
    }
}

/// Writes an alert and its messages, or counts a repetition. Returns the id of a new one.
pub(crate) fn raise(
    tx: &Tx<'_>,
    now: Timestamp,
    channels: &[String],
    alert: Alert,
) -> Result<Option<String>, RespondError> {
    let mut alert = alert.checked()?;
    let since = now.plus_ms(-QUIET_MS);
    if let Some(last) = rows::recent_about(tx, &alert.project, &alert.fingerprint, since)? {
        rows::count_repeat(tx, &alert.project, &last.id)?;
        return Ok(None);
    }
    alert.id = format!("A-{}", counters::next(tx, "alert")?);
    let row = AlertRow {
        id: alert.id.clone(),
        project: alert.project.clone(),
        fingerprint: alert.fingerprint.clone(),
        case: Some(alert.case.clone()),
        tier: alert.tier.as_str().to_owned(),
        created: now,
        repeats: 0,
        body: serde_json::to_value(&alert).map_err(|e| RespondError::Stored {
            what: "alert",
            cause: e.to_string(),
        })?,
    };
    rows::add(tx, &row)?;
    for channel in channels {
        enqueue(tx, now, channel, &alert, &row)?;
    }
    Ok(Some(alert.id))
}

/// Puts an alert into the message of its tier. A digest that was already tried is settled: then
/// the alert gets a message of its own in the next period, rather than join one whose receiver
/// may have seen its key.
fn enqueue(
    tx: &Tx<'_>,
    now: Timestamp,
    channel: &str,
    alert: &Alert,
    row: &AlertRow,
) -> Result<(), RespondError> {
    let (due, period) = alert.tier.departure(now);
    let digest = format!(
        "{MESSAGE_PREFIX}{}-{}-{channel}-{period}",
        alert.project, alert.tier
    );
    let single = format!("{MESSAGE_PREFIX}{}-{channel}", alert.id);
    let keys = if alert.tier == Tier::Now {
        vec![single]
    } else {
        vec![digest, single]
    };
    for idempotency_key in keys {
        let message = Message {
            idempotency_key,
            project: alert.project.clone(),
            channel: channel.to_owned(),
            tier: alert.tier.as_str().to_owned(),
            due,
            next: due,
            attempts: 0,
            state: MessageState::Pending,
            last_error: None,
        };
        if outbox::enqueue(tx, row, &message)? {
            return Ok(());
        }
    }
    Err(RespondError::Stored {
        what: "message",
        cause: "its key is taken".to_owned(),
    })
}

/// An alert in a list, with how often it was kept quiet since.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// The alert.
    pub alert: Alert,
    /// When.
    pub created: Timestamp,
    /// Repetitions kept quiet.
    pub repeats: u64,
}

fn listed(found: Vec<AlertRow>) -> Result<Vec<Listed>, RespondError> {
    found
        .into_iter()
        .map(|row| {
            let (created, repeats) = (row.created, row.repeats);
            Ok(Listed {
                alert: Alert::of_row(row)?,
                created,
                repeats,
            })
        })
        .collect()
}

impl Respond {
    /// The alerts of a project, newest first.
    pub fn alerts(&self, project: &ProjectId) -> Result<Vec<Listed>, RespondError> {
        listed(self.store.read(|v| rows::list(v, project))?)
    }

    /// What pops up in the console: the alerts that a session, by the hash of its token, has not
    /// seen.
    pub fn unseen_alerts(
        &self,
        project: &ProjectId,
        session: &[u8; 32],
    ) -> Result<Vec<Listed>, RespondError> {
        listed(self.store.read(|v| rows::unseen(v, project, session))?)
    }

    /// Notes that a session has seen an alert.
    pub fn mark_alert_seen(
        &self,
        project: &ProjectId,
        session: [u8; 32],
        id: &str,
    ) -> Result<(), RespondError> {
        let (project, id) = (project.clone(), id.to_owned());
        Ok(self
            .store
            .write(move |tx| rows::mark_seen(tx, &project, &session, &id))?)
    }

    /// Messages of a project that were given up: nobody was told through that channel.
    pub fn dead_messages(&self, project: &ProjectId) -> Result<Vec<Message>, RespondError> {
        Ok(self
            .store
            .read(|v| outbox::messages(v, project, MessageState::Dead))?)
    }
}
