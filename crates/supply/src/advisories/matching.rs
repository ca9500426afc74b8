//! What an index says of one component.

use super::format::{Advisory, Entry, Index};
use super::osv::Kind;
use super::span::{End, Span};
use crate::component::{Component, Ecosystem};
use crate::version::Version;
use ringfence_core::severity::{Cvss, Severity};
use ringfence_core::time::Timestamp;
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// What a severity rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeveritySource {
    /// The highest CVSS score of the group.
    Cvss,
    /// A word of the advisory database.
    Stated,
    /// What kind of record it is: malware, unmaintained, …
    Kind,
    /// Nothing was published. Counted as high: a flaw nobody has scored is not a small one.
    Unknown,
}

/// One flaw of one component: all records of its alias group that cover the version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// The name of the alias group: a CVE id if it has one.
    pub group: String,
    /// The other names of the same flaw.
    pub aliases: Vec<String>,
    /// What the record says of the package.
    pub kind: Kind,
    /// The highest score of the group with its vector.
    pub cvss: Option<Cvss>,
    /// How bad.
    pub severity: Severity,
    /// What that rests on.
    pub severity_source: SeveritySource,
    /// The lowest published version above this one that no record of the group covers.
    pub fixed: Option<String>,
    /// The interval that matched, for people: `>=1.0, <1.2.3`.
    pub range: String,
    /// When the data of this ecosystem was last changed.
    pub index_date: Option<Timestamp>,
}

/// What an index says of one component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// Nothing is known about the ecosystem: no answer, and not a clean one.
    NoData,
    /// The version has no place in the order of its ecosystem. `matches` are the records that
    /// name it literally; whether the others cover it cannot be said.
    NotOrdered {
        /// Advisories about the package.
        advisories: u64,
        /// Those that name exactly this version.
        matches: Vec<Match>,
    },
    /// The flaws that are known, worst first; empty if there are none.
    Known(Vec<Match>),
}

impl Lookup {
    /// The flaws found, whatever could not be said beside them.
    pub fn matches(&self) -> &[Match] {
        match self {
            Self::NoData => &[],
            Self::NotOrdered { matches, .. } | Self::Known(matches) => matches,
        }
    }
}

/// The records of one alias group that name the package.
#[derive(Default)]
struct Group {
    advisories: Vec<Advisory>,
    spans: Vec<Span>,
    matched: Option<Span>,
}

impl Index {
    /// What is known of one component.
    pub fn match_component(&self, component: &Component) -> Lookup {
        let ecosystem = component.ecosystem;
        if !self.has(ecosystem) {
            return Lookup::NoData;
        }
        let Some(mut entries) = self.find(ecosystem, &component.name) else {
            return Lookup::Known(Vec::new());
        };
        let advisories = entries.len();
        let text = component.version.trim();
        let version = Version::parse(ecosystem, text);
        let mut hits: Vec<(Entry, Option<Span>)> = Vec::new();
        let mut any = false;
        while let Ok(Some(entry)) = entries.next_entry() {
            let covers = |span: &&Span| span.covers(ecosystem, text, version.as_ref());
            let hit = entry.spans.iter().find(covers).cloned();
            any |= hit.is_some();
            hits.push((entry, hit));
        }
        let matches = if any {
            self.groups(component, version.as_ref(), hits)
        } else {
            Vec::new()
        };
        match version {
            Some(_) => Lookup::Known(matches),
            None => Lookup::NotOrdered {
                advisories,
                matches,
            },
        }
    }

