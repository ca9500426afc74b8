//! Cases: what was found or stopped, from the first report to the verified fix.
//!
//! INVARIANT: the state of a case is the fold of its events, and every event that changes it comes
//! with a leaf.

use crate::Respond;
use crate::error::RespondError;
use crate::lifecycle::State;
use crate::opening::{self, NewCase};
use crate::tier::Tier;
use ringfence_core::finding::Finding;
use ringfence_core::ids::{CaseId, OwnerId, ProjectId, RuleId};
use ringfence_core::leaf::{Leaf, LeafAction};
use ringfence_core::severity::Severity;
use ringfence_core::time::Timestamp;
use ringfence_store::cases::{CaseEvent, CaseRow};
use ringfence_store::{Tx, View, cases as rows};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// LIMIT: characters of a reason or a piece of evidence.
pub const TEXT_CHARS_MAX: usize = 2_000;
/// LIMIT: findings of one scan that become cases, the most urgent first; the rest is counted.
pub const FINDINGS_MAX: usize = 5_000;

/// What a case came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// A finding of ADMIT.
    Finding,
    /// Something WATCH saw or stopped.
    Incident,
}

/// What is known when a case is opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// What it came from.
    pub source: Source,
    /// Which rule.
    pub rule: RuleId,
    /// One line.
    pub title: String,
    /// Where: path and line, or the key or sandbox.
    pub place: String,
    /// How soon somebody must look.
    pub tier: Tier,
    /// Why that tier.
    pub tier_reason: String,
    /// How bad.
    pub severity: Severity,
    /// CVSS base score in tenths, when known.
    pub score_tenths: Option<u8>,
    /// When it must be settled.
    pub due: Timestamp,
    /// Who answers for the project.
    pub owner: OwnerId,
    /// What an attacker gains.
    pub impact: String,
    /// What was seen, with secrets redacted.
    pub evidence: String,
    /// What to do until the fix.
    pub mitigation: String,
    /// The fix.
    pub fix: String,
    /// Where to read more.
    pub references: Vec<String>,
    /// The closed case about the same thing, if it came back.
    pub previous: Option<CaseId>,
}

/// A case as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Case {
    /// Its id, `C-1` and so on.
    pub id: CaseId,
    /// Whose.
    pub project: ProjectId,
    /// What it is about.
    pub fingerprint: String,
    /// What was known when it was opened.
    pub facts: Facts,
    /// Its state.
    pub state: State,
    /// Until when it is waived, if it is.
    pub waived_until: Option<Timestamp>,
    /// When it was opened.
    pub opened: Timestamp,
    /// When it got into its state.
    pub changed: Timestamp,
    /// How often the same thing was seen.
    pub sightings: u64,
    /// When it was last seen.
    pub seen: Timestamp,
}

impl Case {
    pub(crate) fn of(row: CaseRow) -> Result<Self, RespondError> {
        let stored = |cause: String| RespondError::Stored {
            what: "case",
            cause,
        };
        let state: State = row.state.parse().map_err(|e| stored(format!("{e}")))?;
        let until = row
            .last_body
            .get("until")
            .and_then(Value::as_i64)
            .map(Timestamp);
        Ok(Self {
            id: row.case,
            project: row.project,
            fingerprint: row.fingerprint,
            facts: serde_json::from_value(row.body).map_err(|e| stored(e.to_string()))?,
            state,
            waived_until: until.filter(|_| state == State::Waived),
            opened: row.opened,
            changed: row.changed,
            sightings: row.sightings,
            seen: row.seen,
        })
    }

    /// Whether it should have been settled by now.
    pub fn is_overdue(&self, now: Timestamp) -> bool {
        self.state.is_open() && self.state != State::Waived && now > self.facts.due
    }
}

/// A step somebody wants a case to take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// To which state.
    pub to: State,
    /// Who wants it, as in leaves.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// What shows it; a verified fix and a closed case need it.
    pub evidence: Option<String>,
}

