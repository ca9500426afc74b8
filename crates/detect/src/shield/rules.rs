//! Reads the shield's rule files into cards and compiled rules.

use crate::error::DetectError;
use crate::pattern::{Alphabet, Pattern};
use crate::rulefile::{self, Defaults, Own};
use ringfence_core::detection::Label;
use ringfence_core::rule::{RuleCard, RuleTests};
use serde::Deserialize;

const FILES: [(&str, &str); 4] = [
    (
        "rules/injection.toml",
        include_str!("../../rules/injection.toml"),
    ),
    (
        "rules/jailbreak.toml",
        include_str!("../../rules/jailbreak.toml"),
    ),
    (
        "rules/extraction.toml",
        include_str!("../../rules/extraction.toml"),
    ),
    ("rules/data.toml", include_str!("../../rules/data.toml")),
];

/// What a blank of a pattern stands for.
const BLANK: &str = "(?:[ \\n,;:\"'*_\\-\u{2019}]{1,3})";
/// What a tilde of a pattern stands for.
const GAP: &str = "(?:[^.!?\u{3002}]{0,48}?)";

/// Where a rule applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Channels {
    /// Wherever text can come from outside.
    All,
    /// Only where nobody should give orders: tool results, tool descriptions and documents.
    Data,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    channels: Channels,
    defaults: Defaults,
    rule: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: String,
    title: String,
    label: Label,
    keywords: Vec<String>,
    pattern: String,
    must_match: Vec<String>,
    must_not_match: Vec<String>,
}

/// One compiled rule.
#[derive(Clone, Debug)]
pub(crate) struct ShieldRule {
    pub(crate) card: RuleCard,
    pub(crate) label: Label,
    pub(crate) channels: Channels,
    pub(crate) keywords: Vec<String>,
    pub(crate) pattern: Pattern,
}

/// All rules.
pub(crate) fn load() -> Result<Vec<ShieldRule>, DetectError> {
    let mut rules = Vec::new();
    for (name, text) in FILES {
        let file: File = rulefile::read(name, text)?;
        for entry in file.rule {
            rules.push(compile(entry, file.channels, &file.defaults)?);
        }
    }
    Ok(rules)
}

fn compile(
    entry: Entry,
    channels: Channels,
    defaults: &Defaults,
) -> Result<ShieldRule, DetectError> {
    let expression = entry.pattern.replace(' ', BLANK).replace('~', GAP);
    let pattern = Pattern::new(&entry.id, &expression, Alphabet::Unicode)?;
    let card = defaults.card(Own {
        id: entry.id,
        title: entry.title,
        severity: None,
        pattern: expression,
        keywords: entry.keywords.clone(),
        entropy_tenths_min: None,
        tests: RuleTests {
            must_match: entry.must_match,
            must_not_match: entry.must_not_match,
        },
    })?;
    Ok(ShieldRule {
        card,
        label: entry.label,
        channels,
        keywords: entry.keywords,
        pattern,
    })
}