    fn groups(
        &self,
        component: &Component,
        version: Option<&Version<'_>>,
        hits: Vec<(Entry, Option<Span>)>,
    ) -> Vec<Match> {
        let mut groups: BTreeMap<String, Group> = BTreeMap::new();
        for (entry, hit) in hits {
            let Some(advisory) = self.advisory(entry.advisory) else {
                continue;
            };
            let Some(name) = advisory.ids.get(advisory.group).cloned() else {
                continue;
            };
            let group = groups.entry(name).or_default();
            group.spans.extend(entry.spans);
            if hit.is_some() {
                group.advisories.push(advisory);
                group.matched = group.matched.take().or(hit);
            }
        }
        let date = self
            .header()
            .ecosystems
            .iter()
            .find(|h| h.ecosystem == component.ecosystem);
        let date = date.and_then(|h| h.newest);
        let mut matches: Vec<Match> = groups
            .into_iter()
            .filter_map(|(name, group)| describe(name, group, component.ecosystem, version, date))
            .collect();
        let key = |m: &Match| (m.severity, m.cvss.as_ref().map_or(0, |c| c.tenths));
        matches.sort_by(|a, b| key(b).cmp(&key(a)).then_with(|| a.group.cmp(&b.group)));
        matches
    }
}

fn describe(
    name: String,
    group: Group,
    ecosystem: Ecosystem,
    version: Option<&Version<'_>>,
    index_date: Option<Timestamp>,
) -> Option<Match> {
    let range = written(group.matched.as_ref()?);
    let fixed = version.and_then(|v| fixed(&group.spans, ecosystem, v));
    let cvss = group
        .advisories
        .iter()
        .filter_map(|a| a.cvss.clone())
        .max_by_key(|c| c.tenths);
    let stated = group.advisories.iter().filter_map(|a| a.stated).max();
    // The most serious kind names the match: a flaw is not made a notice by a second record.
    let order = [
        Kind::Malicious,
        Kind::Vulnerability,
        Kind::Unsound,
        Kind::Unmaintained,
    ];
    let has = |kind: &Kind| group.advisories.iter().any(|a| a.kind == *kind);
    let kind = order.into_iter().find(has).unwrap_or(Kind::Notice);
    let (severity, severity_source) = match (kind, &cvss, stated) {
        (Kind::Malicious, ..) => (Severity::Critical, SeveritySource::Kind),
        (_, Some(cvss), _) => (Severity::of_tenths(cvss.tenths), SeveritySource::Cvss),
        (_, None, Some(stated)) => (stated, SeveritySource::Stated),
        (Kind::Unsound, ..) => (Severity::Medium, SeveritySource::Kind),
        (Kind::Unmaintained, ..) => (Severity::Low, SeveritySource::Kind),
        (Kind::Notice, ..) => (Severity::Info, SeveritySource::Kind),
        (Kind::Vulnerability, ..) => (Severity::High, SeveritySource::Unknown),
    };
    let mut aliases: Vec<String> = group.advisories.into_iter().flat_map(|a| a.ids).collect();
    aliases.retain(|id| *id != name);
    aliases.sort();
    aliases.dedup();
    Some(Match {
        group: name,
        aliases,
        kind,
        cvss,
        severity,
        severity_source,
        fixed,
        range,
        index_date,
    })
}

/// The lowest end of an interval above the version that lies in no interval of the group.
fn fixed(spans: &[Span], ecosystem: Ecosystem, version: &Version<'_>) -> Option<String> {
    let mut best: Option<(&str, Version<'_>)> = None;
    for span in spans {
        let Span::Range {
            end: End::Before(text),
            ..
        } = span
        else {
            continue;
        };
        let Some(candidate) = Version::parse(ecosystem, text) else {
            continue;
        };
        let above = version.order(&candidate) == Ordering::Less;
        let lower = best
            .as_ref()
            .is_none_or(|(_, b)| candidate.order(b) == Ordering::Less);
        if above
            && lower
            && !spans
                .iter()
                .any(|s| s.covers(ecosystem, text, Some(&candidate)))
        {
            best = Some((text, candidate));
        }
    }
    best.map(|(text, _)| text.to_owned())
}

fn written(span: &Span) -> String {
    match span {
        Span::Exact(text) => format!("={text}"),
        Span::Range {
            from: None,
            end: End::Open,
        } => "every version".to_owned(),
        Span::Range { from, end } => {
            let from = from.as_ref().map(|from| format!(">={from}"));
            let end = match end {
                End::Open => None,
                End::Before(text) => Some(format!("<{text}")),
                End::UpTo(text) => Some(format!("<={text}")),
            };
            from.into_iter().chain(end).collect::<Vec<_>>().join(", ")
        }
    }
}