/// A step that was taken, and its leaf for the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Changed {
    /// The case after it.
    pub case: Case,
    /// To be appended.
    pub leaf: Leaf,
}

/// What opening cases came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Opened {
    /// New cases.
    pub opened: Vec<Case>,
    /// Known cases that were seen again.
    pub seen_again: Vec<CaseId>,
    /// Leaves for the log.
    pub leaves: Vec<Leaf>,
    /// Findings that are only for information and need no case.
    pub informational: usize,
    /// Findings beyond [`FINDINGS_MAX`].
    pub beyond_limit: usize,
}

/// Something WATCH saw or stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incident {
    /// Which rule.
    pub rule: RuleId,
    /// The key or sandbox, as text.
    pub target: String,
    /// One line.
    pub title: String,
    /// How bad: a frozen target is critical, a throttled one high.
    pub severity: Severity,
    /// What was seen, with numbers.
    pub evidence: String,
    /// What holds for now.
    pub mitigation: String,
    /// What to do about it.
    pub fix: String,
}

/// The cases of all projects, always asked for one project.
#[derive(Clone)]
pub struct Cases {
    respond: Respond,
}

impl Cases {
    pub(crate) fn new(respond: Respond) -> Self {
        Self { respond }
    }

    /// The cases of a project, youngest first.
    pub fn list(&self, project: &ProjectId) -> Result<Vec<Case>, RespondError> {
        let rows = self.respond.store.read(|v| rows::list(v, project))?;
        rows.into_iter().map(Case::of).collect()
    }

    /// One case with its history.
    pub fn show(
        &self,
        project: &ProjectId,
        id: &CaseId,
    ) -> Result<(Case, Vec<CaseEvent>), RespondError> {
        self.respond
            .store
            .read(|v| Ok((find(v, project, id)?, rows::events(v, project, id)?)))
    }

    /// How many cases of a project are open.
    pub fn open_count(&self, project: &ProjectId) -> Result<u64, RespondError> {
        Ok(self
            .list(project)?
            .iter()
            .filter(|c| c.state.is_open())
            .count() as u64)
    }

    /// Takes a step. Waiving goes through [`crate::Waivers`], which knows when it ends.
    pub fn change(
        &self,
        project: &ProjectId,
        id: &CaseId,
        change: Change,
    ) -> Result<Changed, RespondError> {
        if change.to == State::Waived {
            return Err(RespondError::Missing {
                what: "a waived case",
                field: "a waiver",
            });
        }
        let (project, id, now) = (project.clone(), id.clone(), self.respond.clock.now());
        self.respond
            .store
            .write(move |tx| step(tx, now, &project, &id, &change, None))
    }

    /// Opens a case for each finding that has none, in one transaction with its alert. A finding
    /// whose case is open, rejected or a duplicate is counted there; one whose case was closed
    /// gets a new case that points to the old one.
    pub fn open_from_findings(
        &self,
        project: &ProjectId,
        owner: &OwnerId,
        findings: &[Finding],
    ) -> Result<Opened, RespondError> {
        let mut new: Vec<NewCase> = findings
            .iter()
            .filter(|f| f.severity != Severity::Info || f.cvss.is_some())
            .map(NewCase::of_finding)
            .collect();
        let informational = findings.len() - new.len();
        // The most urgent first, so that a flood of small findings cannot push them out.
        new.sort_by(|a, b| (a.tier, &a.fingerprint).cmp(&(b.tier, &b.fingerprint)));
        new.dedup_by(|a, b| a.fingerprint == b.fingerprint);
        let beyond_limit = new.len().saturating_sub(FINDINGS_MAX);
        new.truncate(FINDINGS_MAX);
        let opened = self.open(project, owner, new)?;
        Ok(Opened {
            informational,
            beyond_limit,
            ..opened
        })
    }

    /// Opens a case for an incident, or counts it on the open one about the same rule and target.
    pub fn open_from_incident(
        &self,
        project: &ProjectId,
        owner: &OwnerId,
        incident: Incident,
    ) -> Result<Opened, RespondError> {
        self.open(project, owner, vec![NewCase::of_incident(incident)])
    }

