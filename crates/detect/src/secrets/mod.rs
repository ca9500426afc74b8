//! Keys and passwords in text: rule cards per provider, keywords first, then form, entropy and
//! checksum.
//!
//! [`Secrets`] looks at whole files with all rules; [`SecretDetector`] is the part that also
//! works on streams. What a person writes in the place of a secret is not reported. Whether a key
//! is alive is not asked: that would send it out of the house.

mod engine;
pub mod fixture;
mod ordinary;
mod pem;
mod rules;
mod value;

use crate::error::DetectError;
use crate::lexer::{End, Found, Lexer, Next, scan_all};
use engine::{Engine, Outcome, RawHit, Source};
use ringfence_core::detection::{Bound, Detector, Hit, Label};
use ringfence_core::ids::RuleId;
use ringfence_core::rule::RuleCard;
use ringfence_core::severity::{Confidence, Severity};
use std::ops::Range;

/// The rule id of private key blocks, the one rule that is code and not a card.
pub const PRIVATE_KEY_RULE: &str = "secret/private-key";

/// A secret in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretHit {
    /// Which rule.
    pub rule: RuleId,
    /// What it is, in words.
    pub title: String,
    /// Whose key it is.
    pub provider: String,
    /// Bytes of the secret itself.
    pub span: Range<usize>,
    /// Line of its first byte, from 1.
    pub line: u32,
    /// A checksum is high, a form medium, entropy alone low.
    pub confidence: Confidence,
    /// How bad it is when it is alive.
    pub severity: Severity,
    /// What to do.
    pub fix: String,
    /// What to do until then.
    pub mitigation: String,
    /// The first characters and the length: enough to find it, not to use it.
    pub redacted: String,
}

/// The scanner of whole texts.
#[derive(Clone, Debug)]
pub struct Secrets {
    engine: Engine,
}

// LIMIT: characters of a secret that a report shows.
const SHOWN_CHARACTERS: usize = 4;

impl Secrets {
    /// All rules. An error means that a rule file inside the binary is broken.
    pub fn new() -> Result<Self, DetectError> {
        Ok(Self {
            engine: Engine::new(rules::load()?)?,
        })
    }

    /// The cards, for documentation and reports.
    pub fn cards(&self) -> impl Iterator<Item = &RuleCard> {
        self.engine.rules.iter().map(|rule| &rule.card)
    }

    /// Every secret in the text, in order, none overlapping another.
    pub fn scan(&self, text: &str) -> Vec<SecretHit> {
        let mut hits = Vec::new();
        let (mut from, mut counted, mut line) = (0, 0, 1_u32);
        while let Outcome::Hit(raw) = self.engine.next(text, from, End::Closed) {
            let between = text
                .as_bytes()
                .get(counted..raw.span.start)
                .unwrap_or_default();
            let lines = between.split(|b| *b == b'\n').count() - 1;
            line = line.saturating_add(u32::try_from(lines).unwrap_or(u32::MAX));
            counted = counted.max(raw.span.start);
            from = raw.span.end.max(from + 1);
            hits.push(self.describe(text, &raw, line));
        }
        hits
    }

    fn describe(&self, text: &str, raw: &RawHit, line: u32) -> SecretHit {
        let value = text.get(raw.span.clone()).unwrap_or_default();
        let card = match raw.source {
            Source::Rule(index) => self.engine.rules.get(index),
            Source::Pem => None,
        };
        let shown: String = value.chars().take(SHOWN_CHARACTERS).collect();
        let words = |from: fn(&RuleCard) -> &str, other: &str| {
            card.map_or_else(|| other.to_owned(), |rule| from(&rule.card).to_owned())
        };
        SecretHit {
            rule: card.map_or_else(|| RuleId::of(PRIVATE_KEY_RULE), |rule| rule.card.id.clone()),
            title: words(|c| &c.title, "private key"),
            provider: card.map_or_else(|| "any service".to_owned(), |rule| rule.provider.clone()),
            span: raw.span.clone(),
            line,
            confidence: raw.confidence,
            severity: card.map_or(Severity::Critical, |rule| rule.card.severity),
            fix: words(
                |c| &c.fix,
                "Replace the key pair and every certificate made with it.",
            ),
            mitigation: words(
                |c| &c.mitigation,
                "Stop what trusts the key until it is replaced.",
            ),
            redacted: format!("{shown}\u{2026} ({} characters)", value.chars().count()),
        }
    }
}

/// The stream form: the rules whose match is one unbroken token, and private key blocks.
#[derive(Clone, Debug)]
pub struct SecretDetector {
    engine: Engine,
}

impl SecretDetector {
    /// The rules that a stream can decide.
    pub fn new() -> Result<Self, DetectError> {
        let rules = rules::load()?
            .into_iter()
            .filter(|rule| rule.stream)
            .collect();
        Ok(Self {
            engine: Engine::new(rules)?,
        })
    }
}

impl Detector for SecretDetector {
    fn id(&self) -> &'static str {
        "detect/secret"
    }

    fn labels(&self) -> &[Label] {
        &[Label::Secret]
    }

    fn bound(&self) -> Bound {
        Bound::Bytes(self.engine.bound())
    }

    fn scan(&self, text: &str, hits: &mut Vec<Hit>) {
        scan_all(self, text, hits);
    }
}

impl Lexer for SecretDetector {
    fn left_context(&self) -> usize {
        self.engine.left_context()
    }

    fn next(&self, text: &str, from: usize, end: End) -> Next {
        match self.engine.next(text, from, end) {
            Outcome::ClearTo(offset) => Next::ClearTo(offset),
            Outcome::Hit(raw) => Next::Hit(Found {
                rule: match raw.source {
                    Source::Rule(index) => self
                        .engine
                        .rules
                        .get(index)
                        .map_or_else(|| RuleId::of(PRIVATE_KEY_RULE), |rule| rule.card.id.clone()),
                    Source::Pem => RuleId::of(PRIVATE_KEY_RULE),
                },
                label: Label::Secret,
                span: raw.span,
                score: match raw.confidence {
                    Confidence::High => 1000,
                    Confidence::Medium => 800,
                    Confidence::Low => 500,
                },
            }),
        }
    }
}

#[cfg(test)]
mod tests;
