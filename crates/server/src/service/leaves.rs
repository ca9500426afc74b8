//! Reading and proving the log.

use crate::app::App;
use ringfence_core::error::Explained;
use ringfence_core::leaf::Leaf;
use ringfence_record::RecordError;
use ringfence_record::log::LogState;
use serde::{Deserialize, Serialize};

/// LIMIT: leaves returned at once.
pub const LEAVES_PAGE_MAX: u64 = 500;

/// One leaf with its index.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct IndexedLeaf {
    /// From 0.
    pub index: u64,
    /// What it says.
    pub leaf: Leaf,
}

/// A page of the log.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Page {
    /// Leaves in the log.
    pub size: u64,
    /// Root hash, hex.
    pub root: String,
    /// Request numbers that a crash left unaccounted for.
    pub unaccounted: u64,
    /// The leaves asked for, oldest first.
    pub leaves: Vec<IndexedLeaf>,
    /// What a reader of the log must know.
    pub anchor: String,
}

/// What the recorder answered in words keeps its words, and its code.
pub(super) fn told(error: RecordError) -> Explained {
    match error {
        RecordError::Remote(explained) => explained,
        other => Explained::of(&other),
    }
}

/// Size and root of the log.
pub async fn state(app: &App) -> Result<LogState, Explained> {
    app.recorder.state().await.map_err(told)
}

/// An inclusion proof in the form that `ringfence log verify` reads.
pub async fn proof(app: &App, index: u64) -> Result<String, Explained> {
    let proof = app.recorder.prove(index).await.map_err(told)?;
    Ok(proof.to_string())
}

/// The leaves from `from` on, or the last `count`.
pub async fn page(app: &App, from: Option<u64>, count: u64) -> Result<Page, Explained> {
    let state = state(app).await?;
    let count = count.min(LEAVES_PAGE_MAX);
    let from = from.unwrap_or_else(|| state.size.saturating_sub(count));
    let wanted = u32::try_from(count).unwrap_or(u32::MAX);
    let entries = app.recorder.read(from, wanted).await.map_err(told)?;
    let leaves = entries
        .into_iter()
        .map(|(index, leaf)| IndexedLeaf { index, leaf })
        .collect();
    Ok(Page {
        size: state.size,
        root: state.root.to_string(),
        unaccounted: state.unaccounted,
        leaves,
        anchor: anchor(app),
    })
}

/// What every report says about who else has seen the log.
pub fn anchor(app: &App) -> String {
    let of = app.config.record.witness.len();
    if of == 0 {
        return UNWITNESSED.to_owned();
    }
    match app.facts().witnessed {
        Some(seen) if seen.enough => format!(
            "Cosigned up to leaf {} by {} of {of} outside witnesses at {}.",
            seen.size, seen.by, seen.at
        ),
        Some(seen) => format!(
            "No quorum: {} of {of} outside witnesses cosigned at {}; what is newer than their last \
             cosignatures is not tamper-evident against root on this host.",
            seen.by, seen.at
        ),
        None => format!(
            "None of {of} outside witnesses was asked yet: the log is not tamper-evident against \
             root on this host."
        ),
    }
}

/// What is said where there is no witness.
pub const UNWITNESSED: &str =
    "No outside witness is configured: the log is not tamper-evident against root on this host.";
