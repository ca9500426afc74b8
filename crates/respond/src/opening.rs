//! How a case comes to be: once for each thing, together with its alert, in one transaction.

use crate::alerts::{self, Alert};
use crate::cases::{self, Case, Change, Facts, Incident, Opened, Source};
use crate::error::RespondError;
use crate::lifecycle::State;
use crate::tier::Tier;
use crate::waivers::{self, Waiver};
use ringfence_core::finding::{Finding, Subject};
use ringfence_core::ids::{CaseId, OwnerId, ProjectId, RuleId};
use ringfence_core::severity::Severity;
use ringfence_core::time::Timestamp;
use ringfence_store::cases::CaseEvent;
use ringfence_store::{Tx, cases as rows, counters};

/// Who acts when nobody does.
pub(crate) const SERVICE: &str = "service";
/// Stands where a rule gives no advice: an alert never goes out with an empty field.
const NO_MITIGATION: &str = "none is known: keep the project stopped until it is fixed";
const NO_FIX: &str = "none is known: see the references";

/// What a case will be made of.
pub(crate) struct NewCase {
    pub(crate) fingerprint: String,
    pub(crate) tier: Tier,
    tier_reason: String,
    source: Source,
    rule: RuleId,
    title: String,
    place: String,
    severity: Severity,
    score_tenths: Option<u8>,
    impact: String,
    evidence: String,
    mitigation: String,
    fix: String,
    references: Vec<String>,
}

/// Where it is opened.
pub(crate) struct Place<'a> {
    pub(crate) tx: &'a Tx<'a>,
    pub(crate) now: Timestamp,
    pub(crate) project: &'a ProjectId,
    pub(crate) owner: &'a OwnerId,
    pub(crate) channels: &'a [String],
    /// The waivers of the project that hold now.
    pub(crate) in_force: &'a [Waiver],
}

fn or(text: &str, otherwise: &str) -> String {
    if text.trim().is_empty() {
        otherwise.to_owned()
    } else {
        text.to_owned()
    }
}

fn place_of(subject: &Subject) -> String {
    let at = match subject.line() {
        Some(line) => format!("{}:{line}", subject.path()),
        None => subject.path().to_owned(),
    };
    match subject {
        Subject::Component { purl, version, .. } => format!("{purl}@{version} in {at}"),
        Subject::Endpoint { method, .. } => format!("{method} {at}"),
        Subject::Model { member, .. } if !member.is_empty() => format!("{member} in {at}"),
        Subject::Source { .. } | Subject::Model { .. } => at,
    }
}

impl NewCase {
    pub(crate) fn of_finding(finding: &Finding) -> Self {
        let (tier, tier_reason) = Tier::of(finding.cvss.as_ref(), finding.severity);
        Self {
            fingerprint: finding.fingerprint.as_str().to_owned(),
            tier,
            tier_reason,
            source: Source::Finding,
            rule: finding.rule.clone(),
            title: or(&finding.title, finding.rule.as_str()),
            place: place_of(&finding.subject),
            severity: finding.severity,
            score_tenths: finding.cvss.as_ref().map(|c| c.tenths),
            impact: or(&finding.impact, "the rule does not say"),
            evidence: or(&finding.evidence, "the rule matched; its text is not shown"),
            mitigation: or(&finding.mitigation, NO_MITIGATION),
            fix: or(&finding.fix, NO_FIX),
            references: finding.references.clone(),
        }
    }

    pub(crate) fn of_incident(incident: Incident) -> Self {
        let (tier, tier_reason) = Tier::of(None, incident.severity);
        Self {
            fingerprint: format!("incident:{}:{}", incident.rule, incident.target),
            tier,
            tier_reason,
            source: Source::Incident,
            title: or(&incident.title, incident.rule.as_str()),
            rule: incident.rule,
            impact: format!("{} behaves as it should not", incident.target),
            place: incident.target,
            severity: incident.severity,
            score_tenths: None,
            evidence: or(&incident.evidence, "the breaker tripped"),
            mitigation: or(&incident.mitigation, NO_MITIGATION),
            fix: or(&incident.fix, NO_FIX),
            references: Vec::new(),
        }
    }

    fn facts(self, place: &Place<'_>, previous: Option<CaseId>) -> Facts {
        Facts {
            source: self.source,
            rule: self.rule,
            title: self.title,
            place: self.place,
            tier: self.tier,
            tier_reason: self.tier_reason,
            severity: self.severity,
            score_tenths: self.score_tenths,
            due: self.tier.due(place.now),
            owner: place.owner.clone(),
            impact: self.impact,
            evidence: self.evidence,
            mitigation: self.mitigation,
            fix: self.fix,
            references: self.references,
            previous,
        }
    }
}

/// Opens a case, or counts one more sighting of a known one.
pub(crate) fn open(
    place: &Place<'_>,
    new: NewCase,
    opened: &mut Opened,
) -> Result<(), RespondError> {
    let tx = place.tx;
    let known = rows::latest_about(tx, place.project, &new.fingerprint)?;
    if let Some(row) = &known {
        let state = Case::of(row.clone())?.state;
        // A rejected finding stays rejected, it is the same text at the same place; a rejected
        // incident says nothing about the next one.
        let settled = new.source == Source::Finding && state != State::Closed;
        if state.is_open() || settled {
            rows::count_sighting(tx, place.project, &row.case, place.now)?;
            opened.seen_again.push(row.case.clone());
            return Ok(());
        }
    }
    let id: CaseId = format!("C-{}", counters::next(tx, "case")?)
        .parse()
        .map_err(|e| RespondError::Stored {
            what: "case number",
            cause: format!("{e}"),
        })?;
    let fingerprint = new.fingerprint.clone();
    let facts = new.facts(place, known.map(|row| row.case));
    let body = serde_json::to_value(&facts).map_err(|e| RespondError::Stored {
        what: "case",
        cause: e.to_string(),
    })?;
    rows::append(
        tx,
        &CaseEvent {
            project: place.project.clone(),
            case: id.clone(),
            sequence: 1,
            time: place.now,
            actor: SERVICE.to_owned(),
            kind: "opened".to_owned(),
            state: State::Reported.as_str().to_owned(),
            fingerprint: Some(fingerprint.clone()),
            body,
        },
    )?;
    opened.leaves.push(
        cases::leaf(place.now, place.project, SERVICE, &id)
            .with("to", State::Reported.as_str())
            .with("rule", facts.rule.as_str())
            .with("tier", facts.tier.as_str()),
    );
    let end = place
        .in_force
        .iter()
        .filter_map(|w| waivers::covered_until(w, &facts.rule, &fingerprint, facts.tier, place.now))
        .max();
    match end {
        Some(until) => {
            let change = waivers::change("the rule is waived".to_owned(), SERVICE);
            let changed = cases::step(tx, place.now, place.project, &id, &change, Some(until))?;
            opened.leaves.push(changed.leaf);
        }
        None => {
            let case = cases::find(tx, place.project, &id)?;
            alerts::raise(tx, place.now, place.channels, Alert::of_case(&case))?;
        }
    }
    opened.opened.push(cases::find(tx, place.project, &id)?);
    Ok(())
}

impl Change {
    /// A step the service takes by itself.
    pub(crate) fn by_service(to: State, reason: &str) -> Self {
        Self {
            to,
            actor: SERVICE.to_owned(),
            reason: reason.to_owned(),
            evidence: None,
        }
    }
}
