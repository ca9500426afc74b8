//! Intervals of versions, by the evaluation that the OSV schema describes: events in version
//! order, `introduced` opens, `fixed` closes before, `last_affected` closes after, `limit` cuts.

use crate::component::Ecosystem;
use crate::version::Version;
use serde::Deserialize;
use std::cmp::Ordering;

/// One event of a range; OSV sets exactly one of the fields.
#[derive(Clone, Deserialize)]
pub(super) struct Event {
    introduced: Option<String>,
    fixed: Option<String>,
    last_affected: Option<String>,
    limit: Option<String>,
}

/// The end of an interval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    Open,
    Before(String),
    UpTo(String),
}

/// Versions that a record names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Span {
    Exact(String),
    Range { from: Option<String>, end: End },
}

impl Span {
    /// Whether the span covers a version; `version` is the parsed form of `text`.
    pub(super) fn covers(
        &self,
        ecosystem: Ecosystem,
        text: &str,
        version: Option<&Version<'_>>,
    ) -> bool {
        let order = |bound: &str| {
            let bound = Version::parse(ecosystem, bound)?;
            Some(version?.order_against_bound(&bound))
        };
        match self {
            Self::Exact(exact) => text == exact || order(exact) == Some(Ordering::Equal),
            Self::Range { from, end } => {
                let begun = from
                    .as_deref()
                    .is_none_or(|from| order(from).is_some_and(|o| o != Ordering::Less));
                begun
                    && version.is_some()
                    && match end {
                        End::Open => true,
                        End::Before(fixed) => order(fixed) == Some(Ordering::Less),
                        End::UpTo(last) => order(last).is_some_and(|o| o != Ordering::Greater),
                    }
            }
        }
    }
}

/// What an event does. The order decides at one version: a fix that is at once re-introduced stays
/// open, and a single version can be introduced and last.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Act {
    Fixed,
    Introduced,
    Last,
}
/// The events of one range as intervals; `None` if a version in it has no place in the order.
pub(super) fn intervals(ecosystem: Ecosystem, events: &[Event]) -> Option<Vec<Span>> {
    let mut acts: Vec<(Option<(&str, Version<'_>)>, Act)> = Vec::new();
    let mut limit: Option<(&str, Version<'_>)> = None;
    for event in events {
        let stated = [
            (&event.introduced, Act::Introduced),
            (&event.fixed, Act::Fixed),
            (&event.last_affected, Act::Last),
        ];
        for (text, act) in stated {
            let Some(text) = text.as_deref() else {
                continue;
            };
            if act == Act::Introduced && text == "0" {
                acts.push((None, act));
            } else {
                acts.push((Some((text, Version::parse(ecosystem, text)?)), act));
            }
        }
        if let Some(text) = event.limit.as_deref().filter(|l| *l != "*") {
            let version = Version::parse(ecosystem, text)?;
            if limit.is_none_or(|(_, highest)| version.order(&highest) == Ordering::Greater) {
                limit = Some((text, version));
            }
        }
    }
    acts.sort_by(|(a, act), (b, other)| {
        let order = match (a, b) {
            (Some((_, a)), Some((_, b))) => a.order(b),
            (a, b) => a.is_some().cmp(&b.is_some()),
        };
        order.then(act.cmp(other))
    });
    let mut spans = Vec::new();
    let mut open: Option<Option<&str>> = None;
    for (version, act) in acts {
        let text = version.map(|(text, _)| text);
        match (act, open, text) {
            (Act::Introduced, None, text) => open = Some(text),
            (Act::Fixed, Some(from), Some(text)) => {
                spans.push((from, End::Before(text.to_owned())));
                open = None;
            }
            (Act::Last, Some(from), Some(text)) => {
                spans.push((from, End::UpTo(text.to_owned())));
                open = None;
            }
            _ => {}
        }
    }
    spans.extend(open.map(|from| (from, End::Open)));
    let cut = |end| match (end, limit) {
        (End::Open, Some((text, _))) => End::Before(text.to_owned()),
        (End::Before(text) | End::UpTo(text), Some((limit, version)))
            if Version::parse(ecosystem, &text)
                .is_some_and(|v| v.order(&version) != Ordering::Less) =>
        {
            End::Before(limit.to_owned())
        }
        (end, _) => end,
    };
    let owned = |(from, end): (Option<&str>, End)| Span::Range {
        from: from.map(str::to_owned),
        end: cut(end),
    };
    Some(spans.into_iter().map(owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covered(events: &str, versions: &[&str]) -> Vec<bool> {
        let events: Vec<Event> = serde_json::from_str(events).unwrap();
        let spans = intervals(Ecosystem::Npm, &events).unwrap();
        let covers = |v: &&str| {
            let parsed = Version::parse(Ecosystem::Npm, v);
            spans
                .iter()
                .any(|s| s.covers(Ecosystem::Npm, v, parsed.as_ref()))
        };
        versions.iter().map(covers).collect()
    }

    #[test]
    fn events_are_evaluated_in_version_order_whatever_order_they_stand_in() {
        let events = r#"[{"fixed":"3.1.0"},{"introduced":"3.0.0"},{"fixed":"2.0.0"},{"introduced":"1.0.0"}]"#;
        assert_eq!(
            covered(
                events,
                &[
                    "0.9.0",
                    "1.0.0",
                    "1.9.9",
                    "2.0.0",
                    "3.0.0-rc.1",
                    "3.0.5",
                    "3.1.0"
                ]
            ),
            [false, true, true, false, false, true, false]
        );
    }

    #[test]
    fn zero_is_before_every_pre_release_and_an_open_end_covers_all() {
        assert_eq!(
            covered(r#"[{"introduced":"0"}]"#, &["0.0.0-a", "99.0.0"]),
            [true, true]
        );
    }

    #[test]
    fn last_affected_is_included_and_limit_is_not() {
        let last = r#"[{"introduced":"1.0.0"},{"last_affected":"1.2.0"}]"#;
        assert_eq!(
            covered(last, &["1.2.0", "1.2.1-a", "1.2.1"]),
            [true, false, false]
        );
        let one = r#"[{"introduced":"1.2.0"},{"last_affected":"1.2.0"}]"#;
        assert_eq!(
            covered(one, &["1.1.0", "1.2.0", "1.3.0"]),
            [false, true, false]
        );
        let limit = r#"[{"introduced":"0"},{"limit":"2.0.0"},{"limit":"1.0.0"}]"#;
        assert_eq!(covered(limit, &["1.5.0", "2.0.0"]), [true, false]);
        let both = r#"[{"introduced":"0"},{"fixed":"3.0.0"},{"limit":"2.0.0"},{"limit":"*"}]"#;
        assert_eq!(covered(both, &["1.0.0", "2.5.0"]), [true, false]);
    }

    #[test]
    fn a_second_fix_and_a_fix_without_introduction_change_nothing() {
        let twice = r#"[{"introduced":"0"},{"fixed":"1.0.0"},{"fixed":"2.0.0"}]"#;
        assert_eq!(covered(twice, &["0.5.0", "1.5.0"]), [true, false]);
        assert_eq!(covered(r#"[{"fixed":"1.0.0"}]"#, &["0.5.0"]), [false]);
    }

    #[test]
    fn a_range_whose_versions_have_no_order_is_unusable_and_not_empty() {
        let events: Vec<Event> = serde_json::from_str(r#"[{"introduced":"x"}]"#).unwrap();
        assert!(intervals(Ecosystem::Npm, &events).is_none());
    }
}
