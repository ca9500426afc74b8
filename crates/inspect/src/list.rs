//! Who looks, in this order.
//!
//! A new inspector is one file, one line here, and its cases in `cases.rs`; a test refuses an
//! inspector without a case that must be found and two that must not.

use crate::bind::Bind;
use crate::compose::Compose;
use crate::dockerfile::Dockerfile;
use crate::file::{FileInspector, FileView, Inspected, Inspection};
use crate::pickle::Pickle;
use crate::rule::{Observation, settle};
use crate::secrets::SecretFiles;

/// Every inspector, in the order of their findings.
pub static INSPECTORS: &[&dyn FileInspector] =
    &[&SecretFiles, &Pickle, &Dockerfile, &Compose, &Bind];

/// Lets every inspector that wants the file look at it, and at the text members it holds.
pub fn inspect(file: &FileView<'_>) -> Inspected {
    let mut observations = Vec::new();
    let mut out = Inspected::default();
    let first = look(file, &mut out, &mut observations);
    out.bytes_understood = first.bytes_understood.min(file.bytes.len() as u64);
    for member in first.members {
        let inner = FileView {
            path: &member.path,
            bytes: &member.bytes,
        };
        // Members of members come out of the archive reader already; they are not opened again.
        look(&inner, &mut out, &mut observations);
    }
    out.findings = settle(observations);
    out
}

fn look(file: &FileView<'_>, out: &mut Inspected, seen: &mut Vec<Observation>) -> Inspection {
    let mut total = Inspection::default();
    for inspector in INSPECTORS.iter().filter(|i| i.wants(file)) {
        let one = inspector.inspect(file);
        total.bytes_understood = total.bytes_understood.max(one.bytes_understood);
        total.members.extend(one.members);
        out.skips.extend(one.skips);
        out.inert.extend(one.inert);
        out.items += one.items;
        seen.extend(one.observations);
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cases::{CASES, bytes_of};
    use crate::rule::Rule;
    use crate::{bind, compose, dockerfile, pickle::rules, secrets};
    use ringfence_core::severity::Severity;

    fn all_rules() -> Vec<&'static Rule> {
        vec![
            &bind::RULE_BIND,
            &bind::RULE_CONTAINER,
            &compose::RULE_NAMESPACE,
            &compose::RULE_PORTS,
            &compose::RULE_PRIVILEGED,
            &compose::RULE_USER,
            &dockerfile::RULE_INSECURE,
            &dockerfile::RULE_NO_USER,
            &dockerfile::RULE_ROOT,
            &rules::ARCHIVE,
            &rules::DANGEROUS,
            &rules::FRAME,
            &rules::PERSISTENT,
            &rules::UNLISTED,
            &rules::UNRESOLVED,
            &secrets::RULE_SECRET,
        ]
    }

    #[test]
    fn every_inspector_has_one_positive_and_two_negative_cases_that_hold() {
        for inspector in INSPECTORS {
            let mine = || CASES.iter().filter(|c| c.inspector == inspector.id());
            assert!(
                mine().any(|c| c.rule.is_some()),
                "{} has no positive case",
                inspector.id()
            );
            assert!(
                mine().filter(|c| c.rule.is_none()).count() >= 2,
                "{}",
                inspector.id()
            );
            assert!(!inspector.description().is_empty());
            for case in mine() {
                let bytes = bytes_of(case);
                let file = FileView {
                    path: case.path,
                    bytes: &bytes,
                };
                let found = if inspector.wants(&file) {
                    inspector.inspect(&file).observations
                } else {
                    Vec::new()
                };
                let rules: Vec<&str> = found.iter().map(|o| o.rule.id).collect();
                match case.rule {
                    Some(rule) => assert!(rules.contains(&rule), "{}: {rules:?}", case.path),
                    None => assert_eq!(rules, [""; 0], "{}", case.path),
                }
            }
        }
        assert!(
            CASES
                .iter()
                .all(|c| INSPECTORS.iter().any(|i| i.id() == c.inspector))
        );
    }

    #[test]
    fn rule_ids_are_unique_and_every_rule_says_what_to_do() {
        let mut ids: Vec<&str> = all_rules().iter().map(|r| r.id).collect();
        let count = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), count);
        for rule in all_rules() {
            assert!(
                rule.id.parse::<ringfence_core::ids::RuleId>().is_ok(),
                "{}",
                rule.id
            );
            for text in [rule.title, rule.impact, rule.fix, rule.mitigation] {
                assert!(!text.is_empty(), "{}", rule.id);
            }
            assert!(
                !rule.tags.is_empty() && !rule.references.is_empty(),
                "{}",
                rule.id
            );
        }
    }

    #[test]
    fn every_score_is_the_score_of_its_vector_and_agrees_with_the_severity() {
        for rule in all_rules() {
            let Some((vector, tenths)) = rule.cvss else {
                continue;
            };
            let parsed: cvss::v3::Vector = vector.parse().expect("a CVSS 3.1 vector");
            let computed = (parsed.base_score().value() * 10.0).round();
            assert!(
                (computed - f64::from(tenths)).abs() < 0.01,
                "{}: {computed}",
                rule.id
            );
            assert_eq!(Severity::of_tenths(tenths), rule.severity, "{}", rule.id);
        }
    }
}
