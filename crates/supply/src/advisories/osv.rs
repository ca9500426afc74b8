//! OSV records (schema 1.x), as far as facts go: ids, packages, ranges, scores, dates.
//! `GIT` ranges are about commits and are left out.

use super::score;
use super::span::{Event, Span, intervals};
use crate::component::{Ecosystem, normal_name};
use crate::version::Version;
use ringfence_core::json::parse_strict;
use ringfence_core::severity::{Cvss, Severity};
use ringfence_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// LIMIT: octets of an id or a package name.
const NAME_BYTES_MAX: usize = 256;
/// LIMIT: aliases of one record.
const ALIASES_MAX: usize = 256;

/// What a record says of a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A flaw.
    Vulnerability,
    /// The package is malware.
    Malicious,
    /// Nobody looks after it.
    Unmaintained,
    /// Sound use can break memory safety.
    Unsound,
    /// Something else worth knowing.
    Notice,
}

impl Kind {
    pub(super) const ALL: [Self; 5] = [
        Self::Vulnerability,
        Self::Malicious,
        Self::Unmaintained,
        Self::Unsound,
        Self::Notice,
    ];
}

/// One package of a record.
#[derive(Clone, Debug)]
pub(super) struct Affected {
    pub(super) ecosystem: Ecosystem,
    pub(super) name: String,
    pub(super) spans: Vec<Span>,
}

/// A record reduced to facts.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) id: String,
    pub(super) aliases: Vec<String>,
    pub(super) modified: Option<Timestamp>,
    pub(super) kind: Kind,
    pub(super) cvss: Option<Cvss>,
    pub(super) stated: Option<Severity>,
    pub(super) affected: Vec<Affected>,
    /// Our ecosystems that it names, also when nothing of it could be used.
    pub(super) ecosystems: BTreeSet<Ecosystem>,
    /// Ranges or names of our ecosystems that could not be used.
    pub(super) unusable: u64,
}

/// What became of one JSON document.
pub(super) enum Reading {
    Live(Record),
    Withdrawn(BTreeSet<Ecosystem>),
    /// Only about ecosystems that are not ours.
    Foreign,
    Unreadable,
}

