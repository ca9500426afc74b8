//! Waivers: a rule does not count for a while, because somebody says why and answers for it.
//!
//! INVARIANT: no waiver without an end. Whether one holds is asked of the clock each time, so a
//! finding counts again at the very moment the waiver ends, whether or not anything ran to notice.

use crate::Respond;
use crate::alerts::{self, Alert};
use crate::cases::{self, Case, Change, text_checked};
use crate::error::RespondError;
use crate::lifecycle::State;
use crate::tier::Tier;
use ringfence_core::ids::{ProjectId, RuleId};
use ringfence_core::leaf::{Leaf, LeafAction};
use ringfence_core::time::{DAY_MS, Timestamp};
use ringfence_store::waivers::WaiverRow;
use ringfence_store::{Tx, cases as case_rows, counters, waivers as rows};

/// LIMIT: days a waiver lasts.
pub const DAYS_MAX: i64 = 90;
/// LIMIT: days a waiver lasts for what would page somebody now.
pub const DAYS_NOW_MAX: i64 = 30;

/// A waiver as it is stored.
pub type Waiver = WaiverRow;

/// A waiver somebody asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewWaiver {
    /// Whose findings.
    pub project: ProjectId,
    /// Of which rule.
    pub rule: RuleId,
    /// Only this finding; none means every finding of the rule.
    pub fingerprint: Option<String>,
    /// When it ends.
    pub until: Timestamp,
    /// Why.
    pub reason: String,
    /// Who answers for it.
    pub owner: String,
    /// Who asks, as in leaves.
    pub actor: String,
}

/// A waiver that was made, with the leaves for the log: its own first.
#[derive(Clone, Debug, PartialEq)]
pub struct Waived {
    /// The waiver.
    pub waiver: Waiver,
    /// To be appended.
    pub leaves: Vec<Leaf>,
}

/// The waivers of all projects, always asked for one project.
#[derive(Clone)]
pub struct Waivers {
    respond: Respond,
}

/// Until when a waiver covers a finding, if it does at `now`. Above [`DAYS_NOW_MAX`] it never
/// covers what would page somebody now, even if the finding became that bad only later. A clock
/// before the waiver was made finds it not in force: then the finding counts.
pub fn covered_until(
    waiver: &Waiver,
    rule: &RuleId,
    fingerprint: &str,
    tier: Tier,
    now: Timestamp,
) -> Option<Timestamp> {
    let days = if tier == Tier::Now {
        DAYS_NOW_MAX
    } else {
        DAYS_MAX
    };
    let end = waiver.until.min(waiver.created.plus_ms(days * DAY_MS));
    let about =
        &waiver.rule == rule && waiver.fingerprint.as_ref().is_none_or(|f| f == fingerprint);
    (about && waiver.created <= now && now < end).then_some(end)
}

pub(crate) fn change(reason: String, actor: &str) -> Change {
    Change {
        to: State::Waived,
        actor: actor.to_owned(),
        reason,
        evidence: None,
    }
}

impl Waivers {
    pub(crate) fn new(respond: Respond) -> Self {
        Self { respond }
    }

    /// Makes a waiver and waives the open cases it covers.
    pub fn create(&self, new: NewWaiver) -> Result<Waived, RespondError> {
        let now = self.respond.clock.now();
        check(&new, now)?;
        self.respond.store.write(move |tx| create(tx, now, &new))
    }

    /// Every waiver of a project, ended ones included.
    pub fn list(&self, project: &ProjectId) -> Result<Vec<Waiver>, RespondError> {
        Ok(self.respond.store.read(|v| rows::list(v, project))?)
    }

    /// The waivers of a project that hold now.
    pub fn in_force(&self, project: &ProjectId) -> Result<Vec<Waiver>, RespondError> {
        let now = self.respond.clock.now();
        Ok(self
            .respond
            .store
            .read(|v| rows::in_force(v, project, now))?)
    }

    /// Takes waived cases that no waiver covers any more back to affected, alerts at their tier,
    /// and returns the leaves.
    pub fn expire(&self, project: &ProjectId) -> Result<Vec<Leaf>, RespondError> {
        let (now, channels) = (self.respond.clock.now(), self.respond.channels.clone());
        let project = project.clone();
        self.respond.store.write(move |tx| {
            let in_force = rows::in_force(tx, &project, now)?;
            let mut leaves = Vec::new();
            for row in case_rows::in_state(tx, &project, State::Waived.as_str())? {
                let case = Case::of(row)?;
                if in_force.iter().any(|w| covers(w, &case, now)) {
                    continue;
                }
                let back = Change::by_service(State::Affected, "its waiver has ended");
                let changed = cases::step(tx, now, &project, &case.id, &back, None)?;
                alerts::raise(tx, now, &channels, Alert::of_case(&changed.case))?;
                leaves.push(changed.leaf);
            }
            Ok(leaves)
        })
    }
}

fn covers(waiver: &Waiver, case: &Case, now: Timestamp) -> bool {
    covered_until(
        waiver,
        &case.facts.rule,
        &case.fingerprint,
        case.facts.tier,
        now,
    )
    .is_some()
}

fn check(new: &NewWaiver, now: Timestamp) -> Result<(), RespondError> {
    let what = "a waiver";
    if new.reason.trim().is_empty() {
        return Err(RespondError::Missing {
            what,
            field: "a reason",
        });
    }
    if new.owner.trim().is_empty() {
        return Err(RespondError::Missing {
            what,
            field: "an owner",
        });
    }
    text_checked("a reason", &new.reason)?;
    text_checked("an owner", &new.owner)?;
    if new.until <= now {
        return Err(RespondError::Past { until: new.until });
    }
    if new.until > now.plus_ms(DAYS_MAX * DAY_MS) {
        return Err(RespondError::TooFar {
            what: "a rule",
            days: DAYS_MAX,
        });
    }
    Ok(())
}

fn create(tx: &Tx<'_>, now: Timestamp, new: &NewWaiver) -> Result<Waived, RespondError> {
    let waiver = Waiver {
        id: format!("W-{}", counters::next(tx, "waiver")?),
        project: new.project.clone(),
        rule: new.rule.clone(),
        fingerprint: new.fingerprint.clone(),
        until: new.until,
        reason: new.reason.clone(),
        owner: new.owner.clone(),
        created: now,
    };
    let mut covered = Vec::new();
    for row in case_rows::list(tx, &new.project)? {
        let case = Case::of(row)?;
        if case.state.is_open() && covers(&waiver, &case, now) {
            covered.push(case);
        }
    }
    let pages = covered.iter().any(|case| case.facts.tier == Tier::Now);
    if pages && new.until > now.plus_ms(DAYS_NOW_MAX * DAY_MS) {
        return Err(RespondError::TooFar {
            what: "a finding that pages",
            days: DAYS_NOW_MAX,
        });
    }
    rows::add(tx, &waiver)?;
    let mut own = Leaf::new(
        now,
        new.project.clone(),
        &*new.actor,
        LeafAction::WaiverCreate,
        format!("waiver:{}", waiver.id),
    )
    .with("rule", new.rule.as_str())
    .with("until", new.until.0);
    if let Some(fingerprint) = &new.fingerprint {
        own = own.with("fingerprint", fingerprint.as_str());
    }
    let mut leaves = vec![own];
    for case in covered
        .iter()
        .filter(|c| c.state.next().contains(&State::Waived))
    {
        let step = change(format!("waived by {}", waiver.id), &new.actor);
        let changed = cases::step(tx, now, &new.project, &case.id, &step, Some(new.until))?;
        leaves.push(changed.leaf);
    }
    Ok(Waived { waiver, leaves })
}
