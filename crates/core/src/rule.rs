//! A rule as data: what it matches, why, how to fix it, and the cases that prove it.

use crate::ids::RuleId;
use crate::severity::Severity;
use serde::{Deserialize, Serialize};

/// How a rule matches. An operator that is not listed refuses the rule; it never widens it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub enum Matcher {
    /// Any of these literal texts.
    Literal {
        /// The texts.
        any: Vec<String>,
    },
    /// A linear-time regular expression, optionally guarded by keywords nearby.
    Regex {
        /// The pattern.
        pattern: String,
        /// At least one of these must stand within the same window.
        #[serde(default)]
        keywords: Vec<String>,
        /// Shannon entropy in bits per character that the first group must reach, times ten.
        #[serde(default)]
        entropy_tenths_min: Option<u32>,
    },
}

/// Inline cases. A card with fewer than one positive and two negative cases is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleTests {
    /// Texts that must match.
    pub must_match: Vec<String>,
    /// Texts that must not.
    pub must_not_match: Vec<String>,
}

/// One rule with everything a reader and a judge need.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleCard {
    /// `stage/kebab-name`.
    pub id: RuleId,
    /// One line.
    pub title: String,
    /// Why it matters.
    pub why: String,
    /// What an attacker gains.
    pub impact: String,
    /// How to mend it.
    pub fix: String,
    /// What to do until then.
    pub mitigation: String,
    /// How bad a hit is.
    pub severity: Severity,
    /// How it matches.
    pub matcher: Matcher,
    /// What proves it.
    pub tests: RuleTests,
    /// Who wrote it.
    pub authors: Vec<String>,
    /// Where the knowledge comes from.
    pub source: String,
    /// Licence of the card.
    pub licence: String,
    /// CWE, OWASP LLM, MITRE ATLAS.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Release it first stood in.
    pub since: String,
}

/// Why a card is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RuleError {
    /// Too few cases.
    #[error("rule {0} needs one positive and two negative cases")]
    Cases(RuleId),
}

impl RuleCard {
    /// Refuses a card without its cases.
    pub fn checked(self) -> Result<Self, RuleError> {
        if self.tests.must_match.is_empty() || self.tests.must_not_match.len() < 2 {
            return Err(RuleError::Cases(self.id));
        }
        Ok(self)
    }
}