#[derive(Deserialize)]
struct RawRecord {
    id: String,
    #[serde(default)]
    modified: Option<String>,
    #[serde(default)]
    withdrawn: Option<String>,
    #[serde(default)]
    aliases: Option<Vec<String>>,
    #[serde(default)]
    severity: Option<Vec<RawSeverity>>,
    #[serde(default)]
    affected: Option<Vec<RawAffected>>,
    #[serde(default)]
    database_specific: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct RawSeverity {
    score: String,
}

#[derive(Deserialize)]
struct RawAffected {
    #[serde(default)]
    package: Option<RawPackage>,
    #[serde(default)]
    ranges: Option<Vec<RawRange>>,
    #[serde(default)]
    versions: Option<Vec<String>>,
    #[serde(default)]
    severity: Option<Vec<RawSeverity>>,
    #[serde(default)]
    database_specific: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct RawPackage {
    ecosystem: String,
    name: String,
}

#[derive(Deserialize)]
struct RawRange {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    events: Vec<Event>,
}

/// Reads one OSV document. Strict: duplicate keys make it unreadable.
pub(super) fn read(bytes: &[u8]) -> Reading {
    let record = parse_strict(bytes)
        .ok()
        .and_then(|v| serde_json::from_value::<RawRecord>(v).ok());
    let Some(raw) = record.filter(|r| !r.id.is_empty() && r.id.len() <= NAME_BYTES_MAX) else {
        return Reading::Unreadable;
    };
    let blocks = raw.affected.unwrap_or_default();
    let ours: BTreeSet<Ecosystem> = blocks.iter().filter_map(ecosystem).collect();
    if ours.is_empty() {
        return Reading::Foreign;
    }
    if raw.withdrawn.is_some() {
        return Reading::Withdrawn(ours);
    }
    let severities = blocks.iter().flat_map(|b| b.severity.iter().flatten());
    let cvss = raw
        .severity
        .iter()
        .flatten()
        .chain(severities)
        .filter_map(|s| score::score(&s.score));
    let cvss = cvss.max_by_key(|c| c.tenths);
    let field = |value: &Option<serde_json::Value>, key: &str| {
        value.as_ref()?.get(key)?.as_str().map(str::to_owned)
    };
    let informational = blocks
        .iter()
        .find_map(|block| field(&block.database_specific, "informational"));
    let mut aliases = raw.aliases.unwrap_or_default();
    aliases.retain(|a| !a.is_empty() && a.len() <= NAME_BYTES_MAX);
    aliases.truncate(ALIASES_MAX);
    let mut unusable = 0;
    let affected = blocks
        .into_iter()
        .filter_map(|b| affected(b, &mut unusable))
        .collect();
    Reading::Live(Record {
        kind: kind(&raw.id, informational.as_deref()),
        stated: field(&raw.database_specific, "severity").and_then(|w| score::word(&w)),
        modified: raw.modified.and_then(|text| Timestamp::parse(&text).ok()),
        id: raw.id,
        aliases,
        cvss,
        affected,
        ecosystems: ours,
        unusable,
    })
}

fn ecosystem(block: &RawAffected) -> Option<Ecosystem> {
    Ecosystem::of_osv(&block.package.as_ref()?.ecosystem)
}

fn kind(id: &str, informational: Option<&str>) -> Kind {
    match informational {
        _ if id.starts_with("MAL-") => Kind::Malicious,
        Some("unmaintained") => Kind::Unmaintained,
        Some("unsound") => Kind::Unsound,
        Some("notice") => Kind::Notice,
        _ => Kind::Vulnerability,
    }
}

fn affected(block: RawAffected, unusable: &mut u64) -> Option<Affected> {
    let ecosystem = ecosystem(&block)?;
    let name = normal_name(ecosystem, &block.package?.name);
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        *unusable += 1;
        return None;
    }
    let mut spans = Vec::new();
    for range in block.ranges.unwrap_or_default() {
        match range.kind.as_str() {
            "ECOSYSTEM" | "SEMVER" => match intervals(ecosystem, &range.events) {
                Some(found) => spans.extend(found),
                None => *unusable += 1,
            },
            "GIT" => {}
            _ => *unusable += 1,
        }
    }
    // A listed version that a range covers says nothing new: only contradictions are kept.
    let mut exact = BTreeSet::new();
    for version in block.versions.unwrap_or_default() {
        let parsed = Version::parse(ecosystem, &version);
        if version.len() > NAME_BYTES_MAX {
            *unusable += 1;
        } else if !spans
            .iter()
            .any(|s| s.covers(ecosystem, &version, parsed.as_ref()))
        {
            exact.insert(version);
        }
    }
    spans.extend(exact.into_iter().map(Span::Exact));
    if spans.is_empty() {
        *unusable += 1;
        return None;
    }
    Some(Affected {
        ecosystem,
        name,
        spans,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: &str, package: &str, aliases: usize) -> Reading {
        let aliases: Vec<String> = (0..aliases).map(|n| format!("\"A-{n}\"")).collect();
        let text = format!(
            r#"{{"id":"{id}","aliases":[{}],"affected":[{{"package":{{"ecosystem":"npm","name":"{package}"}},"versions":["1.0.0"]}}]}}"#,
            aliases.join(",")
        );
        read(text.as_bytes())
    }

    #[test]
    fn ids_names_and_aliases_are_held_to_their_limits() {
        let name = |length: usize| "n".repeat(length);
        assert!(matches!(
            record(&name(NAME_BYTES_MAX), "p", 0),
            Reading::Live(_)
        ));
        assert!(matches!(
            record(&name(NAME_BYTES_MAX + 1), "p", 0),
            Reading::Unreadable
        ));
        for (length, usable) in [(NAME_BYTES_MAX, 1), (NAME_BYTES_MAX + 1, 0)] {
            let Reading::Live(live) = record("X-1", &name(length), 0) else {
                panic!("{length}")
            };
            assert_eq!(live.affected.len(), usable);
            assert_eq!(live.unusable, u64::from(usable == 0));
        }
        for count in [ALIASES_MAX, ALIASES_MAX + 1] {
            let Reading::Live(live) = record("X-1", "p", count) else {
                panic!("{count}")
            };
            assert_eq!(live.aliases.len(), ALIASES_MAX);
        }
    }
}
