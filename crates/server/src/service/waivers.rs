//! Waivers: a finding accepted until a date.

use crate::app::App;
use crate::incidents::respond;
use ringfence_core::error::{ErrorCode, Explained};
use ringfence_core::ids::RuleId;
use ringfence_core::time::Timestamp;
use ringfence_respond::Waiver;
use ringfence_respond::waivers::NewWaiver;
use serde::{Deserialize, Serialize};

/// A waiver as it is asked for.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AskedWaiver {
    /// Of which rule.
    pub rule: String,
    /// Only this finding.
    #[serde(default)]
    pub fingerprint: Option<String>,
    /// When it ends.
    pub until: Timestamp,
    /// Why.
    pub reason: String,
}

/// A waiver as it is shown.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ShownWaiver {
    /// Its id.
    pub id: String,
    /// Of which rule.
    pub rule: String,
    /// Only this finding.
    pub fingerprint: Option<String>,
    /// When it ends.
    pub until: Timestamp,
    /// Why.
    pub reason: String,
}

fn shown(waiver: Waiver) -> ShownWaiver {
    ShownWaiver {
        id: waiver.id,
        rule: waiver.rule.to_string(),
        fingerprint: waiver.fingerprint,
        until: waiver.until,
        reason: waiver.reason,
    }
}

/// Makes a waiver.
pub async fn create(app: &App, actor: &str, asked: AskedWaiver) -> Result<ShownWaiver, Explained> {
    let rule: RuleId = asked.rule.parse().map_err(|_| {
        Explained::new(
            ErrorCode("respond/waiver-rule"),
            format!("{:?} is not a rule", asked.rule),
            "name a rule as a finding shows it, for example admit/pickle-dangerous-global",
        )
    })?;
    let new = NewWaiver {
        project: app.project.clone(),
        rule,
        fingerprint: asked.fingerprint,
        until: asked.until,
        reason: asked.reason,
        owner: app.config.project.owner.to_string(),
        actor: actor.to_owned(),
    };
    let waived = respond(app, move |r| r.waivers().create(new)).await?;
    for mut leaf in waived.leaves {
        leaf.config = Some(app.config_digest);
        app.record(leaf).await?;
    }
    Ok(shown(waived.waiver))
}

/// All waivers, ended ones included.
pub async fn list(app: &App) -> Result<Vec<ShownWaiver>, Explained> {
    let project = app.project.clone();
    let waivers = respond(app, move |r| r.waivers().list(&project)).await?;
    Ok(waivers.into_iter().map(shown).collect())
}