    fn open(
        &self,
        project: &ProjectId,
        owner: &OwnerId,
        new: Vec<NewCase>,
    ) -> Result<Opened, RespondError> {
        let (project, owner) = (project.clone(), owner.clone());
        let (now, channels) = (self.respond.clock.now(), self.respond.channels.clone());
        self.respond.store.write(move |tx| {
            let in_force = ringfence_store::waivers::in_force(tx, &project, now)?;
            let place = opening::Place {
                tx,
                now,
                project: &project,
                owner: &owner,
                channels: &channels,
                in_force: &in_force,
            };
            let mut opened = Opened::default();
            for case in new {
                opening::open(&place, case, &mut opened)?;
            }
            Ok(opened)
        })
    }
}

pub(crate) fn find(
    view: &View<'_>,
    project: &ProjectId,
    id: &CaseId,
) -> Result<Case, RespondError> {
    let row = rows::find(view, project, id)?;
    row.map(Case::of)
        .transpose()?
        .ok_or_else(|| RespondError::NoCase(id.to_string()))
}

pub(crate) fn text_checked(field: &'static str, text: &str) -> Result<(), RespondError> {
    if text.chars().count() > TEXT_CHARS_MAX {
        return Err(RespondError::TooLong {
            field,
            limit: TEXT_CHARS_MAX,
        });
    }
    Ok(())
}

fn is_blank(text: Option<&str>) -> bool {
    text.is_none_or(|t| t.trim().is_empty())
}

/// Appends one legal step to a case and returns the leaf that proves it.
pub(crate) fn step(
    tx: &Tx<'_>,
    now: Timestamp,
    project: &ProjectId,
    id: &CaseId,
    change: &Change,
    until: Option<Timestamp>,
) -> Result<Changed, RespondError> {
    let row = rows::find(tx, project, id)?.ok_or_else(|| RespondError::NoCase(id.to_string()))?;
    let events = row.events;
    let before = Case::of(row)?;
    if !before.state.next().contains(&change.to) {
        let (from, to) = (before.state, change.to);
        return Err(RespondError::Transition {
            case: id.to_string(),
            from,
            to,
        });
    }
    if is_blank(Some(&change.reason)) {
        return Err(RespondError::Missing {
            what: "a change of a case",
            field: "a reason",
        });
    }
    let proof = matches!(change.to, State::FixVerified | State::Closed);
    if proof && is_blank(change.evidence.as_deref()) {
        return Err(RespondError::Missing {
            what: "a verified fix",
            field: "evidence",
        });
    }
    text_checked("a reason", &change.reason)?;
    text_checked("evidence", change.evidence.as_deref().unwrap_or_default())?;
    rows::append(
        tx,
        &CaseEvent {
            project: project.clone(),
            case: id.clone(),
            sequence: events.saturating_add(1),
            time: now,
            actor: change.actor.clone(),
            kind: "changed".to_owned(),
            state: change.to.as_str().to_owned(),
            fingerprint: None,
            body: serde_json::json!({
                "reason": change.reason,
                "evidence": change.evidence,
                "until": until.map(|t| t.0),
            }),
        },
    )?;
    let mut leaf = leaf(now, project, &change.actor, id)
        .with("from", before.state.as_str())
        .with("to", change.to.as_str())
        .with("rule", before.facts.rule.as_str());
    if let Some(until) = until {
        leaf = leaf.with("until", until.0);
    }
    Ok(Changed {
        case: find(tx, project, id)?,
        leaf,
    })
}

/// A leaf about a case. Reasons stay out of it: people write personal data into free text.
pub(crate) fn leaf(now: Timestamp, project: &ProjectId, actor: &str, id: &CaseId) -> Leaf {
    Leaf::new(
        now,
        project.clone(),
        actor,
        LeafAction::CaseChange,
        format!("case:{id}"),
    )
}
