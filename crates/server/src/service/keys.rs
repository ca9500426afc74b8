//! API keys: made, listed, ended.

use crate::app::App;
use ringfence_core::error::{ErrorCode, Explained};
use ringfence_core::ids::KeyId;
use ringfence_core::leaf::{LeafAction, Outcome};
use ringfence_core::time::Timestamp;
use ringfence_gateway::keys::{KeyTerms, mint};
use ringfence_store::keys::{self, ApiKey};
use serde::{Deserialize, Serialize};

/// LIMIT: characters of a key's name or reason.
pub const TEXT_CHARS_MAX: usize = 200;

/// What a new key is asked to be.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct NewKey {
    /// What it is for.
    pub name: String,
    /// Requests a minute; the configured default if none.
    #[serde(default)]
    pub requests_per_minute: Option<u32>,
    /// Milliseconds until it ends.
    #[serde(default)]
    pub expires_in_ms: Option<i64>,
    /// Why it is asked for.
    #[serde(default)]
    pub reason: Option<String>,
}

/// A key just made. The text is shown once.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct CreatedKey {
    /// The public part.
    pub id: KeyId,
    /// The whole key.
    pub key: String,
    /// When it ends.
    pub expires: Option<Timestamp>,
}

/// A key without its secret.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ShownKey {
    /// The public part.
    pub id: KeyId,
    /// What it is for.
    pub name: String,
    /// Requests a minute.
    pub requests_per_minute: u32,
    /// When it was made.
    pub created: Timestamp,
    /// When it ends.
    pub expires: Option<Timestamp>,
    /// When it was revoked.
    pub revoked: Option<Timestamp>,
    /// When it was last used.
    pub last_used: Option<Timestamp>,
}

/// Makes a key.
pub async fn create(app: &App, actor: &str, new: NewKey) -> Result<CreatedKey, Explained> {
    let reason = new.reason.unwrap_or_default();
    if new.name.chars().count() > TEXT_CHARS_MAX || reason.chars().count() > TEXT_CHARS_MAX {
        return Err(Explained::new(
            ErrorCode("run/key-text"),
            format!("a name or reason has at most {TEXT_CHARS_MAX} characters"),
            "say it in fewer words",
        ));
    }
    if new.expires_in_ms.is_some_and(|ms| ms <= 0) || new.requests_per_minute == Some(0) {
        return Err(Explained::new(
            ErrorCode("run/key-terms"),
            "a key that has ended already or may ask nothing opens nothing",
            "give it at least one millisecond and one request a minute, or leave them out",
        ));
    }
    let now = app.now();
    let limits = &app.config.gateway.limits;
    let terms = KeyTerms {
        project: app.project.clone(),
        requests_per_minute: new
            .requests_per_minute
            .unwrap_or(limits.key_requests_per_minute),
        expires: new.expires_in_ms.map(|ms| now.plus_ms(ms)),
    };
    let (text, record) = mint(app.entropy.as_ref(), &app.pepper, terms)?;
    let leaf = app
        .leaf(actor, LeafAction::KeyCreate, format!("key:{}", record.id))
        .with("name", new.name.clone())
        .with("reason", reason)
        .with("requests_per_minute", record.requests_per_minute);
    app.record(leaf).await?;
    let row = ApiKey {
        id: record.id.clone(),
        project: record.project.clone(),
        mac: record.mac,
        name: new.name,
        requests_per_minute: record.requests_per_minute,
        created: now,
        expires: record.expires,
        revoked: None,
        last_used: None,
    };
    let stored = app
        .state(move |store| store.write(move |tx| keys::add(tx, &row)))
        .await;
    if let Err(error) = stored {
        let leaf = app
            .leaf(actor, LeafAction::KeyCreate, format!("key:{}", record.id))
            .outcome(Outcome::Failed);
        app.record(leaf).await?;
        return Err(error);
    }
    let (id, expires) = (record.id.clone(), record.expires);
    app.keys.put(record);
    Ok(CreatedKey {
        id,
        key: text.danger_expose().clone(),
        expires,
    })
}

/// All keys of the project.
pub async fn list(app: &App) -> Result<Vec<ShownKey>, Explained> {
    let project = app.project.clone();
    let rows = app
        .state(move |store| store.read(|view| keys::list(view, &project)))
        .await?;
    Ok(rows
        .into_iter()
        .map(|k| ShownKey {
            id: k.id,
            name: k.name,
            requests_per_minute: k.requests_per_minute,
            created: k.created,
            expires: k.expires,
            revoked: k.revoked,
            last_used: k.last_used,
        })
        .collect())
}

/// Ends a key now.
pub async fn revoke(app: &App, actor: &str, id: KeyId) -> Result<(), Explained> {
    let (project, wanted) = (app.project.clone(), id.clone());
    let known = app
        .state(move |store| store.read(|view| keys::find(view, &project, &wanted)))
        .await?;
    if known.is_none() {
        return Err(Explained::new(
            ErrorCode("run/key-not-found"),
            format!("there is no key {id}"),
            "list them: ringfence key list",
        ));
    }
    app.record(app.leaf(actor, LeafAction::KeyRevoke, format!("key:{id}")))
        .await?;
    let now = app.now();
    app.keys.revoke(&id, now);
    let (project, wanted) = (app.project.clone(), id);
    app.state(move |store| store.write(move |tx| keys::revoke(tx, &project, &wanted, now)))
        .await
}
