//! The prompt shield: rules and linear heads over every reading of a text.
//!
//! It raises the cost of an attack and gives it a name; it does not prevent injection, and no published
//! detector does. What it sees it sees at any length and in any disguise that it can take
//! off. The channel decides as much as the words: an order to the assistant is a request in a
//! user's message and an attack in a document.
//!
//! - `readings`: the canonical text, what was hidden or encoded in it, nested up to
//!   [`DEPTH_MAX`], and stretches whose letters stand for others.
//! - `tier0`: rules; each is data with its proof.
//! - [`heads`]: linear heads over hashed words and letters, one for each channel and label, windowed,
//!   with calibrated thresholds ([`bundle`]).
//! - [`tier2`]: the port for an encoder or a judge model; nothing is behind it by default.
//! - `judge`: one judgement from all of them, and its reasons.

pub mod bundle;
pub mod calibrate;
mod disguise;
pub mod features;
pub mod heads;
mod judge;
pub mod lexicon;
mod readings;
mod rules;
mod tier0;
pub mod tier2;
pub mod verdict;

pub use judge::{Explanation, ReadAs};
pub use readings::DEPTH_MAX;

use crate::error::DetectError;
use bundle::Bundle;
use calibrate::Thresholds;
use lexicon::Lexicon;
use ringfence_core::detection::{Channel, Hit, Label, Scan};
use ringfence_core::rule::RuleCard;
use tier0::Rules;
use tier2::Second;
use verdict::CERTAIN;

/// The shield.
#[derive(Clone, Debug)]
pub struct Shield {
    rules: Rules,
    bundle: Bundle,
    lexicon: Lexicon,
    thresholds: Option<Thresholds>,
    second: Option<Second>,
}

impl Shield {
    /// All rules and heads. An error means that what is inside the binary is broken.
    pub fn new() -> Result<Self, DetectError> {
        Self::with_bundle(Bundle::built_in()?)
    }

    /// All rules, and other weights than the built-in ones.
    pub fn with_bundle(bundle: Bundle) -> Result<Self, DetectError> {
        Ok(Self {
            rules: Rules::new()?,
            bundle,
            lexicon: Lexicon::new(),
            thresholds: None,
            second: None,
        })
    }

    /// The same shield with somebody's own thresholds; refused if they were made with other weights.
    pub fn with_thresholds(mut self, thresholds: Thresholds) -> Result<Self, DetectError> {
        if thresholds.bundle != self.bundle() {
            return Err(DetectError::OtherBundle {
                made_with: thresholds.bundle,
                judged_by: self.bundle().to_owned(),
            });
        }
        self.thresholds = Some(thresholds);
        Ok(self)
    }

    /// The same shield that asks somebody else where it is unsure.
    #[must_use]
    pub fn with_second(mut self, second: Second) -> Self {
        self.second = Some(second);
        self
    }

    /// Which weights judge.
    pub fn bundle(&self) -> &str {
        &self.bundle.name
    }

    /// The cards, for documentation and reports.
    pub fn cards(&self) -> impl Iterator<Item = &RuleCard> {
        self.rules.cards()
    }

    /// Looks at a whole text of one channel. Hits are in order of start.
    pub fn scan(&self, channel: Channel, text: &str) -> Scan {
        let mut hits: Vec<Hit> = self
            .judge(channel, &[text])
            .verdicts
            .into_iter()
            .map(|verdict| Hit {
                rule: verdict.rule,
                label: verdict.label,
                span: verdict.span,
                view: verdict.view,
                score: verdict.score / (CERTAIN / 1000),
            })
            .collect();
        hits.sort_by(|a, b| (a.span.start, &a.rule).cmp(&(b.span.start, &b.rule)));
        hits.dedup();
        Scan::Scanned(hits)
    }
}

/// Channels in which nobody may give orders to the assistant.
pub fn is_data(channel: Channel) -> bool {
    matches!(
        channel,
        Channel::ToolResult | Channel::ToolSchema | Channel::Document
    )
}

/// Channels in which the model speaks.
pub fn is_answer(channel: Channel) -> bool {
    matches!(
        channel,
        Channel::Content | Channel::Reasoning | Channel::Refusal | Channel::ToolArguments
    )
}

/// The strongest reading of a scan for people who only ask whether: the labels that were hit.
pub fn labels(scan: &Scan) -> Vec<Label> {
    match scan {
        Scan::Scanned(hits) => {
            let mut labels: Vec<Label> = hits.iter().map(|hit| hit.label).collect();
            labels.sort_unstable();
            labels.dedup();
            labels
        }
        Scan::NotScanned(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests;
