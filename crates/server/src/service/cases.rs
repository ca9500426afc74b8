//! Cases and alerts, as they are shown.

use crate::app::App;
use crate::incidents::respond;
use ringfence_core::error::Explained;
use ringfence_core::ids::CaseId;
use ringfence_respond::Case;
use ringfence_respond::alerts::Listed;
use serde::{Deserialize, Serialize};

/// Who has seen an alert, when it is not known by session: the operator's own eyes.
const OPERATOR: [u8; 32] = [0; 32];

/// A case in a list.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ShownCase {
    /// Its id.
    pub id: String,
    /// What it is about.
    pub title: String,
    /// The rule behind it.
    pub rule: String,
    /// Where.
    pub place: String,
    /// Its state.
    pub state: String,
    /// Whether something is still to be done.
    pub open: bool,
    /// Its tier.
    pub tier: String,
    /// When it is due.
    pub due: String,
    /// How often it was seen.
    pub sightings: u64,
    /// The full fix.
    pub fix: String,
    /// What to do until then.
    pub mitigation: String,
    /// To waive only this one.
    pub fingerprint: String,
}

/// A case with its history.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct CaseFile {
    /// The case.
    pub case: ShownCase,
    /// One line for each event, oldest first.
    pub history: Vec<String>,
}

/// An alert.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ShownAlert {
    /// Its id.
    pub id: String,
    /// What happened.
    pub what: String,
    /// What it touches.
    pub scope: String,
    /// What was seen.
    pub evidence: String,
    /// Its tier, and why.
    pub tier: String,
    /// What to do until it is fixed.
    pub mitigation: String,
    /// How to fix it.
    pub fix: String,
    /// When it is due.
    pub due: String,
    /// Whether it was marked as seen.
    pub seen: bool,
}

fn shown(case: Case) -> ShownCase {
    ShownCase {
        id: case.id.to_string(),
        title: case.facts.title,
        rule: case.facts.rule.to_string(),
        place: case.facts.place,
        state: case.state.as_str().to_owned(),
        open: case.state.is_open(),
        tier: case.facts.tier.as_str().to_owned(),
        due: case.facts.due.to_string(),
        sightings: case.sightings,
        fix: case.facts.fix,
        mitigation: case.facts.mitigation,
        fingerprint: case.fingerprint,
    }
}

fn shown_alert(listed: Listed, seen: bool) -> ShownAlert {
    let alert = listed.alert;
    ShownAlert {
        id: alert.id,
        what: alert.what,
        scope: alert.scope,
        evidence: alert.evidence,
        tier: format!("{}: {}", alert.tier.as_str(), alert.tier_reason),
        mitigation: alert.mitigation,
        fix: alert.fix,
        due: alert.due.to_string(),
        seen,
    }
}

/// All cases, youngest first.
pub async fn list(app: &App) -> Result<Vec<ShownCase>, Explained> {
    let project = app.project.clone();
    let cases = respond(app, move |r| r.cases().list(&project)).await?;
    Ok(cases.into_iter().map(shown).collect())
}

/// One case with its history.
pub async fn show(app: &App, id: CaseId) -> Result<CaseFile, Explained> {
    let project = app.project.clone();
    let (case, events) = respond(app, move |r| r.cases().show(&project, &id)).await?;
    let history = events
        .into_iter()
        .map(|e| format!("{} {} by {}: {}", e.time, e.kind, e.actor, e.state))
        .collect();
    Ok(CaseFile {
        case: shown(case),
        history,
    })
}

/// Alerts, newest first, with whether they were marked as seen.
pub async fn alerts(app: &App) -> Result<Vec<ShownAlert>, Explained> {
    let project = app.project.clone();
    let (all, unseen) = respond(app, move |r| {
        Ok((r.alerts(&project)?, r.unseen_alerts(&project, &OPERATOR)?))
    })
    .await?;
    let is_new = |id: &str| unseen.iter().any(|u| u.alert.id == id);
    Ok(all
        .into_iter()
        .map(|listed| {
            let seen = !is_new(&listed.alert.id);
            shown_alert(listed, seen)
        })
        .collect())
}

/// Marks an alert as seen.
pub async fn mark_seen(app: &App, id: String) -> Result<(), Explained> {
    let project = app.project.clone();
    respond(app, move |r| r.mark_alert_seen(&project, OPERATOR, &id)).await
}

/// The key that signs what webhooks receive, in hex, for whoever checks the signatures.
pub async fn webhook_key(app: &App) -> Result<String, Explained> {
    let octets = app
        .sealed()
        .octets(ringfence_record::Purpose::WebhookKey)
        .await?;
    Ok(ringfence_core::digest::hex(octets.danger_expose()))
}
