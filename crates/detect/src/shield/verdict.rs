//! What the shield says of a text, in words that can be checked: where, in which reading, by which
//! rule or head, how sure, and how often the calibration texts would have scored as high.

use ringfence_core::detection::{GuardAction, Label, View};
use ringfence_core::ids::RuleId;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// A score or a threshold in millionths: 0 is nothing, [`CERTAIN`] is as sure as it gets.
pub type Millionths = u32;

/// The top of the scale.
pub const CERTAIN: Millionths = 1_000_000;

/// The threshold of every head. A head's own margin is laid onto the scale so that the calibrated
/// threshold falls here: scores of different heads and channels can be compared.
pub const THRESHOLD: Millionths = 500_000;

/// What a rule's hit is worth at least; the heads order hits above it.
pub const RULE_SCORE: Millionths = 900_000;

/// A piece of text that made a head speak.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Feature {
    /// The words or letters, as the head reads them.
    pub text: String,
    /// What it added to the margin, in thousandths; negative spoke against.
    pub weight: i64,
}

/// One verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// What kind of thing.
    pub label: Label,
    /// How sure.
    pub score: Millionths,
    /// From which score on it counts.
    pub threshold: Millionths,
    /// Where, in bytes of the original text.
    pub span: Range<usize>,
    /// In which reading.
    pub view: View,
    /// The rule, or the head.
    pub rule: RuleId,
    /// Of a million calibration texts of this channel, how many score at least as high; nothing is
    /// known of rules and of heads that were not calibrated.
    pub rate: Option<Millionths>,
}

impl Verdict {
    /// Whether the score reaches the threshold.
    pub fn counts(&self) -> bool {
        self.score >= self.threshold
    }

    /// What a caller should do who has no policy of his own: text of untrusted channels taints the
    /// turn (risky tools and egress close), what hides or unlocks is refused, harmful material is
    /// marked.
    pub fn action(&self, untrusted: bool) -> GuardAction {
        match self.label {
            _ if !self.counts() => GuardAction::Pass,
            _ if untrusted => GuardAction::Taint,
            Label::Harmful => GuardAction::Tag,
            _ => GuardAction::Block,
        }
    }
}

/// All that is said of one text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// The strongest attack verdict, also where it does not count.
    pub strongest: Verdict,
    /// Every verdict that counts, strongest first, at most one for each rule and place.
    pub verdicts: Vec<Verdict>,
    /// The best score of each label, whether it counts or not.
    pub scores: Vec<(Label, Millionths)>,
    /// Which weights judged.
    pub bundle: String,
}

impl Judgement {
    /// Whether anything counts.
    pub fn flagged(&self) -> bool {
        self.verdicts.iter().any(Verdict::counts)
    }
}
