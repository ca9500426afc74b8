//! Forgetting a person: the recorder destroys the key of what was kept for them.

use super::leaves::told;
use crate::app::App;
use ringfence_core::digest::hex;
use ringfence_core::error::Explained;
use serde::{Deserialize, Serialize};

/// Whom to forget.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AskedErasure {
    /// The name that payloads were kept under.
    pub subject: String,
}

/// An erasure that ended.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ShownErasure {
    /// What leaves call the subject. It leads to nobody any more.
    pub pseudonym: String,
    /// The number of the erasure, as its leaf has it.
    pub erasure: String,
    /// Payloads whose files could not be removed; they are ciphertext without a key.
    pub payloads_left: u64,
}

/// Forgets a subject. The leaf that says so is written by the recorder, which alone can do both so
/// that a crash leaves neither half.
pub async fn erase(app: &App, actor: &str, asked: AskedErasure) -> Result<ShownErasure, Explained> {
    if let Some(error) = app.halted.get() {
        return Err(error.clone());
    }
    let erasure = app
        .recorder
        .erase(&asked.subject, app.project.clone(), actor)
        .await
        .map_err(told)?;
    Ok(ShownErasure {
        pseudonym: erasure.subject.to_string(),
        erasure: hex(&erasure.id),
        payloads_left: erasure.left,
    })
}
