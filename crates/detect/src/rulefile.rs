//! What all rule files share: how one is read, its defaults, and how a rule becomes a card.

use crate::error::DetectError;
use ringfence_core::rule::{Matcher, RuleCard, RuleTests};
use ringfence_core::severity::Severity;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// What holds for every rule of a file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Defaults {
    why: String,
    impact: String,
    fix: String,
    mitigation: String,
    severity: Severity,
    authors: Vec<String>,
    source: String,
    licence: String,
    tags: Vec<String>,
    since: String,
}

/// What a rule says for itself.
pub(crate) struct Own {
    pub(crate) id: String,
    pub(crate) title: String,
    /// Where it differs from the file's.
    pub(crate) severity: Option<Severity>,
    pub(crate) pattern: String,
    pub(crate) keywords: Vec<String>,
    pub(crate) entropy_tenths_min: Option<u32>,
    pub(crate) tests: RuleTests,
}

/// Reads a rule file; the name stands in the error.
pub(crate) fn read<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, DetectError> {
    toml::from_str(text).map_err(|e| DetectError::RuleFile {
        file: file.to_owned(),
        reason: e.to_string(),
    })
}

impl Defaults {
    /// The checked card of a rule. A rule without a keyword would be tried at every octet, and is
    /// refused.
    pub(crate) fn card(&self, own: Own) -> Result<RuleCard, DetectError> {
        let rule = own.id.clone();
        let refuse = |reason: String| DetectError::Rule {
            rule: rule.clone(),
            reason,
        };
        let id = own
            .id
            .parse()
            .map_err(|_| refuse("the id is not well formed".to_owned()))?;
        if own.keywords.is_empty() {
            return Err(refuse("it has no keyword".to_owned()));
        }
        RuleCard {
            id,
            title: own.title,
            why: self.why.clone(),
            impact: self.impact.clone(),
            fix: self.fix.clone(),
            mitigation: self.mitigation.clone(),
            severity: own.severity.unwrap_or(self.severity),
            matcher: Matcher::Regex {
                pattern: own.pattern,
                keywords: own.keywords,
                entropy_tenths_min: own.entropy_tenths_min,
            },
            tests: own.tests,
            authors: self.authors.clone(),
            source: self.source.clone(),
            licence: self.licence.clone(),
            tags: self.tags.clone(),
            since: self.since.clone(),
        }
        .checked()
        .map_err(|e| refuse(e.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULTS: &str = "why = 'w'\nimpact = 'i'\nfix = 'f'\nmitigation = 'm'\nseverity = 'low'\n\
        authors = ['a']\nsource = 's'\nlicence = 'l'\ntags = ['LLM02:2025']\nsince = '0.1.0'\n";

    fn card(id: &str, keywords: &[&str]) -> Result<RuleCard, DetectError> {
        let defaults: Defaults = read("rules/x.toml", DEFAULTS)?;
        defaults.card(Own {
            id: id.to_owned(),
            title: "t".to_owned(),
            severity: None,
            pattern: "key".to_owned(),
            keywords: keywords.iter().map(|k| (*k).to_owned()).collect(),
            entropy_tenths_min: None,
            tests: RuleTests {
                must_match: vec!["key".to_owned()],
                must_not_match: vec!["none".to_owned(), "lock".to_owned()],
            },
        })
    }

    #[test]
    fn a_rule_takes_what_it_does_not_say_from_its_file() {
        let card = card("secret/x", &["key"]).unwrap();
        assert_eq!(
            (card.why.as_str(), card.severity, card.since.as_str()),
            ("w", Severity::Low, "0.1.0")
        );
    }

    #[test]
    fn a_rule_without_keyword_or_with_a_bad_id_is_refused_by_name() {
        let said = |r: Result<RuleCard, DetectError>| r.unwrap_err().to_string();
        let none = said(card("secret/x", &[]));
        assert!(
            none.contains("secret/x") && none.contains("no keyword"),
            "{none}"
        );
        let bad = said(card("not an id", &["key"]));
        assert!(
            bad.contains("not an id") && bad.contains("not well formed"),
            "{bad}"
        );
    }

    #[test]
    fn a_key_nobody_knows_is_refused_with_the_file() {
        let text = format!("{DEFAULTS}colour = 'red'\n");
        let said = read::<Defaults>("rules/x.toml", &text)
            .err()
            .map(|e| e.to_string());
        let said = said.unwrap_or_default();
        assert!(
            said.contains("rules/x.toml") && said.contains("colour"),
            "{said}"
        );
    }
}
