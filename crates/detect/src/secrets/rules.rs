//! Reads `rules/secrets.toml` into rule cards and compiled rules.

use crate::error::DetectError;
use crate::pattern::{Alphabet, Pattern};
use crate::rulefile::{self, Defaults, Own};
use ringfence_core::rule::{RuleCard, RuleTests};
use ringfence_core::severity::Severity;
use serde::Deserialize;

const FILE: &str = "rules/secrets.toml";
const TEXT: &str = include_str!("../../rules/secrets.toml");

/// Checks beyond form and entropy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Checksum {
    /// Six base-62 digits of a CRC-32 at the end.
    Crc32Base62,
}

/// Where a value without a form of its own stands, and so what else speaks against it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Context {
    /// Given to a name.
    Assignment,
    /// Between a user and a host.
    Address,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    defaults: Defaults,
    rule: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: String,
    provider: String,
    title: String,
    keywords: Vec<String>,
    pattern: String,
    #[serde(default)]
    lead: usize,
    #[serde(default)]
    stream: bool,
    #[serde(default)]
    extend: usize,
    entropy_tenths_min: Option<u32>,
    severity: Option<Severity>,
    checksum: Option<Checksum>,
    #[serde(default)]
    generic: bool,
    context: Option<Context>,
    must_match: Vec<String>,
    must_not_match: Vec<String>,
}

/// One compiled rule.
#[derive(Clone, Debug)]
pub(crate) struct SecretRule {
    pub(crate) card: RuleCard,
    pub(crate) provider: String,
    pub(crate) keywords: Vec<String>,
    pub(crate) pattern: Pattern,
    pub(crate) lead: usize,
    pub(crate) stream: bool,
    pub(crate) extend: usize,
    pub(crate) entropy_tenths_min: u32,
    pub(crate) checksum: Option<Checksum>,
    pub(crate) generic: bool,
    pub(crate) context: Option<Context>,
}

impl SecretRule {
    /// Bytes of the longest match.
    pub(crate) fn bytes_max(&self) -> usize {
        self.pattern.bytes_max + self.extend
    }
}

/// All rules, in the order of the file: earlier ones win a tie.
pub(crate) fn load() -> Result<Vec<SecretRule>, DetectError> {
    let File { defaults, rule } = rulefile::read(FILE, TEXT)?;
    rule.into_iter()
        .map(|entry| compile(entry, &defaults))
        .collect()
}

fn compile(entry: Entry, defaults: &Defaults) -> Result<SecretRule, DetectError> {
    let pattern = Pattern::new(&entry.id, &entry.pattern, Alphabet::Ascii)?;
    let card = defaults.card(Own {
        id: entry.id,
        title: entry.title,
        severity: entry.severity,
        pattern: entry.pattern,
        keywords: entry.keywords.clone(),
        entropy_tenths_min: entry.entropy_tenths_min,
        tests: RuleTests {
            must_match: entry.must_match,
            must_not_match: entry.must_not_match,
        },
    })?;
    Ok(SecretRule {
        card,
        provider: entry.provider,
        keywords: entry.keywords,
        pattern,
        lead: entry.lead,
        stream: entry.stream,
        extend: entry.extend,
        entropy_tenths_min: entry.entropy_tenths_min.unwrap_or(0),
        checksum: entry.checksum,
        generic: entry.generic,
        context: entry.context,
    })
}
